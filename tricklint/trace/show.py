"""ModelFacts for a person (a rich table), for machines (JSON, dot) and for a colleague (one HTML file)."""

from __future__ import annotations

import html as markup
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tricklint.trace.facts import LayerFact, ModelFacts, ParameterFact
from tricklint.trace.judge import card_bytes, judge, size

if TYPE_CHECKING:
    from rich.console import Console

_BARS = " ▁▂▃▄▅▆▇█"
FOLD = 60  # rows from which repeated blocks are folded


@dataclass
class Row:
    """One line of the table: a module that holds parameters of its own or is a layer."""

    path: str
    type: str
    shape: str
    parameters: int
    activation: str = ""
    init: str = ""
    decay: str = ""
    frozen: str = ""
    std: float | None = None
    repeats: int = 1
    notes: list[str] = field(default_factory=list)


def number(count: float) -> str:
    """1234567 → 1.23 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f}"


def rows(facts: ModelFacts) -> list[Row]:
    """Every module with parameters of its own, in the model's order."""
    layers: dict[str, LayerFact] = {layer.path: layer for layer in facts.layers}
    norms = {norm.path for norm in facts.norms}
    heads = {head.path for head in facts.heads}
    held: dict[str, list[int]] = {}
    for index, parameter in enumerate(facts.parameters):
        held.setdefault(parameter.name.rpartition(".")[0], []).append(index)
    made = []
    for module in facts.modules:
        layer = layers.get(module.path)
        if not module.parameters and layer is None:
            continue
        own = [facts.parameters[i] for i in held.get(module.path, ())]
        shape = "×".join(str(side) for side in module.shape) if module.shape else ""
        row = Row(module.path or "(model)", module.type, shape, module.parameters)
        if layer is not None:
            row.activation, row.std = layer.activation, layer.output_std
            row.init = (
                layer.init
                if layer.std is None or layer.init in ("zero", "unknown")
                else f"{layer.init} {layer.std:.2g}"
            )
            if layer.norm_after or layer.skip_after:
                row.activation = (
                    row.activation + (" +norm" if layer.norm_after else "") + (" +skip" if layer.skip_after else "")
                ).strip()
        elif own and own[0].constant is not None:
            row.init = f"{own[0].constant:g}"
        elif own and own[0].std is not None:
            row.init = f"std {own[0].std:.2g}"
        if module.path in heads:
            row.notes.append("head")
        if any(p.used is False for p in own):
            row.notes.append("unused" if all(p.used is False for p in own) else "partly unused")
        if any(p.tied_to for p in own):
            row.notes.append("tied")
        if module.path in norms:
            row.notes.append("stats")
        row.frozen = (
            "" if not own or not any(p.frozen for p in own) else "yes" if all(p.frozen for p in own) else "part"
        )
        row.decay = _decay(facts, own)
        made.append(row)
    return made


def _decay(facts: ModelFacts, own: list[ParameterFact]) -> str:
    if facts.optimizer is None or not own:
        return ""
    rates = []
    for parameter in own:
        groups = [facts.optimizer.groups[g].weight_decay for g in parameter.groups]
        rates.append("—" if not groups else "+".join(f"{rate:g}" for rate in groups))
    return rates[0] if len(set(rates)) == 1 else "/".join(dict.fromkeys(rates))


def folded(made: list[Row], limit: int = FOLD) -> list[Row]:
    """Rows of blocks that repeat under other numbers (layers.0, layers.1 …) become one row with a count, when the table
    would be longer than `limit`."""
    if len(made) <= limit:
        return made
    out: dict[tuple[str, ...], Row] = {}
    for row in made:
        parts = [part if not part.isdigit() else "*" for part in row.path.split(".")]
        key = (
            ".".join(parts),
            row.type,
            row.shape,
            row.activation,
            row.init,
            row.decay,
            row.frozen,
            ",".join(row.notes),
            str(row.parameters),
        )
        if key in out and "*" in parts:
            kept = out[key]
            kept.repeats += 1
            kept.path = ".".join(parts)
            if row.std is not None:
                kept.std = row.std
        else:
            out[key if key not in out else (*key, row.path)] = row
    return list(out.values())


def bar(std: float | None, top: float) -> str:
    """One small block on a logarithmic scale of three decades below `top`."""
    if std is None or top <= 0:
        return ""
    if std <= 0:
        return f"{_BARS[1]} 0"
    level = 1.0 + math.log10(max(std / top, 1e-3)) / 3.0
    return f"{_BARS[max(1, min(8, 1 + round(7 * level)))]} {std:.2g}"


def totals(facts: ModelFacts) -> list[tuple[str, str]]:
    """(label, text) of the lines under the table: size, head, output, optimizer, memory, how it was traced."""
    out = []
    frozen = sum(p.size for p in facts.parameters if p.frozen)
    kinds: dict[str, int] = {}
    for p in facts.parameters:
        kinds[p.kind] = kinds.get(p.kind, 0) + p.size
    parts = ", ".join(f"{kind} {number(count)}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
    out.append(("parameters", f"{number(facts.total)} ({parts}{f'; frozen {number(frozen)}' if frozen else ''})"))
    if facts.heads:
        named = ", ".join(
            f"{h.path or '(model)'} → {h.classes}{'' if h.bias else ', no bias'}"
            f"{f', bias {h.bias_value:.3g}' if h.bias and h.bias_value else ''}"
            for h in facts.heads[:4]
        )
        out.append(("head", f"{named}{f' and {len(facts.heads) - 4} more' if len(facts.heads) > 4 else ''}"))
    else:
        out.append(("head", f"none: {facts.head_reason or 'unknown'}"))
    out.append(("output", facts.output_activation or ("raw" if facts.rung != "tree" else "unknown")))
    if facts.optimizer is not None:
        groups = ", ".join(
            f"lr {g.lr:g} decay {g.weight_decay:g} ({number(g.parameters)})" for g in facts.optimizer.groups
        )
        out.append(("optimizer", f"{facts.optimizer.type}: {groups}"))
    out.append(("memory", _memory(facts)))
    fed = ", ".join(f"{i.name} {list(i.shape)} {i.dtype}" for i in facts.inputs) or "nothing"
    out.append(("input", f"{fed}{f' ({facts.inputs[0].source})' if facts.inputs else ''}"))
    out.append(("traced by", f"{facts.rung} in {facts.seconds:.2f} s, torch {facts.torch}"))
    out += [("", f"left {text}") for text in facts.tried[:3]]
    out += [("note", text) for text in facts.notes]
    if facts.signal_note:
        out.append(("signal", facts.signal_note))
    return out


def _memory(facts: ModelFacts, cards: tuple[str, ...] = ("8GB", "24GB", "80GB")) -> str:
    if facts.memory is None:
        return "unknown: no forward ran"
    batches = ", ".join(f"{facts.memory.largest_batch(card_bytes(card)):,} on {card}" for card in cards)
    return (
        f"≈ {size(facts.memory.per_sample)} a sample + {size(facts.memory.fixed)} (weights, gradients, optimizer); "
        f"largest batch {batches}"
    )


def text(facts: ModelFacts, console: Console, full: bool = False) -> None:
    """Print the table, the totals and what the rules say."""
    from rich.table import Table
    from rich.text import Text

    made = rows(facts)
    shown = made if full else folded(made)
    top = max((row.std for row in made if row.std), default=0.0)
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1))
    has = {
        name: any(getattr(row, name) for row in shown) for name in ("decay", "frozen", "shape", "activation", "init")
    }
    has["std"] = top > 0
    table.add_column("module", overflow="fold", min_width=12)
    table.add_column("type", overflow="ellipsis", no_wrap=True, max_width=16)
    if has["shape"]:
        table.add_column("output", overflow="ellipsis", no_wrap=True, max_width=16)
    table.add_column("params", justify="right", no_wrap=True)
    for name, width in (("activation", 16), ("init", 18), ("decay", 7), ("frozen", 6)):
        if has[name]:
            table.add_column(
                "followed by" if name == "activation" else name, overflow="ellipsis", no_wrap=True, max_width=width
            )
    if has["std"]:
        table.add_column("std", no_wrap=True)
    for row in shown:
        title = Text(row.path)
        if row.repeats > 1:
            title.append(f" ×{row.repeats}", style="cyan")
        for note in row.notes:
            if note != "stats":
                title.append(
                    f" {note}", style={"head": "green", "unused": "red", "partly unused": "red"}.get(note, "dim")
                )
        cells: list[Text | str] = [title, row.type]
        if has["shape"]:
            cells.append(row.shape)
        cells.append(number(row.parameters * row.repeats))
        cells += [getattr(row, column) for column in ("activation", "init", "decay", "frozen") if has[column]]
        if has["std"]:
            cells.append(bar(row.std, top))
        table.add_row(*cells)
    where = f" ({facts.site.path}:{facts.site.row})" if facts.site else ""
    console.print(Text(f"{facts.target}: {facts.type}{where}", style="bold"))
    console.print(table)
    if len(shown) < len(made):
        console.print(
            Text(
                f"{len(made)} modules in {len(shown)} rows: repeated blocks are folded (--full shows all)", style="dim"
            )
        )
    console.print()
    grid = Table.grid(padding=(0, 2))
    for label, line in totals(facts):
        grid.add_row(Text(label, style="dim"), Text(line))
    console.print(grid)
    found = judge(facts)
    if found:
        console.print()
        for finding in found:
            style = {"error": "red", "warning": "yellow"}.get(finding.level, "cyan")
            told = Text(f"{finding.code} ", style=style)
            told.append(f"{finding.name}: ", style="bold").append(
                f"{finding.module_path or 'the model'}: ", style="bold"
            )
            told.append(finding.message.removeprefix("traced: "))
            console.print(told)


def dot(facts: ModelFacts) -> str:
    """The module tree as a Graphviz digraph: containers as clusters would be, layers in running order by arrows."""

    def name(path: str) -> str:
        return '"' + (path or "(model)").replace('"', "'") + '"'

    lines = ["digraph model {", "  rankdir=LR;", '  node [shape=box, fontname="monospace", fontsize=10];']
    shown = {row.path if row.path != "(model)" else "" for row in rows(facts)}
    needed = set(shown)
    for path in shown:
        while path:
            path = path.rpartition(".")[0]
            needed.add(path)
    for module in facts.modules:
        if module.path in needed:
            label = f"{module.path.rpartition('.')[2] or facts.type}\\n{module.type}"
            if module.parameters:
                label += f"\\n{number(module.parameters)}"
            style = ', style=filled, fillcolor="#d8f0d8"' if module.path in {h.path for h in facts.heads} else ""
            lines.append(f'  {name(module.path)} [label="{label}"{style}];')
            if module.path:
                lines.append(
                    f"  {name(module.path.rpartition('.')[0])} -> {name(module.path)} [arrowhead=none, color=gray];"
                )
    for before, after in zip(facts.layers, facts.layers[1:], strict=False):
        label = before.activation if before.activation != "none" else ""
        lines.append(
            f'  {name(before.path)} -> {name(after.path)} [label="{label}", constraint=false, color="#3060c0"];'
        )
    return "\n".join([*lines, "}"]) + "\n"


_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#1a1a1a;"
    "background:#fff}table{border-collapse:collapse;width:100%;font-size:13px}"
    "th{text-align:left;border-bottom:2px solid #999;position:sticky;top:0;background:#fff}"
    "td,th{padding:.2em .6em;vertical-align:top}tr:nth-child(even) td{background:#f5f6f8}"
    "td.n{text-align:right;white-space:nowrap}code,pre{font-family:ui-monospace,monospace}pre{white-space:pre-wrap}"
    "dl{display:grid;grid-template-columns:8em 1fr;gap:.1em 1em}dt{color:#777}dd{margin:0}"
    ".head{color:#0a7a2f}.unused{color:#b00020}.bar{display:inline-block;height:.7em;background:#4a7fd0;margin-right:.4em}"
    ".error{color:#b00020}.warning{color:#9a6700}.advice{color:#0b6e8a}.scroll{overflow-x:auto}"
    "@media(prefers-color-scheme:dark){body,th{background:#15171a;color:#e6e6e6}"
    "tr:nth-child(even) td{background:#1e2126}}"
)


def html(models: list[ModelFacts]) -> str:
    """One self-contained page, no scripts, nothing loaded from elsewhere."""
    body = "".join(_section(facts) for facts in models)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>tricklint trace</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _section(facts: ModelFacts) -> str:
    made = rows(facts)
    top = max((row.std for row in made if row.std), default=0.0)
    cells = []
    for row in made:
        notes = "".join(f' <span class="{note.split()[-1]}">{note}</span>' for note in row.notes if note != "stats")
        width = 0.0
        if row.std and top:
            width = max(0.05, 1.0 + math.log10(max(row.std / top, 1e-3)) / 3.0) * 5
        std = f'<span class="bar" style="width:{width:.2f}em"></span>{row.std:.2g}' if row.std is not None else ""
        values = (row.type, row.shape)
        cells.append(
            f"<tr><td><code>{markup.escape(row.path)}</code>{notes}</td>"
            + "".join(f"<td>{markup.escape(value)}</td>" for value in values)
            + f'<td class="n">{number(row.parameters)}</td>'
            + "".join(f"<td>{markup.escape(value)}</td>" for value in (row.activation, row.init, row.decay, row.frozen))
            + f"<td>{std}</td></tr>"
        )
    head = "".join(f"<th>{title}</th>" for title in
                   ("module", "type", "output", "params", "followed by", "init", "decay", "frozen", "std"))  # fmt: skip
    found = "".join(
        f'<li class="{f.level}"><b>{f.code} {f.name}</b> {markup.escape(f.module_path)}: '
        f"{markup.escape(f.message.removeprefix('traced: '))}</li>"
        for f in judge(facts)
    )
    where = f" <small>{markup.escape(facts.site.path)}:{facts.site.row}</small>" if facts.site else ""
    return (
        f"<h1>{markup.escape(facts.target)}</h1><p>{markup.escape(facts.type)}{where}</p>"
        "<dl>"
        + "".join(f"<dt>{label}</dt><dd>{markup.escape(line)}</dd>" for label, line in totals(facts))
        + "</dl>"
        + (f"<ul>{found}</ul>" if found else "")
        + f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(cells)}</tbody></table></div>'
    )
