"""report.html: one file with everything in it, to be sent to a colleague."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tricklint.verify.analysis import Analysis, Comparison, Outcome
from tricklint.verify.plan import shown
from tricklint.verify.proofs import Proof, size
from tricklint.verify.records import write_atomically
from tricklint.verify.report import charts, words
from tricklint.verify.stats import Verdict

CSS = """
:root { color-scheme: light; --ink: #1f2328; --dim: #57606a; --rule: #d0d7de; --soft: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: #fff;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .4rem 0; } .dim { color: var(--dim); } .small { font-size: .85rem; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); border: 1px solid var(--rule); border-radius: 6px; padding: .7rem .9rem;
  overflow-x: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--dim); font-weight: 600; border-bottom: 1px solid var(--rule); }
th, td { padding: .35rem .6rem .35rem 0; vertical-align: top; } td { border-bottom: 1px solid #eaeef2; }
td.group { color: var(--dim); font-size: .85rem; padding-top: .9rem; }
.num { text-align: right; white-space: nowrap; }
.verdict { display: inline-block; border-radius: 1rem; padding: .05rem .65rem; color: #fff;
  font-size: .82rem; font-weight: 600; white-space: nowrap; }
figure { margin: .6rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption { color: var(--dim); font-size: .85rem; }
section.fix { border: 1px solid var(--rule); border-radius: 8px; padding: .9rem 1.1rem; margin: .8rem 0; }
.head { display: flex; gap: .7rem; align-items: center; flex-wrap: wrap; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--dim); }
.add { color: #116329; background: #dafbe1; display: block; }
.del { color: #82071e; background: #ffebe9; display: block; }
.hunk { color: #6639ba; display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { section.fix, figure { break-inside: avoid; } }
"""


def page(analysis: Analysis | None, proofs: Sequence[Proof], about: dict[str, Any]) -> str:
    """The whole page as text; charts are inline SVG, and nothing is loaded from anywhere."""
    title = escape(analysis.plan.title if analysis else about.get("title", "tricklint verify"))
    parts = [f"<h1>{title}</h1>", f'<p class="dim">{escape(_summary(analysis, proofs))}</p>']
    if analysis is not None and analysis.outcomes:
        parts += [_verdicts(analysis, proofs), _charts(analysis)]
        parts.append("<h2>Fix by fix</h2>")
        parts += [_fix(analysis, outcome) for outcome in analysis.outcomes]
        if len(analysis.plan.lr_scales) > 1:
            parts.append(_scales(analysis))
    if proofs:
        parts.append("<h2>Proven by timing or counting</h2>")
        parts += [_proof(found) for found in proofs]
    parts.append(_about(analysis, about))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def write(folder: Path, analysis: Analysis | None, proofs: Sequence[Proof], about: dict[str, Any]) -> Path:
    path = folder / "report.html"
    write_atomically(path, page(analysis, proofs, about))
    return path


def _summary(analysis: Analysis | None, proofs: Sequence[Proof]) -> str:
    what = words.summary(words.verdicts(analysis, proofs)) + "."
    if analysis:
        wall = sum(run.wall_s for run in analysis.runs.values())
        what += f" {len(analysis.runs)} runs, {analysis.plan.seeds} paired seeds, {shown(wall)} of training in all."
        if not analysis.complete:
            what += " Not complete: some runs of the plan are missing."
    return what


def _badge(verdict: Verdict) -> str:
    if verdict is Verdict.NOT_JUDGED:
        return '<span class="dim">–</span>'
    return f'<span class="verdict" style="background:{words.COLOURS[verdict]}">{verdict.value}</span>'


def _row(outcome: Outcome, c: Comparison | None, first: bool) -> str:
    verdict = outcome.verdict if c is None or c is outcome.leading else c.paired.verdict
    cells = [
        f"<td>{escape(outcome.variant.label) if first else ''}</td>",
        f"<td>{_badge(verdict)}</td>",
        f"<td>{escape(c.metric) if c else ''}</td>",
        f'<td class="num">{words.number(c.baseline_mean) if c else "–"}</td>',
        f'<td class="num">{words.number(c.variant_mean) if c else "–"}</td>',
        f'<td class="num">{escape(words.interval(c)) if c else "–"}</td>',
        *(f'<td class="num">{escape(chance)}</td>' for chance in words.chances(outcome, c)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _verdicts(analysis: Analysis, proofs: Sequence[Proof]) -> str:
    rows = []
    stacked = any(o.variant.kind == "stack" for o in analysis.outcomes)
    kind = ""
    for outcome in analysis.outcomes:
        if stacked and outcome.variant.kind != kind:
            kind = outcome.variant.kind
            rows.append(_group(words.group(analysis, kind)))
        kept = [c for c in outcome.comparisons if not c.untouched] or list(outcome.comparisons[:1])
        if not kept:
            rows.append(_row(outcome, None, True))
        rows += [_row(outcome, c, number == 0) for number, c in enumerate(kept)]
    if proofs:
        rows.append(_group("proven by timing or counting"))
    for found in proofs:
        name = escape(f"{found.code} {found.name}")
        rows.append(
            f'<tr><td>{name}</td><td>{_badge(found.verdict)}</td><td colspan="6">{escape(found.text)}</td></tr>'
        )
    headings = ("change", "verdict", "metric")
    numbers = ("baseline", "fixed", "effect [95 %]", "p", "P(better)")
    head = "".join(f"<th>{h}</th>" for h in headings) + "".join(f'<th class="num">{h}</th>' for h in numbers)
    margins = ", ".join(f"{escape(m)} ±{analysis.margins[m]:.3g}" for m in analysis.metrics)
    note = (
        f'<p class="dim small">{analysis.plan.seeds} paired seeds. p: exact sign-flip test, Holm over all that get a '
        "verdict (each fix alone and the whole stack). Interval: paired t. Effect and P(better): positive is better. "
        f"Equivalent: inside the stated margin ({margins}) by two one-sided t tests. "
        f"“Inconclusive” is not “no effect”. {escape('; '.join(words.metric(analysis, m) for m in analysis.metrics))}.</p>"
    )
    return f'<h2>Verdicts</h2><div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>{note}'


def _group(text: str) -> str:
    return f'<tr><td colspan="8" class="group">{escape(text)}</td></tr>'


def _figure(figure: Any, caption: str) -> str:
    if figure is None:
        return ""
    return f"<figure>{charts.svg(figure)}<figcaption>{escape(caption)}</figcaption></figure>"


def _charts(analysis: Analysis) -> str:
    parts = []
    if len(analysis.plan.ladder) > 1:
        parts.append("<h2>The ladder</h2>")
        for metric in analysis.metrics:
            parts.append(
                _figure(
                    charts.ladder(analysis, metric),
                    f"{metric}: mean with 95 % interval; dots are seeds, lines join pairs.",
                )
            )
    parts.append("<h2>Paired differences</h2>")
    parts.append(
        _figure(
            charts.differences(analysis),
            "Each dot is one seed: the changed run against the baseline's of the same seed.",
        )
    )
    cost = charts.costs(analysis)
    if cost is not None:
        parts.append("<h2>Time and memory</h2>")
        parts.append(
            _figure(
                cost,
                "Time of an optimizer step, where the change touches the training, with the 95 % interval over the "
                "pairs, and peak memory of the process (of the card, where one was used).",
            )
        )
    return "".join(parts)


def _diff(text: str) -> str:
    lines = []
    for line in text.splitlines():
        kind = (
            "add"
            if line.startswith("+")
            else "del"
            if line.startswith("-")
            else "hunk"
            if line.startswith("@@")
            else ""
        )
        lines.append(f'<span class="{kind}">{escape(line)}</span>' if kind else escape(line) + "\n")
    return f"<pre>{''.join(lines)}</pre>"


def _fix(analysis: Analysis, outcome: Outcome) -> str:
    variant = outcome.variant
    facts = [f"why: {outcome.why}"]
    bad = words.statuses(outcome)
    if bad:
        messages = {r.message for r in analysis.runs_of(variant.name) if r.status != "ok" and r.message}
        facts.append(f"runs: {bad} ({'; '.join(sorted(messages)[:3])})")
    facts.append(f"steps to the baseline's final loss: {words.faster(outcome)}")
    if outcome.step_ms[1]:
        facts.append(f"time a step {outcome.step_ms[1]:.2f} ms ({words.time_change(outcome)})")
    if outcome.peak[1]:
        facts.append(f"peak memory {size(outcome.peak[1])} ({words.change(*outcome.peak)})")
    if outcome.rung is not None:
        facts.insert(1, f"over the rung before it: {outcome.rung.metric} {words.interval(outcome.rung)}")
    facts += list(outcome.notes)
    level = f'<span class="dim small">{variant.level} fix</span>' if variant.level else ""
    diff = f"<details><summary>the change</summary>{_diff(variant.diff)}</details>" if variant.diff else ""
    figure = _figure(
        charts.curves(analysis, outcome),
        "Training loss: baseline grey, fixed coloured; median and the middle 80 % of seeds.",
    )
    head = f'<div class="head"><h3>{escape(variant.label)}</h3>{_badge(outcome.verdict)}{level}</div>'
    return f'<section class="fix">{head}<p class="small">{escape(" · ".join(facts))}</p>{figure}{diff}</section>'


def _proof(found: Proof) -> str:
    title = f"<h3>{escape(found.code)} {escape(found.name)}</h3>"
    head = f'<div class="head">{title}{_badge(found.verdict)}<code>{escape(found.place)}</code></div>'
    caption = "Seconds over rows." if found.unit == "s" else "What autograd keeps alive after each step."
    figure = _figure(charts.proof(found), caption)
    diff = f"<details><summary>the change</summary>{_diff(found.diff)}</details>" if found.diff else ""
    return f'<section class="fix">{head}<p>{escape(found.text)}</p>{figure}{diff}</section>'


def _scales(analysis: Analysis) -> str:
    metric = analysis.metrics[0] if analysis.metrics else ""
    scales = sorted(analysis.plan.lr_scales)
    head = "<th>change</th>" + "".join(f'<th class="num">lr × {s:g}</th>' for s in scales)
    rows = []
    for variant in analysis.plan.variants:
        cells = ""
        for scale in scales:
            known = [s for s in analysis.scores(variant.name, metric, scale) if s is not None]
            cells += f'<td class="num">{words.number(sum(known) / len(known)) if known else "–"}</td>'
        rows.append(f"<tr><td>{escape(variant.label)}</td>{cells}</tr>")
    return f"<h2>{escape(metric)} at neighbouring learning rates</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _about(analysis: Analysis | None, about: dict[str, Any]) -> str:
    machine = about.get("machine", {})
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    rows = {
        "command": about.get("command", ""),
        "training command": about.get("training", ""),
        "machine": f"{machine.get('processor', '')}, {machine.get('cores', '?')} cores, {machine.get('system', '')}",
        "GPU": machine.get("gpu", "none was used"),
        "versions": f"Python {machine.get('python', '')}, {packages}",
        "date": machine.get("date", ""),
        "engine": about.get("engine", ""),
        "notes": "; ".join(about.get("notes", [])),
    }
    items = "".join(f"<dt>{escape(k)}</dt><dd><code>{escape(str(v))}</code></dd>" for k, v in rows.items() if v)
    return f"<h2>How this was made</h2><dl>{items}</dl>"
