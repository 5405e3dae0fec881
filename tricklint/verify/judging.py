"""Which number a session judges: chosen from what the baseline's first run gave, before the others are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tricklint.verify.metrics import direction, head, is_pattern, judged, name_of_pattern, role, words_of
from tricklint.verify.records import VerifyError

if TYPE_CHECKING:
    from tricklint.verify.records import Run

TRAIN_LOSS = "train loss"  # of the last twentieth of the steps; with several optimizers "train loss 1", …


@dataclass(frozen=True)
class Metric:
    """A number that is judged. `at`: the optimizer steps after which the pilot gave it."""

    name: str
    source: str
    higher: bool
    at: tuple[int, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        better = "higher" if self.higher else "lower"
        return f"{self.name} ({self.source}), {better} is better" + (f"; {self.note}" if self.note else "")


def choose(run: Run, wanted: str | None = None, higher: bool | None = None) -> list[Metric]:
    """The metrics to judge, the leading one first: the `wanted` one (a name, or a pattern that was caught), else scores
    measured on held-out data, then their losses, then scores of unnamed data. Empty where the run gave none of them:
    a training loss is judged only where it is wanted. A wanted metric whose name does not tell its direction has
    `higher` decide, which must then be given. Raises VerifyError for a wanted one that the run did not give."""
    if wanted:
        return [_metric(run, name, higher) for name in _wanted(run, wanted)]
    names = candidates(run)
    moving = [name for name in names if not constant(_trained(run, name))]
    if moving:
        return [_metric(run, name, higher) for name in judged(dict.fromkeys(moving, ()))]
    # A baseline that does not learn at all has a validation score that stays where it was.
    still = [name for name in names if role(name) == 0]
    return [_metric(run, name, higher, "it did not move in the first run") for name in judged(dict.fromkeys(still, ()))]


def candidates(run: Run) -> list[str]:
    """The series that can be metrics: their names tell a direction, their numbers came after the training began, they
    are no argument of the command line, and no training loss under another name. One of several sources is enough."""
    found: list[str] = []
    for name, values in run.series.items():
        trained = _trained(run, name)
        if name.startswith(TRAIN_LOSS) or direction(name) is None or not trained:
            continue
        if role(name) == 2 or (role(name) == 1 and _is_training_loss(run, name, trained)):
            continue
        if _is_argument(run.arguments, name, trained):
            continue
        if any(_same(name, trained, other, _trained(run, other)) for other in found):
            continue
        if values:
            found.append(name)
    return found


def seen(run: Run) -> str:
    """What the run gave, for a message that says why none of it is judged: 'loss (printed), step (metrics.csv)'."""
    names = [f"{name} ({run.sources[name]})" for name in run.series if name in run.sources]
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def constant(values: Sequence[float | None]) -> bool:
    """Whether a series of several numbers never moves."""
    return len(values) > 1 and len(set(values)) == 1


def _wanted(run: Run, wanted: str) -> list[str]:
    if is_pattern(wanted):
        name = name_of_pattern(wanted)
        if not run.series.get(name):
            raise VerifyError(
                f"--metric {wanted!r} matches nothing that the baseline printed in its {run.steps} steps; "
                "see the session's logs"
            )
        return [name]
    words = words_of(wanted)
    if words == words_of(TRAIN_LOSS):
        return sorted(name for name in run.series if name.startswith(TRAIN_LOSS))
    exact = [name for name in run.series if name == wanted] or [n for n in run.series if words_of(n) == words]
    if not exact:
        raise VerifyError(
            f"--metric {wanted!r}: the baseline gave no such number in its {run.steps} steps"
            + (f"; it gave {seen(run)}" if seen(run) else "")
            + '; a name, a pattern with a group like "acc: ([\\d.]+)", or "train loss"'
        )
    return exact[:1]


def _metric(run: Run, name: str, higher: bool | None, note: str = "") -> Metric:
    told = direction(name) is not False if higher is None else higher
    if not note and role(name) == 1 and not name.startswith(TRAIN_LOSS):
        note = "its name does not tell on which data"
    source = run.sources.get(name, "of every step" if name.startswith(TRAIN_LOSS) else "")
    return Metric(name, source, told, tuple(run.at.get(name, ())), note)


def _trained(run: Run, name: str) -> list[float | None]:
    """The numbers that came after the training began."""
    values, at = run.series[name], run.at.get(name)
    return [v for v, step in zip(values, at) if step > 0] if at else list(values)


def _is_argument(arguments: Mapping[str, float], name: str, values: Sequence[float | None]) -> bool:
    words = words_of(name)
    return any(words_of(key) == words and set(values) == {number} for key, number in arguments.items())


def _is_training_loss(run: Run, name: str, values: Sequence[float | None]) -> bool:
    """Whether a number of unnamed data is the loss that was trained on: it is called a loss, or equals what the steps
    before it had (the last one's, or their mean)."""
    if direction(name) is not False:
        return False
    if head(name) in ("loss", "nll", "bce", "xent", "cross entropy", "logloss"):
        return True
    at = run.at.get(name)
    losses = run.losses[0] if run.losses else []
    if not at or not losses:
        return False
    steps = [step for step in at if step > 0]
    before = 0
    for value, step in zip(values, steps):
        window = [v for v in losses[before:step] if v is not None]
        before = step if step > before else before
        if value is None or not window:
            continue
        for known in (window[-1], math.fsum(window) / len(window)):
            for form in (known, math.exp(min(known, 50.0)), math.sqrt(abs(known))):
                if abs(form - value) <= 0.006 * max(abs(value), 1e-2):
                    return True
    return False


def _same(a: str, x: Sequence[float | None], b: str, y: Sequence[float | None]) -> bool:
    """Whether two series are one metric from two sources: names of the same words, numbers equal as far as the coarser
    of them was printed."""
    plain = (words_of(name.split(" (")[0]) for name in (a, b))
    if sorted(next(plain)) != sorted(next(plain)) or len(x) != len(y):
        return False
    pairs = [(p, q) for p, q in zip(x, y) if p is not None and q is not None]
    return all(abs(p - q) <= 0.006 * max(abs(p), abs(q), 1e-2) for p, q in pairs)
