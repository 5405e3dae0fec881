"""page"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.program import Program
from tricklint.program.evaluation import Evaluation, evaluations
from tricklint.program.imports import alias_of
from tricklint.rule import Rule


class EvalWithoutNoGrad(Rule):
    code = "TRK303"
    name = "eval-without-no-grad"
    summary = "evaluation builds autograd graphs that nothing uses; run it under torch.no_grad()"
    severity = Severity.WARNING
    fix_level = FixLevel.SAFE
    trick = "3 - Out of memory"
    triggers = ("torch", "eval()", "DataLoader")

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for found in evaluations(program, grad=True):
            place = found.region.node if found.whole and found.region.node is not None else found.event.node
            if id(place) in seen or id(found.event.node) in seen:
                continue
            seen |= {id(place), id(found.event.node)}
            yield self.report(program, found)

    def report(self, program: Program, found: Evaluation) -> Finding:
        event = found.event
        tree = event.file.tree
        assert isinstance(event.node, cst.Call)
        model = tree.code(event.node.func)
        how = {
            "mode": "in eval mode",
            "name": "only evaluated",
            "measured": "only measured",
        }[found.why]
        message = f"{model} is {how} here, but outside torch.no_grad(): every call builds an autograd graph that nothing uses"
        evidence = []
        if found.mode is not None:
            evidence.append(program.evidence(found.mode.file, found.mode.node, "put in eval mode here"))
        return program.finding(self, event.file, event.node, message, evidence, self.mend(found))

    def mend(self, found: Evaluation) -> Fix | None:
        event, region = found.event, found.region
        tree = event.file.tree
        torch = alias_of(event.file, "torch")
        imported = () if torch else build.add_import(tree, "import torch")
        header = f"{torch or 'torch'}.no_grad()"
        edits: build.Edits | None = None
        if found.whole and region.loop is not None and isinstance(region.node, (cst.For, cst.While)):
            edits = build.wrap_block(tree, region.node, region.node, f"with {header}:")
        elif found.whole and isinstance(region.node, cst.FunctionDef) and not region.node.decorators:
            edits = build.insert_before(tree, region.node, [f"@{header}"])
        if edits is None:
            edits = build.wrap_block(tree, event.node, event.node, f"with {header}:")
        if edits is None or imported is None:
            return None
        return Fix(FixLevel.SAFE, "run it under torch.no_grad()", (*imported, *edits))
