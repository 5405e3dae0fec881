"""Charts as SVG text: the ladder, loss curves with seed bands, paired differences, memory and time, loops."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.figure import Figure

from tricklint.verify import stats
from tricklint.verify.analysis import Analysis, Outcome
from tricklint.verify.proofs import Proof
from tricklint.verify.report.words import COLOURS
from tricklint.verify.stats import Verdict

GREY, LINE = "#8c959f", "#d0d7de"
_CURVE = {Verdict.NOT_JUDGED: "#0969da", Verdict.EQUIVALENT: "#0969da"}  # not grey, which the baseline's curve is
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "tricklint",
}


def svg(figure: Figure) -> str:
    """The figure's <svg> element alone, for putting into a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def ladder(analysis: Analysis, metric: str, names: Sequence[str] | None = None) -> Figure:
    """Mean with the 95 % t interval of each rung, every seed as a dot, pairs joined."""
    rungs = list(names or analysis.plan.ladder or [v.name for v in analysis.plan.variants])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(4.2, 1.7 * len(rungs)), 3.1))
        axes = figure.subplots()
        table = [[math.nan if s is None else s for s in analysis.scores(name, metric)] for name in rungs]
        scores = np.array(table, dtype=float)
        axes.plot(np.arange(len(rungs)), scores, color=LINE, linewidth=0.7, zorder=1)
        for x, name in enumerate(rungs):
            known = scores[x][np.isfinite(scores[x])]
            colour = _colour(analysis, name, metric)
            axes.scatter(np.full(len(known), x), known, s=11, color=colour, alpha=0.45, linewidths=0, zorder=2)
            if len(known):
                low, high = stats.t_interval(known.tolist())
                mean = known.mean()
                if math.isfinite(low):
                    axes.errorbar(
                        x, mean, yerr=[[mean - low], [high - mean]], color=colour, capsize=5, linewidth=1.6, zorder=3
                    )
                axes.scatter([x], [mean], s=42, color=colour, zorder=4)
                axes.annotate(f"{mean:.3f}", (x, mean), xytext=(9, 4), textcoords="offset points", fontweight="bold")
        axes.set_xticks(range(len(rungs)), [_wrap(_rung(analysis, n)) for n in rungs])
        axes.set_xlim(-0.4, len(rungs) - 0.4)
        axes.set_ylabel(metric)
        axes.grid(axis="x", visible=False)
        return figure


def _colour(analysis: Analysis, name: str, metric: str) -> str:
    """A rung's colour: its verdict on this metric; grey where it leaves the metric as it is or is not judged on it."""
    outcome = analysis.outcome(name)
    mine = next((c for c in outcome.comparisons if c.metric == metric), None) if outcome else None
    return COLOURS[mine.paired.verdict] if mine is not None and not mine.untouched else GREY


def _wrap(label: str, width: int = 18) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(label, width, break_on_hyphens=False, break_long_words=False))


def _rung(analysis: Analysis, name: str) -> str:
    """A variant's label on the ladder: a rule's fix alone is its first rung."""
    variant = analysis.plan.variant(name)
    return f"+ {variant.label}" if variant.kind == "alone" and variant.diff else variant.label


def _band(analysis: Analysis, name: str, phase: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    curves = [
        stats.smooth([math.nan if v is None else v for v in run.losses[phase]])
        for run in analysis.runs_of(name)
        if len(run.losses) > phase and run.losses[phase]
    ]
    if not curves:
        return None
    length = min(map(len, curves))
    table = np.array([c[:length] for c in curves])
    keep = np.isfinite(table).any(axis=0)
    x = np.arange(1, length + 1)[keep]
    table = table[:, keep]
    return x, np.nanmedian(table, 0), np.nanquantile(table, 0.1, 0), np.nanquantile(table, 0.9, 0)


def curves(analysis: Analysis, outcome: Outcome) -> Figure | None:
    """Loss over steps of each phase that differs: baseline grey, fixed coloured; median and middle 80 % of seeds."""
    base = analysis.runs_of(analysis.plan.baseline)
    own = analysis.runs_of(outcome.variant.name)
    count = max((len(r.losses) for r in (*base, *own)), default=0)
    phases = [
        p
        for p in range(count)
        if any(len(b.losses) <= p or len(r.losses) <= p or b.losses[p] != r.losses[p] for b, r in zip(base, own))
    ] or list(range(min(count, 1)))
    if not phases:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(phases), 2.5))
        grid: Any = figure.subplots(1, len(phases), squeeze=False)[0]
        for axes, phase in zip(grid, phases):
            for name, colour, label in (
                (analysis.plan.baseline, GREY, "baseline"),
                (outcome.variant.name, _CURVE.get(outcome.verdict, COLOURS[outcome.verdict]), "fixed"),
            ):
                found = _band(analysis, name, phase)
                if found is None:
                    continue
                x, middle, low, high = found
                axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(x, middle, color=colour, linewidth=1.5, label=label)
            axes.set_xlabel("step" if count == 1 else f"step of optimizer {phase + 1}")
            axes.set_ylabel("training loss")
            values = [float(v) for line in axes.lines for v in np.atleast_1d(line.get_ydata()) if v > 0]
            if values and max(values) > 50 * min(values):
                axes.set_yscale("log")
            axes.legend(frameon=False)
        return figure


def differences(analysis: Analysis) -> Figure | None:
    """Each seed's difference from the baseline on each variant's leading metric, in units of the margin."""
    rows = [o for o in analysis.outcomes if o.leading is not None]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.6 + 0.42 * len(rows)))
        axes = figure.subplots()
        axes.axvspan(-1, 1, color="#eaeef2", zorder=0)
        axes.axvline(0, color=GREY, linewidth=1)
        for y, outcome in enumerate(rows):
            c = outcome.leading
            assert c is not None
            sign = 1 if c.higher_is_better else -1
            d = [
                sign * (b - a) / c.paired.margin
                for a, b in zip(c.baseline_scores, c.scores)
                if a is not None and b is not None
            ]
            colour = COLOURS[outcome.verdict]
            axes.scatter(d, [y] * len(d), s=14, color=colour, alpha=0.5, linewidths=0)
            if math.isfinite(c.paired.low) and math.isfinite(c.paired.high):
                axes.plot(
                    [c.paired.low / c.paired.margin, c.paired.high / c.paired.margin],
                    [y, y],
                    color=colour,
                    linewidth=2.2,
                )
        axes.set_yticks(range(len(rows)), [f"{o.variant.label} ({o.leading.metric})" for o in rows if o.leading])
        axes.invert_yaxis()
        axes.set_xscale("symlog", linthresh=2)
        axes.set_xlabel("better →   difference from the baseline, in margins of equivalence (band: ±1)")
        axes.grid(axis="y", visible=False)
        return figure


def costs(analysis: Analysis) -> Figure | None:
    """Milliseconds a step and peak memory, relative to the baseline."""
    rows = [o for o in analysis.outcomes if o.step_ms[0] and o.step_ms[1]]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.7 + 0.34 * len(rows)))
        grid: Any = figure.subplots(1, 2, sharey=True)
        for axes, pick, label in ((grid[0], "step_ms", "time a step"), (grid[1], "peak", "peak memory")):
            values = []
            for outcome in rows:
                before, after = getattr(outcome, pick)
                values.append(100 * after / before if before and after else math.nan)
            colours = [COLOURS[o.verdict] for o in rows]
            spread: Any = {}
            if pick == "step_ms" and all(o.step_change for o in rows):
                changes = np.array([o.step_change for o in rows]) * 100
                values = changes[:, 0].tolist()
                spread = {"xerr": [changes[:, 0] - changes[:, 1], changes[:, 2] - changes[:, 0]], "capsize": 3}
            axes.barh(range(len(rows)), values, color=colours, height=0.55, ecolor="#57606a", **spread)
            axes.axvline(100, color=GREY, linewidth=1)
            axes.set_xlabel(f"{label}, % of the baseline's")
            axes.grid(axis="y", visible=False)
        grid[0].set_yticks(range(len(rows)), [o.variant.label for o in rows])
        grid[0].invert_yaxis()
        return figure


def proof(found: Proof) -> Figure | None:
    """Original against rewritten: seconds over frame rows, or bytes kept over steps."""
    if len(found.rows) < 2:
        return None
    x, before, after = (np.array(column, dtype=float) for column in zip(*found.rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 2.5))
        axes = figure.subplots()
        marker = "o" if found.unit == "s" else None
        scale = 2.0**20 if found.unit == "bytes" else 1.0
        axes.plot(x, before / scale, color=GREY, marker=marker, markersize=4, label="original")
        axes.plot(x, after / scale, color=COLOURS[found.verdict], marker=marker, markersize=4, label="fixed")
        if found.unit == "s":
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("rows of the frame")
            axes.set_ylabel("seconds")
        else:
            axes.set_xlabel("step")
            axes.set_ylabel("MB kept after the step" if found.unit == "bytes" else "nodes of graphs alive")
            axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return figure
