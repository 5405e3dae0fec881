"""Fixtures that several folders share."""

import pytest
from hypothesis import settings

from tests.cli.conftest import project

__all__ = ["project"]

# The same examples on every machine, so that a red run is the change's own; `--hypothesis-profile=default` seeks new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long fuzz runs only where it is asked for."""
    if "fuzz" not in (config.getoption("-m") or ""):
        skip = pytest.mark.skip(reason="runs for hours: -m fuzz")
        for item in items:
            if item.get_closest_marker("fuzz"):
                item.add_marker(skip)
