"""Loops over the rows of data frames and frames that grow: what they do, and what they may be rewritten to."""
