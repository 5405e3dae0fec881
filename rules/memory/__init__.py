"""Trick 3: out of memory."""
