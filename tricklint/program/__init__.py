"""Understanding code: files become a Program, which rules ask questions."""

from tricklint.program.program import Program
from tricklint.program.starts import followed

__all__ = ["Program", "followed"]
