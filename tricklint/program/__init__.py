"""Understanding code: files become a Program, which rules ask questions."""

from tricklint.program.program import Program

__all__ = ["Program"]
