"""The fuzz: `python -m tests.fuzz.fuzz --seconds 7200 --keep broken/` runs for as long as it is told.

Each case is a fixture changed, a program made up, or bytes; `tests.fuzz.oracle` says what must hold of it. What does
not is kept as a folder of files, which becomes a fixture or a test before it is mended.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fuzz import mutations
from tests.fuzz.oracle import Outcome, judge
from tests.fuzz.programs import programs

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass
class Case:
    """`same_as`: files in which each rule must speak as often as in this case (None: anything may be found)."""

    kind: str
    files: mutations.Files
    same_as: mutations.Files | None = None


@dataclass
class Tally:
    cases: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[Case, str]] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0


@cache
def corpus() -> list[str]:
    """The fixtures that stand in one file, as texts."""
    texts = [
        path.read_bytes().decode() for path in sorted(FIXTURES.glob("*/*.py")) if not path.name.endswith(".fixed.py")
    ]
    return [text for text in texts if _usable(text)]


def _usable(text: str) -> bool:
    import ast

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except SyntaxError:
            return False
    return "\r" not in text and "tricklint:" not in text


def cases(draw: random.Random) -> Iterator[Case]:
    """Without end."""
    texts = corpus()
    made = _made(draw)
    while True:
        text, other = draw.choice(texts), draw.choice(texts)
        text = re.sub(r"  # expect: .*", "", text)
        plain = {"train.py": text.encode()}
        kind = draw.choices(["same", "split", "any", "bytes", "made"], [30, 10, 35, 10, 15])[0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if kind == "same":
                    change = draw.choice(mutations.SAME)
                    changed = change(text, draw)
                    if changed is not None:
                        yield Case(change.__name__, {"train.py": changed.encode()}, plain)
                elif kind == "split":
                    files = mutations.split(text, draw)
                    if files is not None:
                        yield Case("split", files)
                elif kind == "any":
                    names = []
                    for _ in range(draw.randint(1, 3)):
                        mix = draw.choice(mutations.ANY)
                        try:
                            text = mix(text, draw, other)
                        except SyntaxError:
                            continue
                        names.append(mix.__name__)
                    yield Case("+".join(names) or "none", {"train.py": text.encode()})
                elif kind == "bytes":
                    yield Case("bytes", {"train.py": mutations.bytes_of(text.encode(), draw)})
                else:
                    yield Case("made", {"train.py": next(made).encode()})
        except SyntaxError:
            continue


def _made(draw: random.Random) -> Iterator[str]:
    """Hypothesis programs, some hundred at a time."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    while True:
        batch: list[str] = []

        @seed(draw.randrange(2**32))
        @settings(
            max_examples=200,
            database=None,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(programs())
        def collect(program: str) -> None:
            batch.append(program)  # noqa: B023

        collect()
        yield from batch


def fuzz(seconds: float, seed: int, keep: Path | None = None, most: int | None = None) -> Tally:
    """Judge cases until the time is over, or `most` were judged."""
    draw = random.Random(seed)
    tally = Tally()
    plain: dict[bytes, Outcome] = {}
    end = time.monotonic() + seconds
    for number, case in enumerate(cases(draw)):
        if time.monotonic() > end or (most is not None and number >= most):
            break
        outcome = judge(case.files)
        tally.cases[case.kind] += 1
        tally.slowest = max(tally.slowest, outcome.seconds)
        tally.largest = max(tally.largest, outcome.megabytes)
        broken = outcome.broken
        if not broken and case.same_as is not None:
            data = case.same_as["train.py"]
            if data not in plain:
                plain[data] = judge(case.same_as, fix=False)
            if dict(plain[data].codes) != dict(outcome.codes):
                broken = f"{case.kind}: {dict(plain[data].codes)} became {dict(outcome.codes)}"
        if broken:
            tally.broken.append((case, broken))
            if keep is not None:
                _keep(keep / f"{len(tally.broken):04}", case, broken)
    return tally


def _keep(folder: Path, case: Case, broken: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    for name, data in (case.same_as or {}).items():
        (folder / f"before_{name}").write_bytes(data)
    (folder / "why.txt").write_text(f"{case.kind}\n{broken}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=7200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-broken"))
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
    tally = fuzz(given.seconds, seed, given.keep)
    total = sum(tally.cases.values())
    print(
        f"seed {seed}: {total} programs, {len(tally.broken)} broken, slowest {tally.slowest:.1f} s, largest {tally.largest} MB"
    )
    for why, number in Counter(re.sub(r"\d+", "N", why) for _, why in tally.broken).most_common():
        print(f"{number:6}  {why}")


if __name__ == "__main__":
    main()
