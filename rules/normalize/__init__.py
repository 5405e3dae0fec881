"""Trick 2: normalise features, and scale them again."""
