"""Optimizers and schedulers of torch, and of libraries that act like them."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, Function, behaves, behaves_below, finder, function, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Ref,
    Sequence,
    Union,
    Value,
    first,
    leaves,
    members,
)
from tricklint.knowledge import optimizers
from tricklint.libraries.events import (
    GradsCleared,
    GroupAdded,
    GroupOptionSet,
    GroupParamsTaken,
    OptimizerBuilt,
    OptimizerLoaded,
    SchedulerBuilt,
    SchedulerStepped,
    Stepped,
)
from tricklint.libraries.facts import Group, GroupsFacts, OptimizerFacts, SchedulerFacts
from tricklint.libraries.paramsets import ParamSet
from tricklint.source.tree import walk

BY_NAME = "torch.optim.<dynamic>"  # `getattr(torch.optim, name)`: whichever it is


def spares_vectors(cls: Class) -> bool:
    """Whether an optimizer of the program looks at shapes (or at a list of exceptions) before it decays: LARS, LAMB."""
    for node in walk(cls.node):
        if not isinstance(node, (cst.If, cst.IfExp)):
            continue
        asked = {at.value for at in walk(node.test) if isinstance(at, cst.Name)}
        if not any(
            word in name for name in asked for word in ("ndim", "dim", "shape", "size", "exclu", "filter", "adapt")
        ):
            continue
        for at in walk(node.body):
            if (isinstance(at, cst.Name) and "decay" in at.value) or (
                isinstance(at, cst.SimpleString) and "decay" in at.value
            ):
                return True
    return False


@function(*optimizers.OPTIMIZERS)
def optimizer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == BY_NAME:
        name = "torch.optim.Optimizer"
    made = plain(m, name, args, node)
    return make_optimizer(m, made, name, args, node)


def make_optimizer(
    m: Machine, made: Instance, name: str, args: CallArgs, node: cst.CSTNode, own: bool = False
) -> Instance:
    row = optimizers.OPTIMIZERS.get(name)
    made.kind = "optimizer"
    params = args.get(0, "params")
    if params is None:
        params = args.get(None, "model_parameters") or UNKNOWN
    options: dict[str, Value] = {k: v for k, v in args.kwargs.items() if k != "params"}
    if row is not None:
        for key, position in (("weight_decay", row.decay_position), ("lr", row.lr_position)):
            if key not in options and position is not None and position < len(args.positional):
                options[key] = args.positional[position]
    known = made.fact(OptimizerFacts)
    known.row, known.name, known.options, known.params, known.own = row, name, options, params, own
    known.open, known.groups = args.open_kwargs or args.open, groups_of(m, params)
    defaults = first(made.fact(OptimizerFacts).defaults)
    if own and isinstance(defaults, Dict):  # what the class hands to Optimizer.__init__
        for key, value in defaults.fields.items():
            options.setdefault(key, value)
    if own and isinstance(made.cls, Class) and spares_vectors(made.cls):
        options["weight_decay"] = UNKNOWN
    m.emit(OptimizerBuilt(m.now(node), made))
    return made


def groups_of(m: Machine, params: Value) -> list[Group]:
    groups: list[Group] = []
    for position, member in enumerate(members(params)):
        default = not (isinstance(params, Union) and params.sure and position)
        if isinstance(member, Sequence) and any(isinstance(first(i), Dict) for i in member.items):
            for item in member.items:
                for inner in members(item):
                    if isinstance(inner, Dict):
                        options = {k: v for k, v in inner.fields.items() if isinstance(k, str) and k != "params"}
                        held = inner.fields.get("params", UNKNOWN)
                        groups.append(Group(held, options, inner.open, inner.node, default))
                    else:
                        groups.append(Group(inner, default=default))
            if member.open and not member.items:
                groups.append(Group(UNKNOWN, default=default))
        else:
            groups.append(Group(member, default=default))
    return groups


def scheduler(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "scheduler"
    made.fact(SchedulerFacts).optimizer = args.get(0, "optimizer")
    m.emit(SchedulerBuilt(m.now(node), made))
    return made


def scaler_method(m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == "scale" and args.positional:
        return args.positional[0]
    if name == "step" and args.positional:
        for member in members(args.positional[0]):
            m.emit(Stepped(m.now(node), member, through=True))
    return UNKNOWN


@function(*optimizers.GROUP_HELPERS)
def split_groups(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "split_groups"
    return made


@method("optimizer", "step")
def step(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    m.emit(Stepped(m.now(node), value))
    for closure in args.positional[:1]:
        if isinstance(first(closure), Func):
            m.call(closure, CallArgs(), node)
    return UNKNOWN


@method("optimizer", "zero_grad")
def zero_grad(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    m.emit(GradsCleared(m.now(node), value))
    return NONE


@method("optimizer", "add_param_group")
def add_param_group(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    group = first(args.get(0, "param_group"))
    if isinstance(group, Dict):
        options = {k: v for k, v in group.fields.items() if isinstance(k, str) and k != "params"}
        value.fact(OptimizerFacts).groups.append(Group(group.fields.get("params", UNKNOWN), options, group.open, node))
    m.emit(GroupAdded(m.now(node), value, group if isinstance(group, Dict) else None))
    return NONE


@method("optimizer", "load_state_dict")
def load_state(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    m.emit(OptimizerLoaded(m.now(node), value))
    return NONE


@method("scheduler", "step")
def scheduler_step(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    m.emit(SchedulerStepped(m.now(node), value, args))
    return NONE


@finder(rank=20)
def optimizers_by_name(name: str) -> Function | None:
    if name.startswith(optimizers.SCHEDULER_PREFIXES):
        return scheduler
    owner, _, made = name.rpartition(".")
    return optimizer if name == BY_NAME or (made[:1].isupper() and f"{owner}." in optimizers.PACKAGES) else None


def is_optimizer(args: CallArgs) -> bool:
    """What is made of parameters, or groups of them, and of a learning rate is an optimizer, whatever its name."""
    if "lr" not in args.kwargs and "learning_rate" not in args.kwargs:
        return False
    given = args.get(0, "params")
    held = [member for group in groups_of_any(given) for member in leaves(group)]
    return any(isinstance(member, ParamSet) and member.kind == "param" and not member.names for member in held)


def groups_of_any(given: Value | None) -> list[Value]:
    return [each.fields.get("params", UNKNOWN) if isinstance(each, Dict) else each for each in leaves(given)]


@function("<unknown>.Optimizer")
def unknown_optimizer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """One of which only its arguments are known: it may spare biases and norms by itself, as some do."""
    given = CallArgs(list(args.positional), dict(args.kwargs))
    given.open, given.open_kwargs = args.open, args.open_kwargs
    if "weight_decay" in given.kwargs:
        given.kwargs["weight_decay"] = UNKNOWN
    return make_optimizer(m, plain(m, name, args, node), name, given, node)


@behaves("optimizer")
class OptimizerBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        if name != "param_groups":
            return None
        groups = Instance(Ref("torch.optim.param_groups"), node, m.file)
        groups.kind = "param_groups"
        groups.fact(GroupsFacts).optimizer = value
        return groups

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return UNKNOWN

    def own_method(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> None:
        if name == "step":
            m.emit(Stepped(m.now(node), value))
        elif name == "zero_grad":
            m.emit(GradsCleared(m.now(node), value))

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "__init__":
            value.fact(OptimizerFacts).defaults = args.get(1, "defaults")
            return NONE
        return None

    def escapes(self, value: Instance) -> bool:
        return True

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        base = next((name for name in cls.libraries() if name.startswith("torch.optim.")), "torch.optim.Optimizer")
        make_optimizer(m, made, base, args, node, own=True)
        return True


@behaves("scheduler")
class SchedulerBehaviour(Behaviour):
    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        made.fact(SchedulerFacts).optimizer = args.get(0, "optimizer")
        m.emit(SchedulerBuilt(m.now(node), made))
        return True


@behaves("param_groups")
class ParamGroups(Behaviour):
    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        group = Instance(Ref("torch.optim.param_group"), node, m.file)
        group.kind = "param_group"
        group.fact(GroupsFacts).optimizer = value.fact(GroupsFacts).optimizer
        return group

    def element(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        group = self.item(m, value, UNKNOWN, node)
        if isinstance(group, Instance):
            group.fact(GroupsFacts).every = True
        return group


@behaves("param_group")
class ParamGroup(Behaviour):
    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        known, at = value.fact(GroupsFacts), first(index)
        if known.optimizer is not None and not known.every and isinstance(at, Const) and at.value == "params":
            m.emit(GroupParamsTaken(m.now(node), known.optimizer))
        return None

    def set_item(self, m: Machine, value: Instance, index: Value, new: Value, node: cst.CSTNode) -> bool:
        at = first(index)
        owner = value.fact(GroupsFacts).optimizer
        if owner is not None:
            every = value.fact(GroupsFacts).every
            m.emit(GroupOptionSet(m.now(node), owner, at.value if isinstance(at, Const) else None, new, every))
        return True


@behaves_below("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "apex.amp")
class Scaler(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if value.library not in ("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "apex.amp"):
            return None
        return scaler_method(m, value, name, args, node)
