"""Trick 4: no Python loops over data frames."""
