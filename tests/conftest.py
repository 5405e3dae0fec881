"""Fixtures that several folders share."""

import pytest

from tests.cli.conftest import project

__all__ = ["project"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long fuzz runs only where it is asked for."""
    if "fuzz" not in (config.getoption("-m") or ""):
        skip = pytest.mark.skip(reason="runs for hours: -m fuzz")
        for item in items:
            if item.get_closest_marker("fuzz"):
                item.add_marker(skip)
