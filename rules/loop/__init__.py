"""The training loop itself."""
