"""tricklint: the linter for training recipes."""

__version__ = "0.1.0"
