"""`program`: small programs from text."""

from tests.program.conftest import program

__all__ = ["program"]
