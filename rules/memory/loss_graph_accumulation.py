"""page"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.program import Program
from tricklint.program.totals import GraphTotal, all_tensors, graph_totals
from tricklint.rule import Rule


class LossGraphAccumulation(Rule):
    code = "TRK302"
    name = "loss-graph-accumulation"
    summary = "a running total of tensors keeps the autograd graph of every iteration alive"
    severity = Severity.ERROR
    fix_level = FixLevel.SAFE
    trick = "3 - Out of memory"
    triggers = ("torch",)

    def check(self, program: Program) -> Iterator[Finding]:
        for total in graph_totals(program):
            added = total.file.tree.code(total.value) if total.value is not None else "a tensor"
            grows = "grows by" if isinstance(total.node, cst.Call) else "adds up"
            message = (
                f"{total.target} {grows} {added} with its autograd graph, so the graph of every round of the loop stays in "
                "memory; add .item() or .detach()"
            )
            evidence = [program.evidence(total.file, total.loop.node.iter if isinstance(total.loop.node, cst.For) else None,
                                         "for every round of this loop")]  # fmt: skip
            if total.backward is not None:
                evidence.append(program.evidence(total.backward.file, total.backward.node, "each round is backpropagated here"))
            yield program.finding(self, total.file, total.node, message, evidence, self.mend(total))

    def mend(self, total: GraphTotal) -> Fix | None:
        value = total.value
        if value is None or not all_tensors(total.event):
            return None
        tree = total.file.tree
        start, end = build.whole_offsets(tree, value)
        code = tree.text[start:end]
        if isinstance(value, (cst.Name, cst.Attribute, cst.Call, cst.Subscript)) or value.lpar:
            new = f"{code}.detach()"
        else:
            new = f"({code}).detach()"
        return Fix(FixLevel.SAFE, "add the value without its graph", (build.edit_at(tree, start, end, new),))
