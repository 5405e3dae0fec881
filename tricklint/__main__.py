"""`python -m tricklint`."""

from tricklint.safe_path import keep_out_working_folder


def run() -> None:
    """The command as a process of its own."""
    keep_out_working_folder()  # before anything else is imported
    from tricklint.cli import main
    from tricklint.commands import ending

    ending.alone = True
    try:
        main()
    except SystemExit as error:
        ending.left_behind(error)
        raise


if __name__ == "__main__":
    run()
