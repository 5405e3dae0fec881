"""Trick 1: transfer learning."""
