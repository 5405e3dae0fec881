"""How figures are written in every report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tricklint.verify.analysis import Analysis, Comparison, Outcome
from tricklint.verify.proofs import Proof
from tricklint.verify.stats import Verdict

COLOURS = {
    Verdict.HELPS: "#1a7f37",
    Verdict.HURTS: "#cf222e",
    Verdict.EQUIVALENT: "#57606a",
    Verdict.INCONCLUSIVE: "#9a6700",
    Verdict.NOT_REACHED: "#8250df",
    Verdict.NONE: "#9a6700",
    Verdict.NOT_JUDGED: "#6e7781",
}
STYLES = {
    Verdict.HELPS: "bold green",
    Verdict.HURTS: "bold red",
    Verdict.EQUIVALENT: "bold",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_REACHED: "magenta",
    Verdict.NONE: "bold yellow",
    Verdict.NOT_JUDGED: "",
}


def number(value: float | None, signed: bool = False) -> str:
    """Three or four significant figures, a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return (f"{value:+#.3g}" if signed else f"{value:#.4g}").rstrip(".")


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


def chances(outcome: Outcome, c: Comparison | None) -> tuple[str, str]:
    """The corrected p and P(better); dashes where there is nothing to test: bit-equal pairs, or no verdict."""
    if c is None or c.untouched or outcome.verdict in (Verdict.NONE, Verdict.NOT_REACHED):
        return "–", "–"
    return p_value(c.paired.p_holm), f"{c.paired.p_better:.3f}"


def metric(analysis: Analysis, name: str) -> str:
    """'val_acc (printed): higher is better'."""
    source = analysis.source(name)
    better = "higher" if analysis.higher[name] else "lower"
    return f"{name}{f' ({source})' if source else ''}: {better} is better"


def change(before: float | None, after: float | None) -> str:
    """'-12 %' from one to the other."""
    if not before or after is None:
        return "–"
    percent = 100 * (after / before - 1)
    return "±0 %" if abs(percent) < 0.5 else f"{percent:+.0f} %"


def time_change(outcome: Outcome) -> str:
    """'+12 % [-3, +29]': the change of a step's time with its interval over the pairs."""
    if outcome.step_change is None:
        return change(*outcome.step_ms)
    mean, low, high = (100 * (ratio - 1) for ratio in outcome.step_change)
    return f"{mean:+.0f} % [{low:+.0f}, {high:+.0f}]"


def verdicts(analysis: Analysis | None, proofs: Sequence[Proof]) -> list[Verdict]:
    """One verdict a fix: rungs of the ladder are not counted again."""
    trained = [o.verdict for o in analysis.outcomes if o.variant.kind != "stack"] if analysis else []
    return trained + [p.verdict for p in proofs if p.verdict is not Verdict.NOT_JUDGED]


def group(analysis: Analysis, kind: str) -> str:
    """What stands above the variants of one kind."""
    if kind == "alone":
        return "each fix alone"
    return f"stacked on {analysis.plan.ladder[1]}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """'5 changes measured: 4 help, 1 inconclusive'."""
    many = {Verdict.HELPS: "help", Verdict.HURTS: "hurt"}
    counts = [(verdicts.count(v), v) for v in Verdict if v in verdicts]
    told = ", ".join(f"{n} {many.get(v, v.value) if n > 1 else v.value}" for n, v in counts)
    return f"{len(verdicts)} change{'s' if len(verdicts) != 1 else ''} measured: {told}"


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
