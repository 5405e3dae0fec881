"""Modules: layers and containers of torch.nn, attributes and methods of every nn.Module."""

from __future__ import annotations

from typing import cast

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, Function, behaves, finder, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Built, Escaped
from tricklint.interpreter.items import bounds_of
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    FALSE,
    NONE,
    UNKNOWN,
    Bound,
    CallFacts,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Pred,
    Ref,
    Sequence,
    Value,
    first,
    join,
    members,
)
from tricklint.knowledge import layers
from tricklint.knowledge.audio import FREEZES_OF_FRONTS, frozen_by
from tricklint.knowledge.parts import parts_of
from tricklint.knowledge.slips import meant_as_requires_grad
from tricklint.libraries.checkpoints import checkpoint_in, saved
from tricklint.libraries.events import (
    Backward,
    FreezeMissed,
    GradsCleared,
    HeadReplaced,
    Initialised,
    LossBuilt,
    ModeSet,
    Moved,
    NormStatsSet,
    PlainContainer,
    WeightsLoaded,
)
from tricklint.libraries.facts import Load, ModuleFacts, TrainerFacts
from tricklint.libraries.modules import adopt
from tricklint.libraries.parameters import compared_for_nothing, freeze
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor, Training
from tricklint.libraries.torch_forward import forward
from tricklint.libraries.torch_init import initialise

PARAM_METHODS = frozenset(("parameters", "named_parameters"))


MODULE_METHODS = frozenset(("modules", "named_modules", "children", "named_children"))


_SAME = frozenset(
    (
        "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "share_memory", "type", "xpu", "npu", "to_empty",
        "to_bettertransformer", "merge_and_unload", "prepare", "unwrap_model", "compile",
    )
)  # fmt: skip


SLICED = frozenset(("torch.nn.Sequential", "torch.nn.ModuleList"))


_TENSOR_ATTRIBUTES = frozenset(("in_features", "out_features", "in_channels", "out_channels", "num_features", "config"))


def module_instance_attribute(m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value:
    if name in ("module", "_orig_mod"):  # a DataParallel or compile wrapper is its model here
        return value
    if name == "training":
        return Training(value)
    if name == "requires_grad":
        compared_for_nothing(m, value, node)
        return UNKNOWN
    if name in ("hparams", "hparams_initial"):
        made = Namespace(node, m.file)
        made.fields.update(value.fact(ModuleFacts).init_arguments)
        if name == "hparams":  # one object, which may be changed: `self.hparams.update(vars(args))`
            m.write(value.fields, name, made)
        return made
    if name == "trainer" and isinstance(value.cls, Class) and "lightning.LightningModule" in value.cls.libraries():
        trainer = Instance(Ref("lightning.Trainer"), node, m.file)
        trainer.kind = "trainer"
        trainer.fact(TrainerFacts).framework, trainer.fact(TrainerFacts).model = "lightning", value
        return trainer
    if name in ("weight", "bias", "weight_g", "weight_v", "in_proj_weight", "in_proj_bias") and is_layer(m, value):
        return ParamSet(value, "param", (Pred("attr", (name,)),), True, node=node)
    if name in _TENSOR_ATTRIBUTES:
        position = {"in_features": 0, "out_features": 1, "in_channels": 0, "out_channels": 1, "num_features": 0}.get(
            name
        )
        if position is not None and is_layer(m, value):
            passed = value.passed(position, name)
            return passed or UNKNOWN
        return UNKNOWN
    if is_method_name(m, value, name):
        return Bound(value, None, name)
    if isinstance(value.cls, Ref) or value.part_of is not None or is_external(m, value):
        return part_of(m, value, name, node)
    return UNKNOWN


def saved_hyperparameters(m: Machine, args: CallArgs) -> dict[str, Value]:
    """What `self.save_hyperparameters(…)` keeps: the arguments of the function that calls it, those below `**kwargs` by their
    own names; or, of one object that it is given, what that object holds."""
    frame = m.frame
    single = first(args.positional[0]) if args.positional else None
    if single is not None and not (isinstance(single, Const) and isinstance(single.value, str)):
        return _named_within(single)
    given = {k: v for k, v in frame.locals.items() if k not in ("self",) and not k.startswith("__")}
    rest = frame.func.node.params.star_kwarg if frame.func is not None else None
    if isinstance(rest, cst.Param):
        given |= _named_within(first(given.pop(rest.name.value, None)))
    return given


def _named_within(value: Value | None) -> dict[str, Value]:
    """The named things that a dict, or an object that stands for one, holds."""
    if not isinstance(value, (Dict, Namespace, Instance)):
        return {}
    return {name: each for name, each in value.fields.items() if isinstance(name, str) and isinstance(each, Value)}


def is_external(m: Machine, value: Instance) -> bool:
    return isinstance(value.cls, Class) and any(
        name not in ("torch.nn.Module", "lightning.LightningModule") for name in value.cls.libraries()
    )


def is_layer(m: Machine, value: Instance) -> bool:
    return (
        value.part_of is not None
        or value.library in layers.WEIGHTED
        or value.library in layers.NORM
        or (value.library in layers.EMBEDDING)
    )


def is_parameter_within(part: Instance) -> bool:
    """Whether what a library's class keeps below a name is a parameter, and no module: all that a layer of torch.nn holds,
    also below a class of the program's; and what large models hold beside their layers."""
    owner, path = part.part_of, part.fact(ModuleFacts).path
    if owner is None:
        return False
    kinds = owner.cls.libraries() if isinstance(owner.cls, Class) else (owner.library,)
    name = path.rpartition(".")[2]
    if any(kind in layers.LEAVES for kind in kinds):
        return True
    if any(kind in layers.ATTENTION and kind.endswith("MultiheadAttention") for kind in kinds):
        return name != "out_proj"
    root = owner
    while root.part_of is not None:
        root = root.part_of
    checkpoint = first(root.passed(0, "model_name"))
    named = checkpoint.value if isinstance(checkpoint, Const) and isinstance(checkpoint.value, str) else None
    built = root.cls.libraries() if isinstance(root.cls, Class) else (root.library,)
    rows = (parts_of(each, named) for each in built)
    return any(row is not None and row.holds_parameter(path) for row in rows)


def is_method_name(m: Machine, value: Instance, name: str) -> bool:
    return name in _MODULE_METHOD_NAMES or (
        name.endswith("_")
        or name.startswith(("get_", "set_", "from_", "register_", "save_", "load_", "forward", "num_"))
    )


def part_of(m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value:
    """A submodule of a library's model, made when it is first asked for."""
    part = Instance(Ref(f"{value.library or 'part'}.{name}"), node, m.file)
    part.kind = "module"
    part.part_of = value
    part.fact(ModuleFacts).path = f"{value.fact(ModuleFacts).path}.{name}".lstrip(".")
    value.fields[name] = part
    value.fact(ModuleFacts).parts.append(part)
    return part


def module_method(m: Machine, module: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name in PARAM_METHODS:
        recurse = args.get(0 if name == "parameters" else 1, "recurse")
        deep = not (isinstance(first(recurse), Const) and first(recurse).value is False)  # type: ignore[union-attr]
        return ParamSet(module, "param", (), False, name.startswith("named"), deep, node=node)
    if name in MODULE_METHODS:
        preds = (Pred("child"),) if "children" in name else ()
        return ParamSet(module, "module", preds, False, name.startswith("named"), node=node)
    if name in _SAME:
        m.emit(Moved(m.now(node), module, name, args))
        return module
    if name in ("train", "eval"):
        on = name == "train"
        sure: bool | None = on
        passed = args.get(0, "mode")
        if on and passed is not None:
            sure = truth(m, passed)[0]
        m.emit(ModeSet(m.now(node), module, sure))
        return module
    if name == "requires_grad_":
        freeze(m, ParamSet(module, "param"), args.get(0, "requires_grad") or Const(True), node)
        return module
    if name == "apply":
        func = args.get(0, "fn")
        if func is not None:
            element = ParamSet(module, "module", (), True, node=node)
            m.call(func, CallArgs([element]), node)
            if not isinstance(first(func), (Func, Bound)):
                m.emit(Initialised(m.now(node), element, "unknown"))
        return module
    if name in ("zero_grad",):
        m.emit(GradsCleared(m.now(node), module))
        return NONE
    if name == "load_state_dict":
        weights, strict = args.get(0, "state_dict"), args.get(1, "strict")
        source = checkpoint_in(weights)
        if any(isinstance(member, Instance) and member.kind == "state_dict" for member in members(weights)) and source:
            strict = FALSE  # its own weights stand where the checkpoint has none
        m.emit(WeightsLoaded(m.now(node), module, source or weights, strict))
        if source is not None and m.before_training(module):
            module.fact(ModuleFacts).loads.append(Load(node, source, m.file, tuple(m.path), m.entry))
        return UNKNOWN
    if name in ("add_module", "register_module"):
        key, child = args.get(0, "name"), args.get(1, "module")
        at = first(key)
        if child is not None:
            label = at.value if isinstance(at, Const) else f"<dynamic {len(module.fields)}>"
            set_module_attribute(m, module, str(label), child, node)
        return NONE
    if name == "register_parameter":
        at = first(args.get(0, "name"))
        value = args.get(1, "param")
        if isinstance(at, Const) and value is not None:
            m.write(module.fields, str(at.value), value)
        return NONE
    if name in ("append", "extend", "insert", "update"):
        return grow_container(m, module, name, args, node)
    if name in ("register_buffer", "register_forward_hook", "share_memory"):
        return NONE
    if name == "forward" or name == "__call__":
        return forward(m, module, args, node)
    if name == "save_hyperparameters":
        given = module.fact(ModuleFacts).init_arguments = saved_hyperparameters(m, args)
        for held in members(module.fields.get("hparams")):
            if isinstance(held, Namespace):
                for option, argument in given.items():
                    m.write(held.fields, option, argument)
        return NONE
    if name in ("state_dict",):
        made = Instance(Ref("state_dict"), node, m.file)
        made.kind = "state_dict"
        made.seq = m.seq
        made.fact(CallFacts).of = module
        return made
    if name in ("reset_parameters", "_reset_parameters", "init_weights", "post_init", "initialize", "init_parameters"):
        m.emit(Initialised(m.now(node), ParamSet(module, "module", (), True), name))
        return NONE
    if name in ("log", "log_dict", "print", "manual_backward", "toggle_optimizer", "untoggle_optimizer"):
        if name == "manual_backward" and args.positional:
            m.emit(Backward(m.now(node), args.positional[0]))
        return NONE
    if name == "optimizers":
        return module.fact(ModuleFacts).optimizers or UNKNOWN
    if name in ("freeze",):
        freeze(m, ParamSet(module, "param"), Const(False), node)
        return NONE
    if name in FREEZES_OF_FRONTS and isinstance(module.cls, Ref) and (steps := frozen_by(module.library, name)):
        part = module
        for step in steps:
            held = part.fields.get(step) or part_of(m, part, step, node)
            part = held if isinstance(held, Instance) else part
        freeze(m, ParamSet(part, "param"), Const(False), node)
        return NONE
    if name in ("unfreeze",):
        freeze(m, ParamSet(module, "param"), Const(True), node)
        return NONE
    if name in ("get_classifier", "get_submodule"):
        return part_of(m, module, name, node) if name not in module.fields else module.fields[name]
    if name in ("reset_classifier",):
        m.emit(HeadReplaced(m.now(node), module, "classifier", new_classifier(m, args, node), None))
        return NONE
    if name in ("size", "shape", "numel", "dim"):
        return UNKNOWN
    if module.part_of is not None or isinstance(module.cls, Ref):
        tensors = [v for v in args.all() if isinstance(v, Tensor)]
        if name in ("forward_features", "features", "extract_features", "forward_head", "encode_image", "encode_text",
                    "get_image_features", "get_text_features", "logits", "generate", "predict"):  # fmt: skip
            return forward(m, module, args, node)
        source = next((file for value in args.all() if (file := saved(value)) is not None), None)
        if source is not None and name.startswith("load"):
            m.emit(WeightsLoaded(m.now(node), module, source))
            return NONE
        if tensors:
            return Tensor("call", tuple(args.all()), module, node, m.file, m.grad is not False)
        m.emit(Escaped(m.now(node), module, f"{module.library}.{name}"))
    return UNKNOWN


def new_classifier(m: Machine, args: CallArgs, node: cst.CSTNode) -> Instance:
    """What `reset_classifier(classes)` of timm puts in: a Linear, nothing for no classes."""
    classes = args.get(0, "num_classes") or UNKNOWN
    at = first(classes)
    none = isinstance(at, Const) and not at.value
    made = Instance(Ref("torch.nn.Identity" if none else "torch.nn.Linear"), node, m.file)
    made.kind = "module"
    made.kwargs = {"out_features": classes}
    m.seq += 1
    made.seq = m.seq
    return made


def grow_container(m: Machine, module: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    values = args.positional[-1:] if name in ("append", "insert") else []
    if name in ("extend", "update") and args.positional:
        inner = first(args.positional[0])
        if isinstance(inner, Sequence):
            values = list(inner.items)
        elif isinstance(inner, Dict):
            for key, value in inner.fields.items():
                m.write(module.fields, str(key), value)
    for value in values:
        m.write(module.fields, str(len(module.fields)), value)
    return module


_MODULE_METHOD_NAMES = frozenset(
    (
        *PARAM_METHODS, *MODULE_METHODS, *_SAME, "train", "eval", "requires_grad_", "apply", "zero_grad", "load_state_dict",
        "add_module", "register_module", "register_parameter", "append", "extend", "insert", "update", "register_buffer",
        "forward", "__call__", "save_hyperparameters", "state_dict", "reset_parameters", "init_weights", "post_init", "log",
        "log_dict", "print", "manual_backward", "optimizers", "lr_schedulers", "freeze", "unfreeze", "get_classifier",
        "get_submodule", "reset_classifier", "forward_features", "extract_features", "generate", "predict", "logits_",
        "gradient_checkpointing_enable", "resize_token_embeddings", "get_input_embeddings", "save_pretrained", "items",
        "keys", "values", "pop", "numel", "buffers", "named_buffers", "encode_image", "encode_text", "toggle_optimizer",
        "untoggle_optimizer", "tie_weights", "summary", "add_adapter", "train_adapter", "initialize", "init_parameters", "fuse", "configure_optimizers",
        *FREEZES_OF_FRONTS,
    )
)  # fmt: skip


@function(*(name for name in layers.LOSSES if not name.startswith(layers.NN)))
def layer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "loss" if name in layers.LOSSES or name.endswith("Loss") else "module"
    if name in layers.CONTAINERS:
        fill_container(m, made, args, node)
    else:
        adopt(made, args)
    if made.kind == "loss":
        m.emit(LossBuilt(m.now(node), made, layers.LOSSES.get(name, "")))
    else:
        m.emit(Built(m.now(node), made))
    return made


def fill_container(m: Machine, made: Instance, args: CallArgs, node: cst.CSTNode) -> None:
    values: list[Value] = list(args.positional)
    if (len(values) == 1 and made.library != "torch.nn.Sequential") or (
        len(values) == 1 and isinstance(first(values[0]), (Dict, Sequence))
    ):
        inner = first(values[0])
        if isinstance(inner, Dict):
            for key, value in inner.fields.items():
                made.fields[str(key)] = value
            return
        if isinstance(inner, Sequence):
            if all(isinstance(i, Sequence) and len(i.items) == 2 for i in inner.items) and inner.items:
                for i, pair in enumerate(inner.items):
                    key_value = first(pair.items[0])  # type: ignore[attr-defined]
                    key = str(key_value.value) if isinstance(key_value, Const) else str(i)
                    made.fields[key] = pair.items[1]  # type: ignore[attr-defined]
                return
            values = list(inner.items)
        elif isinstance(inner, ParamSet):
            made.fields["*"] = inner
            return
    for i, value in enumerate(values):
        if isinstance(value, ParamSet):
            made.fields["*"] = value
        else:
            made.fields[str(i)] = value
    if args.open:
        made.fact(ModuleFacts).open = True


def set_module_attribute(m: Machine, member: Instance, name: str, value: Value, node: cst.CSTNode) -> None:
    if name == "requires_grad" or meant_as_requires_grad(name):
        if name != "requires_grad" or not is_parameter_within(member):
            m.emit(FreezeMissed(m.now(node), member, name, truth(m, value)[0]))
        return
    if name in ("weight", "bias") and is_layer(m, member):
        initialise(m, member, "assign", [value], node, which=name)
    if name in ("track_running_stats", "momentum") and member.library in layers.BATCH_NORM:
        m.emit(NormStatsSet(m.now(node), member, name, value))
    if name == "forward":
        member.fact(ModuleFacts).output = None
    old = member.fields.get(name)
    if isinstance(value, Sequence):
        value = Sequence(value.kind, value.items, value.open, value.node, value.file)
    if isinstance(value, (Sequence, Dict)):
        m.emit(PlainContainer(m.now(node), member, name, value))
    made_here = m.frame.self is member and m.frame.func is not None and m.frame.func.name == "__init__"
    if (not made_here or isinstance(member.cls, Ref)) and (
        old is None or not any(each is old for each in members(value))
    ):
        if any(isinstance(each, Instance) and each.kind == "module" for each in members(value)) or (
            isinstance(first(value), Const) and isinstance(old, Instance)
        ):
            m.emit(HeadReplaced(m.now(node), member, name, value, old))
            member.fact(ModuleFacts).output = None  # its next pass runs the new part
    m.write(member.fields, name, value)


def module_item(m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value:
    """`module[index]`: a child of a container, a part of a library's model."""
    at = first(index)
    if value.library in layers.CONTAINERS or isinstance(value.cls, Class):
        if isinstance(at, Const) and str(at.value) in value.fields:
            return cast(Value, value.fields[str(at.value)])
        numbered = [child for key, child in value.fields.items() if key.isdigit() or key == "*"]
        if isinstance(at, Const) and isinstance(at.value, int) and at.value < 0 and "*" not in value.fields:
            if -at.value <= len(numbered):
                return cast(Value, numbered[at.value])
        return join(*numbered) if numbered else UNKNOWN
    key = str(at.value) if isinstance(at, Const) else "?"
    if key in value.fields:
        return cast(Value, value.fields[key])
    return part_of(m, value, key, node)


def module_slice(m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
    """`layers[:-1]` of a Sequential or ModuleList: another of its kind that holds the same modules."""
    at = node.slice[0].slice if isinstance(node, cst.Subscript) else None
    bounds = bounds_of(m, at) if isinstance(at, cst.Slice) and value.library in SLICED else None
    if bounds is None:
        return None
    start, stop, step = (each.value for each in bounds)
    made = Instance(value.cls, node, m.file)
    made.kind = value.kind
    children = value.fields.get("*")
    if isinstance(children, ParamSet) and len(value.fields) == 1 and not start and step in (None, 1):
        made.fields["*"] = children.narrowed(Pred("unknown", ("slice",)))  # how many there are is not known
    elif "*" in value.fields or value.fact(ModuleFacts).open or step == 0:
        return None
    else:
        made.fields.update(list(value.fields.items())[start:stop:step])
    return made


def set_module_item(m: Machine, member: Instance, index: Value, value: Value, node: cst.CSTNode) -> None:
    at = first(index)
    name = str(at.value) if isinstance(at, Const) else "?"
    old = member.fields.get(name)
    if any(isinstance(each, Instance) and each.kind == "module" for each in members(value)):
        if member.part_of is not None or member.library not in layers.CONTAINERS:
            m.emit(HeadReplaced(m.now(node), member, name, value, old))
            member.fact(ModuleFacts).output = None  # its next pass runs the new part
    m.write(member.fields, name, value)


def container_element(m: Machine, member: Instance, node: cst.CSTNode) -> Value:
    """One symbolic child of a container, or one module below another module."""
    inner = [child for key, child in member.fields.items() if key.isdigit() or key == "*"]
    if inner:
        return join(*inner[:12])
    if member.library in layers.CONTAINERS:
        return UNKNOWN
    return ParamSet(member, "module", (Pred("within"),), True, node=node)


def children_of(over: Instance) -> Value | None:
    """A list of the children of a Sequential or ModuleList that are all known."""
    if over.fact(ModuleFacts).open:
        return None
    bases = over.cls.libraries() if isinstance(over.cls, Class) else (over.library,)
    if not any(base in ("torch.nn.Sequential", "torch.nn.ModuleList") for base in bases) or not over.fields:
        return None
    if isinstance(over.cls, Class) and over.cls.lookup("__iter__") is not None:
        return None
    if ("torch.nn.ModuleList" in bases and not all(key.isdigit() for key in over.fields)) or "*" in over.fields:
        return None
    return Sequence("list", tuple(over.fields.values()), False, over.node, over.file)


@behaves("loss")
class LossBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return module_method(m, value, name, args, node)

    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        own = value.cls.lookup("__call__") if isinstance(value.cls, Class) else None
        if isinstance(own, Func) and isinstance(value.cls, Class) and value.cls.lookup("forward") is None:
            return None  # a metric, say, that is a module by its base alone: what it does is in its own `__call__`
        if value.part_of is not None and not args.all() and not args.open and not args.open_kwargs:
            # `model.print_trainable_parameters()`, `model.logit_scale.exp()`: a method, of which nothing is asked about inputs
            return Tensor("call", (), value, node, m.file, m.grad is not False)
        return forward(m, value, args, node)

    def own_call(self, m: Machine, value: Instance, func: Func, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """`net.forward(x)` is a pass of the net as `net(x)` is, but for one that its own forward makes."""
        own = isinstance(value.cls, Class) and value.cls.lookup("forward") is func
        return forward(m, value, args, node) if own and not value.fact(ModuleFacts).running else None

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        made.fact(ModuleFacts).loss_class = made.kind == "loss" or is_loss_class(cls)
        return False


@behaves("module")
class ModuleBehaviour(LossBehaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return module_instance_attribute(m, value, name, node)

    def set_attribute(self, m: Machine, value: Instance, name: str, new: Value, node: cst.CSTNode) -> bool:
        set_module_attribute(m, value, name, new, node)
        return True

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return module_item(m, value, index, node)

    def sliced(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        return module_slice(m, value, node)

    def set_item(self, m: Machine, value: Instance, index: Value, new: Value, node: cst.CSTNode) -> bool:
        set_module_item(m, value, index, new, node)
        return True

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name != "__init__":
            return module_method(m, value, name, args, node)
        if isinstance(value.cls, Class) and "torch.nn.Sequential" in value.cls.libraries():
            for i, child in enumerate(args.positional):
                if isinstance(child, ParamSet):
                    value.fields["*"] = child
                elif isinstance(first(child), Instance):
                    value.fields[str(i)] = child
        elif isinstance(value.cls, Class):
            value.fact(ModuleFacts).super_args = args
        return NONE

    def element(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        return container_element(m, value, node)

    def children(self, m: Machine, value: Instance) -> Value | None:
        return children_of(value)

    def several(self, m: Machine, value: Instance) -> Value | None:
        held = [each for each in value.fields.values() if isinstance(each, Value)]
        if value.library not in ("torch.nn.Sequential", "torch.nn.ModuleList") or not held:
            return None
        return Sequence("list", tuple(held), True, value.node, value.file)

    def escapes(self, value: Instance) -> bool:
        return True


def is_loss_class(cls: Class) -> bool:
    """A module of the program that is used as a criterion: by its own name, no layer is called a loss."""
    lowered = cls.name.lower()
    return "loss" in lowered or "criterion" in lowered


@finder(rank=10)
def layers_by_name(name: str) -> Function | None:
    return layer if layers.is_module_name(name) else None
