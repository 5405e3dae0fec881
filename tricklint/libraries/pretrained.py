"""Models of libraries that come with weights."""

from __future__ import annotations

from functools import partial

import libcst as cst

from tricklint.interpreter.behaviour import Function, finder, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Built
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Instance,
    Ref,
    Union,
    Value,
    first,
    members,
)
from tricklint.knowledge import pretrained
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import adopt


@finder(rank=30)
def pretrained_by_name(name: str) -> Function | None:
    row = pretrained.row_of(name)
    return partial(pretrained_model, row) if row is not None else None


def pretrained_model(row: pretrained.PretrainedRow, m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A constructor that may ask for weights: `verdict` says whether it does (None: it depends)."""
    made = plain(m, name, args, node)
    made.kind = "module"
    made.fact(ModuleFacts).family = row.family
    made.fact(ModuleFacts).external = True
    adopt(made, args)
    verdict: bool | None = row.always or row.default_on
    for flag in row.flags:
        passed = args.get(row.position if flag == row.flags[0] else None, flag)
        if passed is None:
            continue
        verdict = asks_for_weights(passed)
        break
    if args.open_kwargs and not any(flag in args.kwargs for flag in row.flags):
        verdict = None if not row.always else True
    of_backbone = bool(row.backbone) and verdict is False
    if of_backbone:
        asked = next((args.kwargs[flag] for flag in row.backbone if flag in args.kwargs), None)
        verdict = True if asked is None else asks_for_weights(asked)
    if row.family == "timm" and verdict is not True:
        path = first(args.kwargs.get("checkpoint_path"))
        verdict = True if isinstance(path, Const) and path.value else verdict  # a file with weights
    made.fact(ModuleFacts).pretrained = verdict
    new_head = of_backbone or any(key in args.kwargs for key in row.head if key != "encoder_name")
    if row.family == "timm" and "num_classes" in args.kwargs:
        classes = first(args.kwargs["num_classes"])
        new_head = not (isinstance(classes, Const) and classes.value in (0, 1000))
    if row.family == "smp":
        new_head = True
    if row.family == "transformers":
        owner = name.rpartition(".")[0].rpartition(".")[2]
        new_head = pretrained.transformer_has_new_head(owner)
    if new_head:
        made.fact(ModuleFacts).new_head = True
    m.emit(Built(m.now(node), made))
    return made


@function("torchvision.models.get_model")
def by_name(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`torchvision.models.get_model("resnet18", weights=…)`."""
    at = first(args.get(0, "name"))
    if not isinstance(at, Const) or not isinstance(at.value, str):
        row = pretrained.row_of(name)
        assert row is not None
        return pretrained_model(row, m, name, args, node)
    rest = CallArgs(args.positional[1:], {key: value for key, value in args.kwargs.items() if key != "name"})
    rest.open, rest.open_kwargs = args.open, args.open_kwargs
    return m.call(Ref(pretrained.torchvision_builder(at.value)), rest, node)


def asks_for_weights(passed: Value) -> bool | None:
    value = first(passed)
    if isinstance(value, Const):
        return bool(value.value) and value.value not in ("none", "None", "scratch", "random")
    if isinstance(value, Ref) or (isinstance(value, Instance) and "eights" in value.library):
        return True
    verdicts = {asks_for_weights(member) for member in members(passed)} if isinstance(passed, Union) else {None}
    return verdicts.pop() if len(verdicts) == 1 else None


@function(
    *(f"fastai.vision.{below}{made}" for below in ("", "learner.", "all.") for made in ("create_body", "create_head"))
)
def external_module(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "module"
    made.fact(ModuleFacts).external = True
    if name.endswith("create_body") and asks_for_weights(args.kwargs.get("pretrained", UNKNOWN)) is not False:
        made.fact(ModuleFacts).pretrained = None  # by default it is
    m.emit(Built(m.now(node), made))
    return made
