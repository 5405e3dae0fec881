"""Parts of a model that nobody can see into: handed in, or made by a library that is not known."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.values import Class, Const, Func, Instance, Ref, Unknown, Value, first, instances, members
from tricklint.knowledge import frameworks, pretrained
from tricklint.libraries.facts import ModuleFacts
from tricklint.source.tree import walk


def foreign_parts(module: Instance) -> list[str]:
    """Attributes that the class calls or goes over as it would modules, without a trace of what they are: an argument,
    or something another library made, which may be pretrained."""
    if not isinstance(module.cls, Class):
        return []
    unknown = {
        str(name)
        for name, value in module.fields.items()
        if any(isinstance(m, Unknown) or (isinstance(m, Instance) and may_hold_a_net(m)) for m in members(value))
    }
    used: set[str] = set()
    made: set[str] = set()  # by a call of something that is not known
    handed: set[str] = set()  # on to what may call it
    for cls in module.cls.mro() if unknown else ():
        for func in cls.fields.values() if isinstance(cls, Class) else ():
            if not isinstance(func, Func) or func.node is None:
                continue
            for node in walk(func.node):
                if isinstance(node, cst.Call):
                    used.update(own_attribute(node.func))
                    if func.name != "__init__":
                        handed.update(name for arg in node.args for name in own_attribute(arg.value))
                elif isinstance(node, cst.Assign) and isinstance(node.value, cst.Call):
                    made.update(name for target in node.targets for name in own_attribute(target.target))
                elif isinstance(node, (cst.For, cst.CompFor)):
                    for each in walk(node.iter):
                        used.update(own_attribute(each))
    return sorted(unknown & (used | made & handed))


def may_hold_a_net(part: Instance) -> bool:
    """Whether an object that a library made, of which nothing is known, may be a net: a tokenizer, a logger, a metric is none."""
    if part.kind != "" or part.library.startswith(frameworks.NETLESS_PACKAGES):
        return False
    owner = part.library.removesuffix(".from_pretrained").rpartition(".")[2]
    of_models = part.library.startswith(("transformers.", "diffusers."))
    return not (of_models and any(word in owner for word in pretrained.BESIDE_MODELS))


def own_attribute(node: cst.CSTNode) -> tuple[str, ...]:
    """("layers",) for `self.layers`, and for `self.layers[0]` and `self.layers.forward`."""
    if isinstance(node, cst.Subscript) or (isinstance(node, cst.Attribute) and node.attr.value == "forward"):
        node = node.value
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
        return (node.attr.value,)
    return ()


def may_be_trained_already(module: Instance) -> bool:
    """Whether a part that nobody can see into may come with weights: it is handed in, or what makes it is told a text (the
    name of an architecture, say) or a function, and not only sizes; or a library's model whose weights are the caller's
    choice, whatever that is by default."""
    for value in module.fields.values():
        for part in instances(value):
            if part.fact(ModuleFacts).external and _switched(part):
                return True
            if part.fact(ModuleFacts).guessed and any(map(_names_one, (*part.args, *part.kwargs.values()))):
                return True
    for name in foreign_parts(module):
        for cls in module.cls.mro() if isinstance(module.cls, Class) else ():
            init = cls.fields.get("__init__") if isinstance(cls, Class) else None
            if not isinstance(init, Func) or not isinstance(init.node, cst.FunctionDef):
                continue
            for node in walk(init.node):
                if not isinstance(node, cst.Assign) or all(
                    name not in own_attribute(each.target) for each in node.targets
                ):
                    continue
                if isinstance(node.value, cst.Call) and any(
                    _tells_which(init.node, arg.value) for arg in node.value.args
                ):
                    return True
    return False


def _switched(part: Instance) -> bool:
    """Whether a call asks for weights by a variable, such as an argument of the constructor around it, that is not sure to
    say no: a caller's literal is."""
    made = part.node
    if not isinstance(made, cst.Call):
        return False
    asked = {arg.keyword.value: arg.value for arg in made.args if arg.keyword and arg.keyword.value in pretrained.FLAGS}
    constants = ("True", "False", "None")
    return any(
        isinstance(flag, (cst.Name, cst.Attribute))
        and getattr(flag, "value", "") not in constants
        and not (isinstance(given := first(part.kwargs.get(name)), Const) and not given.value and not given.default)
        for name, flag in asked.items()
    )


def _names_one(value: Value) -> bool:
    at = first(value)
    if isinstance(at, Const):
        return isinstance(at.value, str)
    return isinstance(at, Func) or (isinstance(at, Ref) and not at.name.startswith("torch."))


def _tells_which(init: cst.FunctionDef, value: cst.BaseExpression) -> bool:
    if isinstance(value, cst.Name):  # an argument of `__init__`: what it is by default
        params = (*init.params.params, *init.params.kwonly_params)
        default = next((each.default for each in params if each.name.value == value.value), None)
        return isinstance(default, (cst.SimpleString, cst.Attribute))
    return isinstance(value, (cst.SimpleString, cst.FormattedString))


__all__ = ["foreign_parts", "may_be_trained_already", "may_hold_a_net", "own_attribute"]
