"""Trick 6: no weight decay on biases and norms."""
