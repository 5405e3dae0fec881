"""Models for bench/trace_models.py: what is built, from configurations only."""
