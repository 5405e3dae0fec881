"""`python -m tricklint`."""

from tricklint.cli import main

if __name__ == "__main__":
    main()
