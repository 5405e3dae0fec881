"""Fixtures that several folders share."""

from tests.cli.conftest import project

__all__ = ["project"]
