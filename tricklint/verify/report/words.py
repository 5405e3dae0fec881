"""How figures are written in every report."""

from __future__ import annotations

import math

from tricklint.verify.analysis import Comparison, Outcome
from tricklint.verify.stats import Verdict

COLOURS = {
    Verdict.HELPS: "#1a7f37",
    Verdict.HURTS: "#cf222e",
    Verdict.EQUIVALENT: "#57606a",
    Verdict.INCONCLUSIVE: "#9a6700",
    Verdict.NOT_REACHED: "#8250df",
    Verdict.NOT_JUDGED: "#6e7781",
}
STYLES = {
    Verdict.HELPS: "bold green",
    Verdict.HURTS: "bold red",
    Verdict.EQUIVALENT: "bold",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_REACHED: "magenta",
    Verdict.NOT_JUDGED: "",
}


def number(value: float | None, signed: bool = False) -> str:
    """Three or four significant figures, a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{value:+.3g}" if signed else f"{value:.4g}"


def interval(c: Comparison) -> str:
    """The effect with its 95 % interval, positive is better."""
    if c.untouched:
        return "0 (equal)"
    if not math.isfinite(c.paired.effect):
        return "–"
    if not (math.isfinite(c.paired.low) and math.isfinite(c.paired.high)):
        return number(c.paired.effect, True)
    return f"{number(c.paired.effect, True)} [{number(c.paired.low, True)}, {number(c.paired.high, True)}]"


def p_value(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}"


def change(before: float | None, after: float | None) -> str:
    """'-12 %' from one to the other."""
    if not before or after is None:
        return "–"
    percent = 100 * (after / before - 1)
    return "±0 %" if abs(percent) < 0.5 else f"{percent:+.0f} %"


def statuses(outcome: Outcome) -> str:
    """'' when all runs are fine, else '2 diverged, 1 crashed'."""
    bad = {status: n for status, n in outcome.statuses.items() if status != "ok"}
    return ", ".join(f"{n} {status}" for status, n in sorted(bad.items()))


def faster(outcome: Outcome) -> str:
    """Steps to the baseline's final loss against the baseline's own."""
    before, after = outcome.steps_to
    if before is None:
        return "–"
    return f"{before:.0f} → {after:.0f}" if after is not None else f"{before:.0f} → never"
