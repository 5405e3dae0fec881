"""The result in the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tricklint.verify.analysis import Analysis, Comparison
from tricklint.verify.proofs import Proof
from tricklint.verify.report import words
from tricklint.verify.stats import Verdict

WIDTH = 100


def show(analysis: Analysis | None, proofs: Sequence[Proof], console: Console, notes: Sequence[str] = ()) -> None:
    """Print the tables and what is to be known about them."""
    if analysis is not None and analysis.outcomes:
        console.print(_table(analysis), width=WIDTH)
        console.print(f"\n{_explanation(analysis)}\n", highlight=False, width=WIDTH)
        for outcome in analysis.outcomes:
            if outcome.verdict in (Verdict.NONE, Verdict.NOT_REACHED):
                console.print(escape(f"  {outcome.variant.name}: {outcome.why}"), highlight=False, width=WIDTH)
            bad = words.statuses(outcome)
            if bad:
                message = next((r.message for r in analysis.runs_of(outcome.variant.name) if r.status != "ok"), "")
                console.print(escape(f"  {outcome.variant.name}: {bad} ({message})"), highlight=False, width=WIDTH)
            for note in outcome.notes:
                console.print(escape(f"  {outcome.variant.name}: {note}"), highlight=False, width=WIDTH)
        base = {k: v for k, v in analysis.baseline_statuses.items() if k != "ok"}
        if base:
            found = ", ".join(f"{n} {status}" for status, n in sorted(base.items()))
            bad_runs = analysis.runs_of(analysis.plan.baseline)
            message = next((r.message for r in bad_runs if r.status != "ok"), "")
            console.print(escape(f"  baseline: {found} ({message})"), highlight=False, width=WIDTH)
        scales = analysis.plan.lr_scales
        if len(scales) > 1 and analysis.metrics:
            console.print(_scales(analysis), width=WIDTH)
    if proofs:
        table = Table(box=SIMPLE_HEAD, width=WIDTH, pad_edge=False, show_edge=False)
        table.title, table.title_justify, table.title_style = "Proven by timing or counting", "left", "bold"
        for heading in ("rule", "place", "verdict", "measured"):
            table.add_column(heading, overflow="fold")
        for proof in proofs:
            table.add_row(f"{proof.code} {proof.name}", proof.place, _styled(proof.verdict), escape(proof.text))
        console.print(table)
        console.print()
    verdicts = words.verdicts(analysis, proofs)
    if verdicts:
        console.print(words.summary(verdicts), style="bold", highlight=False, width=WIDTH)
    for note in notes:
        console.print(escape(f"note: {note}"), highlight=False, width=WIDTH)


def _table(analysis: Analysis) -> Table:
    table = Table(box=SIMPLE_HEAD, width=WIDTH, collapse_padding=True, pad_edge=False, show_edge=False)
    table.title, table.title_justify, table.title_style = escape(analysis.plan.title), "left", "bold"
    table.add_column("variant", overflow="fold", ratio=1, min_width=19)
    table.add_column("verdict", no_wrap=True)
    table.add_column("metric", overflow="fold", max_width=14)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("effect [95 %]", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("P(+)", justify="right", no_wrap=True)
    for metric in analysis.metrics:
        scores = [s for s in analysis.scores(analysis.plan.baseline, metric) if s is not None]
        mean = sum(scores) / len(scores) if scores else None
        table.add_row(
            "Baseline" if metric == analysis.metrics[0] else "", "", escape(metric), words.number(mean), "", "", ""
        )
    stacked = any(o.variant.kind == "stack" for o in analysis.outcomes)
    kind = ""
    for outcome in analysis.outcomes:
        if stacked and outcome.variant.kind != kind:
            kind = outcome.variant.kind
            table.add_row(f"[dim]{words.group(analysis, kind)}[/]")
        shown = [c for c in outcome.comparisons if not c.untouched] or list(outcome.comparisons[:1])
        if not shown:
            table.add_row(escape(outcome.variant.label), outcome.verdict.value, "", "–", "–", "–", "–")
        for number, c in enumerate(shown):
            verdict = outcome.verdict if c is outcome.leading else c.paired.verdict
            table.add_row(
                escape(outcome.variant.label) if number == 0 else "",
                _styled(verdict),
                escape(c.metric),
                _mean(analysis, c),
                words.interval(c),
                *words.chances(outcome, c),
            )
    return table


def _mean(analysis: Analysis, c: Comparison) -> str:
    """The variant's mean; with the baseline's where that is not of all its runs."""
    scored = sum(score is not None for score in c.baseline_scores)
    if c.paired.n in (0, scored):
        return words.number(c.variant_mean)
    return f"{words.number(c.variant_mean)} (from {words.number(c.baseline_mean)} in {c.paired.n} pairs)"


def _styled(verdict: Verdict) -> str:
    style = words.STYLES[verdict]
    return f"[{style}]{verdict.value}[/]" if style else verdict.value


def _explanation(analysis: Analysis) -> str:
    margins = ", ".join(f"{name} ±{analysis.margins[name]:.3g}" for name in analysis.metrics)
    directions = "; ".join(words.metric(analysis, name) for name in analysis.metrics)
    pairs = f"{analysis.plan.seeds} paired seeds; p: exact sign-flip test, Holm over the verdicts; paired-t intervals."
    return escape(
        f"{pairs} Effect: positive is better, P(+): that it is above 0 ({directions}). "
        f"Equivalent: inside {margins} (TOST)."
    )


def _scales(analysis: Analysis) -> Table:
    metric = analysis.metrics[0]
    table = Table(
        box=SIMPLE_HEAD, title=escape(f"{metric} at neighbouring learning rates (mean)"), title_justify="left"
    )
    table.add_column("variant")
    scales = sorted(analysis.plan.lr_scales)
    for scale in scales:
        table.add_column(f"lr x {scale:g}", justify="right")
    for variant in analysis.plan.variants:
        cells = []
        for scale in scales:
            known = [s for s in analysis.scores(variant.name, metric, scale) if s is not None]
            cells.append(words.number(sum(known) / len(known)) if known else "–")
        table.add_row(escape(variant.label), *cells)
    return table
