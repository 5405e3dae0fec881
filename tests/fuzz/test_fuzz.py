"""The bounded part of the fuzz, always the same programs, and the long one, which only runs when it is asked for."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests.fuzz.fuzz import Tally, fuzz
from tests.fuzz.oracle import judge

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches its children through /proc")


def told(tally: Tally) -> str:
    return "\n".join(f"{case.kind}: {why}\n{case.files}" for case, why in tally.broken[:5])


def test_some_programs() -> None:
    """At most 10 seconds; the first of what the long run would do with this seed."""
    tally = fuzz(10, seed=2, most=250)
    assert not tally.broken, told(tally)
    assert sum(tally.cases.values()) >= 8


def test_what_does_not_hold_is_seen() -> None:
    assert judge({"a.py": b"import torch\n"}).broken == ""
    assert "No such file" in judge({"../" * 40 + "proc/nowhere/a.py": b""}).broken


@pytest.mark.fuzz
def test_for_long(tmp_path: Path) -> None:
    """`FUZZ_SECONDS` (two hours) with a seed of its own, or `FUZZ_SEED`."""
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
    keep = Path(os.environ.get("FUZZ_KEEP") or tmp_path)
    tally = fuzz(float(os.environ.get("FUZZ_SECONDS", "7200")), seed, keep)
    assert not tally.broken, f"seed {seed}; kept in {keep}\n{told(tally)}"
