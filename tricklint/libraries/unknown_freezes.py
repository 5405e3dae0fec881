"""Freezes that are none on what nothing is known of: how the code around treats it says that it is a module or a parameter."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves
from tricklint.interpreter.classes import kind_of_class
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import Class, Instance, Ref, Unknown, Value
from tricklint.knowledge import layers
from tricklint.knowledge.slips import meant_as_requires_grad
from tricklint.libraries.events import FreezeMissed
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.torch_classes import MODULE_BASES
from tricklint.source.tree import dotted, walk

# Methods that modules have and tensors have not
_OF_MODULES = frozenset(
    (
        "eval", "train", "parameters", "named_parameters", "modules", "named_modules", "children", "named_children",
        "load_state_dict",
    )
)  # fmt: skip
_PARAMETERS = ("parameters", "named_parameters")


@behaves(Unknown)
class Outsider(Behaviour):
    def set_attribute(self, m: Machine, value: Unknown, name: str, new: Value, node: cst.CSTNode) -> bool:
        unknown_freeze(m, name, new, node)
        return True


def unknown_freeze(m: Machine, name: str, new: Value, node: cst.CSTNode) -> None:
    """`it.requires_grad = new`, a name misspelt or not, where a module or a parameter must be meant by `it`."""
    target = node.targets[0].target if isinstance(node, cst.Assign) and len(node.targets) == 1 else None
    if not isinstance(target, cst.Attribute) or not (name == "requires_grad" or meant_as_requires_grad(name)):
        return
    owner, around = dotted(target.value), scope(m, target)
    on = truth(m, new)[0]
    model = Instance(Ref("<unknown>.Model"), node, m.file)
    model.kind = "guessed"
    if name != "requires_grad" and is_parameter(m, target):
        m.emit(FreezeMissed(m.now(node), ParamSet(model, "param", elem=True, node=target), name, on))
    elif owner and is_module(m, owner, around, target) and not frozen_indeed(owner, around):
        m.emit(FreezeMissed(m.now(node), model, name, on))


def scope(m: Machine, node: cst.Attribute) -> cst.CSTNode:
    """Where the same name stands for the same thing: a class for `self.x`, a function for `x`."""
    kind = cst.ClassDef if dotted(node).startswith("self.") else cst.FunctionDef
    return next((up for up in m.file.tree.ancestors(node) if isinstance(up, kind)), m.file.tree.module)


def is_parameter(m: Machine, target: cst.Attribute) -> bool:
    """Whether what is set on comes out of a loop over the parameters of something: `for p in net.parameters()`."""
    if not isinstance(target.value, cst.Name):
        return False
    for up in m.file.tree.ancestors(target):
        if isinstance(up, cst.For) and any(
            isinstance(each, cst.Name) and each.value == target.value.value for each in walk(up.target)
        ):
            return any(_method(call) in _PARAMETERS for call in _calls(up.iter))
    return False


def is_module(m: Machine, owner: str, around: cst.CSTNode, target: cst.Attribute) -> bool:
    """Whether a method is asked of it that only modules have, or it is declared to be a module."""
    for call in _calls(around):
        if isinstance(call.func, cst.Attribute) and _method(call) in _OF_MODULES and dotted(call.func.value) == owner:
            return True
    return any(_is_module_class(m, annotation) for annotation in declarations(m, owner, around, target))


def declarations(
    m: Machine, owner: str, around: cst.CSTNode, target: cst.Attribute
) -> Iterator[cst.BaseExpression]:
    """The annotation of the parameter `owner`, or of the one that the attribute `owner` was set to."""
    if not owner.startswith("self."):
        func = next((up for up in m.file.tree.ancestors(target) if isinstance(up, cst.FunctionDef)), None)
        yield from _annotation(func, owner)
        return
    for node in walk(around):
        if isinstance(node, cst.Assign) and isinstance(node.value, cst.Name):
            if any(dotted(each.target) == owner for each in node.targets):
                func = next((up for up in m.file.tree.ancestors(node) if isinstance(up, cst.FunctionDef)), None)
                yield from _annotation(func, node.value.value)


def _annotation(func: cst.FunctionDef | None, name: str) -> Iterator[cst.BaseExpression]:
    if func is not None:
        for param in (*func.params.posonly_params, *func.params.params, *func.params.kwonly_params):
            if param.name.value == name and param.annotation is not None:
                yield param.annotation.annotation


def _is_module_class(m: Machine, annotation: cst.BaseExpression) -> bool:
    if not dotted(annotation):
        return False
    value = m.eval(annotation)
    if isinstance(value, Class):
        return kind_of_class(value) == "module"
    return isinstance(value, Ref) and (value.name in MODULE_BASES or layers.is_module_name(value.name))


def frozen_indeed(owner: str, around: cst.CSTNode) -> bool:
    """Whether the parameters of the same thing are frozen one by one too, or by `requires_grad_`."""
    for node in walk(around):
        if isinstance(node, cst.For):
            over = [call for call in _calls(node.iter) if _method(call) in _PARAMETERS]
            if any(isinstance(call.func, cst.Attribute) and dotted(call.func.value) == owner for call in over):
                attributes = (each.attr.value for each in walk(node.body) if isinstance(each, cst.Attribute))
                if any(name.startswith("requires_grad") for name in attributes):
                    return True
        elif isinstance(node, cst.Call) and _method(node) == "requires_grad_":
            if isinstance(node.func, cst.Attribute) and dotted(node.func.value) == owner:
                return True
    return False


def _calls(node: cst.CSTNode) -> Iterator[cst.Call]:
    return (each for each in walk(node) if isinstance(each, cst.Call))


def _method(call: cst.Call) -> str:
    return call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
