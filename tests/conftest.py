"""Fixtures that several folders share."""

import gc

import pytest
from hypothesis import settings

from tests.cli.conftest import project

__all__ = ["project"]

# The same examples on every machine, so that a red run is the change's own; `--hypothesis-profile=default` seeks new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
_DONE = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long fuzz, and long training, run only where they are asked for."""
    for name, reason in (("fuzz", "runs for hours: -m fuzz"), ("long", "takes long: make test-long")):
        if name not in (config.getoption("-m") or ""):
            skip = pytest.mark.skip(reason=reason)
            for item in items:
                if item.get_closest_marker(name):
                    item.add_marker(skip)


_ROUNDS = 25  # tests between two looks for garbage
_MANY = 300_000  # objects that are worth being left out of the next looks: the libraries'


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Checks in this process leave their trees as garbage, and much of it makes each fork of the process slow."""
    done = item.config.stash[_DONE] = item.config.stash.get(_DONE, 0) + 1
    if done % _ROUNDS == 0:
        gc.collect()
        if len(gc.get_objects()) > _MANY:
            gc.freeze()
