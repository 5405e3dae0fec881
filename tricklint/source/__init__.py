"""Files and what is in them: which files, their bytes and text, notebooks' cells, the screen, ignore comments."""

from tricklint.source.text import Cell, Problem, Source, SourceError

__all__ = ["Cell", "Problem", "Source", "SourceError"]
