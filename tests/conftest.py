"""Fixtures that several folders share."""

import pytest
from hypothesis import settings

from tests.cli.conftest import project

__all__ = ["project"]

# The same examples on every machine, so that a red run is the change's own; `--hypothesis-profile=default` seeks new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long fuzz, and long training, run only where they are asked for."""
    for name, reason in (("fuzz", "runs for hours: -m fuzz"), ("long", "takes long: make test-long")):
        if name not in (config.getoption("-m") or ""):
            skip = pytest.mark.skip(reason=reason)
            for item in items:
                if item.get_closest_marker(name):
                    item.add_marker(skip)
