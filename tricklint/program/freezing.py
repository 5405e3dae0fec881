"""What a freeze of a backbone has to respect: when its weights are loaded, its norms, and the backbones beside it."""

from __future__ import annotations

from collections.abc import Container

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import Instance, members
from tricklint.knowledge.pretrained import FLAGS
from tricklint.libraries.events import Forward, TrainerGiven
from tricklint.libraries.modules import submodules
from tricklint.program import backbone as bb
from tricklint.program.backbone import Backbone
from tricklint.program.loops import Modes, Reach
from tricklint.program.modes import unfollowed_mode_call
from tricklint.program.program import Program
from tricklint.program.transfer import batch_norms, freezes, holds, is_pretrained
from tricklint.source.tree import Tree, walk


def condition(backbone: Backbone) -> str | None:
    """What the code says on whether weights are loaded: a name such as `pretrained`, None when they always are, "" when
    it cannot be repeated where the backbone is frozen."""
    node, tree = backbone.built.node, backbone.built.file.tree
    if not isinstance(node, cst.Call) or backbone.loaded is not None:
        return None
    flag = next(
        (a.value for a in node.args if a.keyword is not None and a.keyword.value in ("pretrained", "weights")), None
    )
    if flag is None or isinstance(flag, cst.SimpleString) or tree.code(flag) in ("True", "False", "None"):
        return None
    if not isinstance(flag, (cst.Name, cst.Attribute)):
        return None if isinstance(flag, cst.Call) else ""
    if isinstance(flag, cst.Attribute) and "eights" in tree.code(flag):  # models.ResNet18_Weights.DEFAULT
        return None
    if isinstance(flag, cst.Name) and always_weights(tree, backbone.built, flag.value):
        return None
    return tree.code(flag) if all(scope_of(head) is scope_of(backbone.built) for head in backbone.heads) else ""


def always_weights(tree: Tree, event: Event, name: str) -> bool:
    """The name is given a value once, in the function at hand or else in its file, and that stands for weights."""
    scope = scope_of(event)
    scopes = [scope, tree.module] if isinstance(scope, cst.FunctionDef) else [tree.module]
    for each in scopes:
        if isinstance(each, cst.FunctionDef) and any(
            isinstance(n, cst.Name) and n.value == name for n in walk(each.params)
        ):
            return False
        given = [
            node.value
            for node in walk(each)
            if isinstance(node, (cst.Assign, cst.AugAssign, cst.AnnAssign, cst.NamedExpr)) and name in _bound_by(node)
        ]
        if given:
            value = given[0]
            shown = isinstance(value, cst.SimpleString) or (value is not None and tree.code(value) == "True")
            named = isinstance(value, cst.Attribute) and "eights" in tree.code(value)
            return len(given) == 1 and (shown or named)
    return False


def _bound_by(node: cst.Assign | cst.AugAssign | cst.AnnAssign | cst.NamedExpr) -> set[str]:
    targets = [each.target for each in node.targets] if isinstance(node, cst.Assign) else [node.target]
    return {each.value for target in targets for each in walk(target) if isinstance(each, cst.Name)}


def drifts(program: Program, backbone: Backbone) -> bool:
    """Its norms would go on following the data in a frozen backbone: it is trained in the mode that it was built in, which
    no `train()` sets, so that only the freeze itself can say otherwise."""
    norms = batch_norms(backbone.model)
    if not norms:
        return False
    reach, modes = Reach.of(program), Modes.of(program)
    outer = [backbone.model, *bb.containers(program, backbone.model)]
    trainers = (event for event in program.events(TrainerGiven) if event.framework in ("lightning", "transformers"))
    if any(holds(event.subject, backbone.model) for event in trainers):
        return False  # they call `train()` themselves
    return any(
        any(event.subject is each for each in outer)
        and reach.reaches(event)
        and modes.last(norms[0].holder, event) is None
        and not unfollowed_mode_call(program, event, "train")
        for event in program.events(Forward)
    )


def chosen_apart(tree: Tree, inner: cst.CSTNode, outer: cst.CSTNode) -> cst.If | None:
    """The outermost `if` that `inner` stands in and `outer` does not, of the same function."""
    above = {id(up) for up in tree.ancestors(outer)}
    found: cst.If | None = None
    for up in tree.ancestors(inner):
        if isinstance(up, (cst.FunctionDef, cst.ClassDef)) or id(up) in above:
            break
        if isinstance(up, cst.If):
            found = up
    return found


def heads_on_branches(tree: Tree, chain: cst.If, target: str) -> list[bool]:
    """For each branch of a chain of tests, whether it replaces a part of `target`, or ends the run; False at the end where there
    is no `else`."""
    found: list[bool] = []
    at: cst.If | cst.Else | None = chain
    while at is not None:
        found.append(
            any(
                isinstance(node, cst.Raise)
                or (isinstance(node, cst.AssignTarget) and tree.code(node.target).startswith((f"{target}.", f"{target}[")))
                for node in walk(at.body)
            )
        )
        if isinstance(at, cst.Else):
            return found
        at = at.orelse
    return [*found, False]


def scope_of(event: Event) -> object:
    """The function that an event's code stands in, or its file."""
    tree = event.file.tree
    return next((up for up in tree.ancestors(event.node) if isinstance(up, cst.FunctionDef)), event.file)


def guarded(test: str | None, lines: list[str]) -> list[str]:
    return [f"if {test}:", *(f"    {line}" for line in lines)] if test else lines


def may_be_pretrained(tree: Tree, call: cst.Call) -> bool:
    return any(
        arg.keyword is not None and arg.keyword.value in FLAGS and tree.code(arg.value) not in ("False", "None")
        for arg in call.args
    )


def one_of_several(program: Program, backbone: Backbone, told: Container[int]) -> bool:
    """Whether other pretrained models may stand in its place, which are not told of (`told`: ids of constructions): on another
    branch, or picked from a table. A freeze of this one alone would make the choice between them another than it was."""
    return _on_another_branch(backbone, told) or _picked(program, backbone, told)


def instead_of(program: Program, backbone: Backbone, other: Backbone) -> bool:
    """Whether what trains holds either the one or the other, never both."""
    around = {id(outer) for outer in bb.containers(program, backbone.model)}
    return not any(id(outer) in around for outer in bb.containers(program, other.model))


def _picked(program: Program, backbone: Backbone, told: Container[int]) -> bool:
    """What holds it may hold a module of another class instead, with a pretrained model that nothing freezes."""
    frozen = {id(root) for freeze in freezes(program) for root in freeze.roots}
    for holder in bb.containers(program, backbone.model):
        for value in holder.fields.values():
            choices = [each for each in members(value) if isinstance(each, Instance) and each.kind == "module"]
            mine = [each for each in choices if holds(each, backbone.model)]
            for other in choices if mine else ():
                if any(other.cls is each.cls for each in mine):
                    continue
                parts = [part for _, part in submodules(other)]
                if any(id(part) in frozen for part in parts):
                    continue
                if any(part.owner is part and is_pretrained(part) and id(part.node) not in told for part in parts):
                    return True
    return False


def _on_another_branch(backbone: Backbone, told: Container[int]) -> bool:
    node, tree = backbone.built.node, backbone.built.file.tree
    statement = tree.statement_of(node)
    targets = set()
    for up in (node, *tree.ancestors(node)):
        if isinstance(up, cst.Assign):
            targets = {tree.code(each.target) for each in up.targets}
        if up is statement:
            break
    if not targets:
        return False
    below: cst.CSTNode = node
    for up in tree.ancestors(node):
        if isinstance(up, (cst.FunctionDef, cst.ClassDef)):
            return False
        if isinstance(up, cst.If):
            others = [each for each in (up.body, up.orelse) if each is not None and each is not below]
            for other in others:
                gives = any(
                    isinstance(each, cst.AssignTarget) and tree.code(each.target) in targets for each in walk(other)
                )
                builds = any(
                    isinstance(each, cst.Call) and may_be_pretrained(tree, each) and id(each) not in told
                    for each in walk(other)
                )
                frozen = any(
                    isinstance(each, cst.Attribute) and each.attr.value.startswith("requires_grad")
                    for each in walk(other)
                )
                if gives and builds and not frozen:
                    return True
        below = up
    return False


__all__ = ["condition", "drifts", "guarded", "one_of_several"]
