"""`python -m tricklint`."""

from tricklint.safe_path import keep_out_working_folder

if __name__ == "__main__":
    keep_out_working_folder()  # before anything else is imported
    from tricklint.cli import main

    main()
