"""Attributes, items and methods of heap objects, above all of `nn.Module`s. A mixin of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.knowledge import layers
from tricklint.program.values import (
    NONE,
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    ParamSet,
    Pred,
    Ref,
    Sequence,
    Tensor,
    Union,
    Unknown,
    Value,
    first,
    join,
    members,
)

if TYPE_CHECKING:
    from tricklint.program.calls import CallArgs
    from tricklint.program.interpreter import Interpreter

PARAM_METHODS = frozenset(("parameters", "named_parameters"))
MODULE_METHODS = frozenset(("modules", "named_modules", "children", "named_children"))
_SAME = frozenset(
    (
        "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "share_memory", "type", "xpu", "npu", "to_empty",
        "to_bettertransformer", "merge_and_unload", "prepare", "unwrap_model", "compile",
    )
)  # fmt: skip
_TENSOR_ATTRIBUTES = frozenset(("in_features", "out_features", "in_channels", "out_channels", "num_features", "config"))


class Objects:
    # -- attributes ----------------------------------------------------------------------------------------------------

    def instance_attribute(self: Interpreter, value: Instance, name: str, node: cst.CSTNode) -> Value:
        found = value.fields.get(name)
        if found is not None:
            return found
        if isinstance(value.cls, Class):
            inherited = value.cls.lookup(name)
            if isinstance(inherited, Func):
                if any(isinstance(d, Ref) and d.name in ("builtins.property", "functools.cached_property")
                       for d in inherited.decorators):  # fmt: skip
                    from tricklint.program.calls import CallArgs

                    return self.invoke(inherited, value, CallArgs(), node)
                return Bound(value, inherited, name)
            if inherited is not None:
                return inherited
        if value.kind == "module":
            return self.module_instance_attribute(value, name, node)
        if value.kind == "optimizer" and name == "param_groups":
            groups = Instance(Ref("torch.optim.param_groups"), node, self.file)
            groups.kind = "param_groups"
            groups.notes["optimizer"] = value
            return groups
        if value.kind == "trainer" and name == "model" and value.notes.get("model") is not None:
            return value.notes["model"]
        if value.kind == "loader" and name in ("dataset", "sampler", "batch_sampler", "batch_size"):
            return value.notes.get(name) or UNKNOWN
        if name == "dataset" and value.library == "torch.utils.data.Subset" and value.args:
            return value.args[0]
        if isinstance(value.cls, Class) and not value.cls.libraries() and value.cls.knows_bases:
            return UNKNOWN
        return Bound(value, None, name)

    def module_instance_attribute(self: Interpreter, value: Instance, name: str, node: cst.CSTNode) -> Value:
        if name in ("module", "_orig_mod"):  # a DataParallel or compile wrapper is its model here
            return value
        if name == "training":
            return UNKNOWN
        if name in ("hparams", "hparams_initial"):
            made = Namespace(node, self.file)
            made.fields.update(value.notes.get("init_arguments", {}))
            return made
        if name in ("weight", "bias", "weight_g", "weight_v", "in_proj_weight", "in_proj_bias") and self.is_layer(
            value
        ):
            return ParamSet(value, "param", (Pred("attr", (name,)),), True, node=node)
        if name in _TENSOR_ATTRIBUTES:
            position = {
                "in_features": 0,
                "out_features": 1,
                "in_channels": 0,
                "out_channels": 1,
                "num_features": 0,
            }.get(name)
            if position is not None and self.is_layer(value):
                passed = value.kwargs.get(name) or (value.args[position] if position < len(value.args) else None)
                return passed or UNKNOWN
            return UNKNOWN
        if self.is_method_name(value, name):
            return Bound(value, None, name)
        if isinstance(value.cls, Ref) or "part_of" in value.notes or self.is_external(value):
            return self.part_of(value, name, node)
        return UNKNOWN

    def is_external(self: Interpreter, value: Instance) -> bool:
        return isinstance(value.cls, Class) and any(
            name not in ("torch.nn.Module", "lightning.LightningModule") for name in value.cls.libraries()
        )

    def is_layer(self: Interpreter, value: Instance) -> bool:
        return (
            "part_of" in value.notes
            or value.library in layers.WEIGHTED
            or value.library in layers.NORM
            or (value.library in layers.EMBEDDING)
        )

    def is_method_name(self: Interpreter, value: Instance, name: str) -> bool:
        return name in _MODULE_METHOD_NAMES or (
            name.endswith("_")
            or name.startswith(("get_", "set_", "from_", "register_", "save_", "load_", "forward", "num_"))
        )

    def part_of(self: Interpreter, value: Instance, name: str, node: cst.CSTNode) -> Value:
        """A submodule of a library's model, made when it is first asked for."""
        part = Instance(Ref(f"{value.library or 'part'}.{name}"), node, self.file)
        part.kind = "module"
        part.notes["part_of"] = value
        part.notes["path"] = f"{value.notes['path']}.{name}" if "path" in value.notes else name
        value.fields[name] = part
        value.notes.setdefault("parts", []).append(part)
        return part

    def set_attribute(self: Interpreter, target: Value, name: str, value: Value, node: cst.CSTNode) -> None:
        targets = members(target)
        for member in targets:
            if isinstance(member, Instance):
                own = of_one(member, targets, value) if len(targets) > 1 else value
                self.set_instance_attribute(member, name, own, node)
            elif isinstance(member, (Namespace, Class)):
                self.write(member.fields, name, value)
            elif isinstance(member, ParamSet):
                if name == "requires_grad" and not member.names:
                    if member.kind == "module":
                        self.emit("noop_freeze", node, member, attribute=name, value=self.truth(value)[0])
                    else:
                        self.freeze(member, value, node)
                elif name in ("data", "weight", "bias"):
                    self.initialise(member, "assign", [value], node, which=name)
                elif name == "require_grad":
                    self.emit("noop_freeze", node, member, attribute=name, value=self.truth(value)[0])
                elif name in ("track_running_stats", "momentum") and member.kind == "module":
                    self.emit("norm_stats", node, member, attribute=name, value=value)
            elif isinstance(member, Tensor) and name == "requires_grad":
                self.emit("froze", node, member, value=self.truth(value)[0], pred=None)
            else:
                from tricklint.program.imports import ModuleValue

                if isinstance(member, ModuleValue):
                    self.write(member.module.names, name, value)

    def set_instance_attribute(self: Interpreter, member: Instance, name: str, value: Value, node: cst.CSTNode) -> None:
        if member.kind == "module" and name in ("requires_grad", "require_grad"):
            self.emit("noop_freeze", node, member, attribute=name, value=self.truth(value)[0])
            return
        if name in ("weight", "bias") and self.is_layer(member) and member.kind == "module":
            self.initialise(member, "assign", [value], node, which=name)
        if name in ("track_running_stats", "momentum") and member.library in layers.BATCH_NORM:
            self.emit("norm_stats", node, member, attribute=name, value=value)
        old = member.fields.get(name)
        if member.kind == "module":
            if isinstance(value, Sequence):
                value = Sequence(value.kind, value.items, value.open, value.node, value.file)
            if isinstance(value, (Sequence, Dict)):
                self.emit("plain_container", node, member, attribute=name, value=value)
            made_here = self.frame.self is member and self.frame.func is not None and self.frame.func.name == "__init__"
            if (not made_here or isinstance(member.cls, Ref)) and (
                old is None or not any(m is old for m in members(value))
            ):
                if any(isinstance(m, Instance) and m.kind == "module" for m in members(value)) or (
                    isinstance(first(value), Const) and isinstance(old, Instance)
                ):
                    self.emit("head", node, member, attribute=name, value=value, old=old)
        self.write(member.fields, name, value)

    # -- items ---------------------------------------------------------------------------------------------------------

    def instance_item(self: Interpreter, value: Instance, index: Value, node: cst.CSTNode) -> Value:
        if value.kind == "module":
            at = first(index)
            if value.library in layers.CONTAINERS or isinstance(value.cls, Class):
                if isinstance(at, Const) and str(at.value) in value.fields:
                    return value.fields[str(at.value)]
                numbered = [child for key, child in value.fields.items() if key.isdigit() or key == "*"]
                if isinstance(at, Const) and isinstance(at.value, int) and at.value < 0 and "*" not in value.fields:
                    if -at.value <= len(numbered):
                        return numbered[at.value]
                if numbered:
                    return join(*numbered)
                return UNKNOWN
            key = str(at.value) if isinstance(at, Const) else "?"
            if key in value.fields:
                return value.fields[key]
            return self.part_of(value, key, node)
        if value.kind == "param_groups":
            group = Instance(Ref("torch.optim.param_group"), node, self.file)
            group.kind = "param_group"
            group.notes["optimizer"] = value.notes["optimizer"]
            return group
        if value.kind == "checkpoint":
            return value
        if isinstance(value.cls, Class):
            method = value.cls.lookup("__getitem__")
            if isinstance(method, Func):
                from tricklint.program.calls import CallArgs

                return self.invoke(method, value, CallArgs([index]), node)
            at = first(index)
            if isinstance(at, Const) and isinstance(at.value, str) and at.value in value.fields:
                return value.fields[at.value]
        if value.kind == "loader_item":
            at = first(index)
            column = at.value if isinstance(at, Const) else None
            return Tensor("data", (), None, node, self.file, loader=value.notes.get("loader"), key=column)
        if value.kind == "dataset":
            return Tensor("data", (), None, node, self.file)
        return UNKNOWN

    def set_item(self: Interpreter, target: Value, node: cst.Subscript, value: Value, statement: cst.CSTNode) -> None:
        index: Value = UNKNOWN
        if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
            index = self.eval(node.slice[0].slice.value)
        at = first(index)
        value = self.narrowed_here(value)
        for member in members(target):
            if isinstance(member, Dict):
                key = (
                    at.value
                    if isinstance(at, Const) and isinstance(at.value, (str, int, float, bool, type(None)))
                    else None
                )
                if isinstance(at, Const):
                    self.write(member.fields, key, value)
                else:
                    self.write(member.fields, f"<dynamic {len(member.fields)}>", value)
            elif isinstance(member, Sequence):
                self.write(member.fields, "items", (*member.items, value))
                self.write(member.fields, "open", True)
            elif isinstance(member, Instance):
                if member.kind == "param_group":
                    key = at.value if isinstance(at, Const) else None
                    self.emit("group_option", statement, member.notes["optimizer"], option=key, value=value)
                elif member.kind == "module":
                    name = str(at.value) if isinstance(at, Const) else "?"
                    old = member.fields.get(name)
                    if any(isinstance(m, Instance) and m.kind == "module" for m in members(value)):
                        owner = member.notes.get("part_of")
                        if owner is not None or member.library not in layers.CONTAINERS:
                            self.emit("head", statement, member, attribute=name, value=value, old=old)
                    self.write(member.fields, name, value)
                elif isinstance(at, Const) and isinstance(at.value, str):
                    self.write(member.fields, at.value, value)
            elif isinstance(member, Namespace) and isinstance(at, Const) and isinstance(at.value, str):
                self.write(member.fields, at.value, value)
            elif isinstance(member, ParamSet):
                self.initialise(member, "assign_item", [value], statement)

    def extend(self: Interpreter, target: Sequence, value: Value) -> None:
        inner = first(value)
        if isinstance(inner, Sequence):
            added = self.narrowed_here(inner)
            self.write(target.fields, "items", (*target.items, *added.items))  # type: ignore[attr-defined]
            if inner.open or self.loops:
                self.write(target.fields, "open", True)
        elif isinstance(inner, ParamSet):
            added_set = self.narrowed_here(inner)
            self.write(target.fields, "items", (*target.items, added_set.but(elem=True)))  # type: ignore[attr-defined]
            self.write(target.fields, "open", True)
        else:
            for member in members(value):
                if isinstance(member, Sequence):
                    self.write(target.fields, "items", (*target.items, *member.items))
                elif isinstance(member, Instance) and member.kind == "module":
                    self.write(target.fields, "items", (*target.items, member))
                elif isinstance(member, Unknown):
                    self.write(target.fields, "items", (*target.items, UNKNOWN))
            self.write(target.fields, "open", True)

    # -- modules -------------------------------------------------------------------------------------------------------

    def unrolled(self: Interpreter, over: Value) -> Value:
        """A list of the children of a Sequential or ModuleList that are all known; other values as they are."""
        if not isinstance(over, Instance) or over.kind != "module" or over.notes.get("open"):
            return over
        bases = over.cls.libraries() if isinstance(over.cls, Class) else (over.library,)
        if not any(base in ("torch.nn.Sequential", "torch.nn.ModuleList") for base in bases) or not over.fields:
            return over
        if isinstance(over.cls, Class) and over.cls.lookup("__iter__") is not None:
            return over
        if ("torch.nn.ModuleList" in bases and not all(key.isdigit() for key in over.fields)) or "*" in over.fields:
            return over
        return Sequence("list", tuple(over.fields.values()), False, over.node, over.file)

    def container_element(self: Interpreter, member: Instance, node: cst.CSTNode) -> Value:
        inner = [child for key, child in member.fields.items() if key.isdigit() or key == "*"]
        if inner:
            return join(*inner[:12])
        if member.library in layers.CONTAINERS:
            return UNKNOWN
        return ParamSet(member, "module", (Pred("within"),), True, node=node)

    def forward(self: Interpreter, module: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
        """Call a module; the event of the call knows what came out of it."""
        before = len(self.events)
        output = self._forward(module, args, node)
        if before < len(self.events) and self.events[before].kind in ("forward", "loss"):
            self.events[before].data["output"] = output
        return output

    def _forward(self: Interpreter, module: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
        """A module's own `forward` runs once; later calls give what the first gave."""
        inputs = tuple(
            Tensor("data", (), None, node, self.file) if value is UNKNOWN else value for value in args.positional
        ) + tuple(args.kwargs.values())
        is_loss = module.kind == "loss" or module.library in layers.LOSSES or bool(module.notes.get("loss_class"))
        if is_loss:
            self.emit("loss", node, module, inputs=inputs, kwargs=args.kwargs, positional=args.positional,
                      type=layers.LOSSES.get(module.library, ""))  # fmt: skip
        outermost = self.forward_depth == 0
        if outermost:
            self.root_grad = self.grad
        if (outermost or self.grad is False or "pretrained" in module.notes) and not is_loss:
            self.emit("forward", node, module, inputs=inputs, depth=self.forward_depth,
                      root_grad=self.root_grad, positional=args.positional, mixed=self.mixed > 0)  # fmt: skip
        grad = self.grad is not False
        if isinstance(module.cls, Class):
            method = module.cls.lookup("forward")
            if isinstance(method, Func):
                memo = module.notes.get("output")
                if memo is None and "running" not in module.notes:
                    module.notes["running"] = True
                    self.forward_depth += 1
                    outer_loops = self.loops
                    from tricklint.program.calls import CallArgs as Args

                    fresh = Args(
                        [Tensor("input", (v,), None, node, self.file) if not isinstance(v, (Const, Instance, Sequence, Dict))
                         else v for v in (*inputs[: len(args.positional)],)],
                        dict(args.kwargs),
                    )  # fmt: skip
                    fresh.open, fresh.open_kwargs = args.open, args.open_kwargs
                    try:
                        memo = self.invoke(method, module, fresh, node)
                    finally:
                        self.forward_depth -= 1
                        self.loops = outer_loops
                        module.notes.pop("running", None)
                    module.notes["output"] = memo
                if memo is not None:
                    return self.outputs(module, memo, inputs, node, grad, is_loss)
            elif module.cls.libraries() and "torch.nn.Sequential" in module.cls.libraries():
                return self.run_children(module, inputs, node, grad)
        if module.library == "torch.nn.Sequential" and "*" not in module.fields:
            return self.run_children(module, inputs, node, grad)
        made = Tensor("loss" if is_loss else "call", inputs, module, node, self.file, grad)
        if module.library in layers.RECURRENT and not module.library.endswith("Cell"):
            state = Tensor("state", (made,), module, node, self.file, grad)
            return Sequence("tuple", (made, state), False, node, self.file)
        if module.library == "torch.nn.MultiheadAttention":
            return Sequence(
                "tuple", (made, Tensor("weights", (made,), module, node, self.file, grad)), False, node, self.file
            )
        return made

    def run_children(
        self: Interpreter, module: Instance, inputs: tuple[Value, ...], node: cst.CSTNode, grad: bool
    ) -> Value:
        from tricklint.program.calls import CallArgs

        at: Value = inputs[0] if inputs else UNKNOWN
        memo = module.notes.get("output")
        if memo is None:
            self.forward_depth += 1
            try:
                at = Tensor("input", (at,), None, node, self.file)
                for child in list(module.fields.values()):
                    target = first(child) if not isinstance(child, Union) else child.values[0]
                    if isinstance(target, Instance):
                        at = self.call(target, CallArgs([at]), node)
            finally:
                self.forward_depth -= 1
            memo = module.notes["output"] = at
        return self.outputs(module, memo, inputs, node, grad, False)

    def outputs(
        self: Interpreter,
        module: Instance,
        memo: Value,
        inputs: tuple[Value, ...],
        node: cst.CSTNode,
        grad: bool,
        loss: bool,
    ) -> Value:
        alternatives = memo
        memo = memo.values[0] if isinstance(memo, Union) else memo
        if isinstance(memo, Tensor):
            fed = (member for each in inputs for member in members(each))
            flows = memo.grad or (loss and any(isinstance(each, Tensor) and each.grad for each in fed))
            made = Tensor("loss" if loss else "call", inputs, module, node, self.file, grad and flows)
            made.result = memo
            if isinstance(alternatives, Union):
                made.attrs["alternatives"] = alternatives
            return made
        if isinstance(memo, Sequence):
            return Sequence(
                memo.kind,
                tuple(self.outputs(module, item, inputs, node, grad, loss) for item in memo.items),
                memo.open,
                node,
                self.file,
            )
        if isinstance(memo, Dict):
            made_dict = Dict(node, self.file, memo.open)
            for key, item in memo.fields.items():
                made_dict.fields[key] = self.outputs(module, item, inputs, node, grad, loss)
            return made_dict
        return Tensor("loss" if loss else "call", inputs, module, node, self.file, grad)

    def module_method(self: Interpreter, module: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name in PARAM_METHODS:
            recurse = args.get(0 if name == "parameters" else 1, "recurse")
            deep = not (isinstance(first(recurse), Const) and first(recurse).value is False)  # type: ignore[union-attr]
            return ParamSet(module, "param", (), False, name.startswith("named"), deep, node=node)
        if name in MODULE_METHODS:
            preds = (Pred("child"),) if "children" in name else ()
            return ParamSet(module, "module", preds, False, name.startswith("named"), node=node)
        if name in _SAME:
            self.emit("moved", node, module, how=name, args=args)
            return module
        if name in ("train", "eval"):
            on = name == "train"
            sure: bool | None = on
            passed = args.get(0, "mode")
            if on and passed is not None:
                sure = self.truth(passed)[0]
            self.emit("mode", node, module, train=sure)
            return module
        if name == "requires_grad_":
            self.freeze(ParamSet(module, "param"), args.get(0, "requires_grad") or Const(True), node)
            return module
        if name == "apply":
            func = args.get(0, "fn")
            if func is not None:
                from tricklint.program.calls import CallArgs as Args

                element = ParamSet(module, "module", (), True, node=node)
                self.call(func, Args([element]), node)
                if not isinstance(first(func), (Func, Bound)):
                    self.emit("init", node, element, scheme="unknown", args=[])
            return module
        if name in ("zero_grad",):
            self.emit("zero_grad", node, module)
            return NONE
        if name == "load_state_dict":
            self.emit("loaded", node, module, weights=args.get(0, "state_dict"), strict=args.get(1, "strict"))
            later = self.entry in self.training
            for member in members(args.get(0, "state_dict")):
                if isinstance(member, Instance) and member.kind == "checkpoint" and not later:
                    module.notes.setdefault("loaded", []).append((node, member, self.file, tuple(self.path)))
            return UNKNOWN
        if name in ("add_module", "register_module"):
            key, child = args.get(0, "name"), args.get(1, "module")
            at = first(key)
            if child is not None:
                label = at.value if isinstance(at, Const) else f"<dynamic {len(module.fields)}>"
                self.set_instance_attribute(module, str(label), child, node)
            return NONE
        if name == "register_parameter":
            at = first(args.get(0, "name"))
            value = args.get(1, "param")
            if isinstance(at, Const) and value is not None:
                self.write(module.fields, str(at.value), value)
            return NONE
        if name in ("append", "extend", "insert", "update"):
            return self.grow_container(module, name, args, node)
        if name in ("register_buffer", "register_forward_hook", "share_memory"):
            return NONE
        if name == "forward" or name == "__call__":
            return self.forward(module, args, node)
        if name == "save_hyperparameters":
            frame = self.frame
            given = {k: v for k, v in frame.locals.items() if k not in ("self",) and not k.startswith("__")}
            module.notes["init_arguments"] = given
            return NONE
        if name in ("state_dict",):
            made = Instance(Ref("state_dict"), node, self.file)
            made.kind = "state_dict"
            made.notes["of"] = module
            return made
        if name in (
            "reset_parameters",
            "_reset_parameters",
            "init_weights",
            "post_init",
            "initialize",
            "init_parameters",
        ):
            self.emit("init", node, ParamSet(module, "module", (), True), scheme=name, args=[])
            return NONE
        if name in ("log", "log_dict", "print", "manual_backward", "toggle_optimizer", "untoggle_optimizer"):
            if name == "manual_backward" and args.positional:
                self.emit("backward", node, args.positional[0])
            return NONE
        if name == "optimizers":
            return module.notes.get("optimizers", UNKNOWN)
        if name in ("freeze",):
            self.freeze(ParamSet(module, "param"), Const(False), node)
            return NONE
        if name in ("unfreeze",):
            self.freeze(ParamSet(module, "param"), Const(True), node)
            return NONE
        if name in ("get_classifier", "get_submodule"):
            return self.part_of(module, name, node) if name not in module.fields else module.fields[name]
        if name in ("reset_classifier",):
            self.emit("head", node, module, attribute="classifier", value=UNKNOWN, old=None)
            return NONE
        if name in ("size", "shape", "numel", "dim"):
            return UNKNOWN
        if "part_of" in module.notes or isinstance(module.cls, Ref):
            tensors = [v for v in args.all() if isinstance(v, Tensor)]
            if name in ("forward_features", "features", "extract_features", "forward_head", "encode_image", "encode_text",
                        "get_image_features", "get_text_features", "logits", "generate", "predict"):  # fmt: skip
                return self.forward(module, args, node)
            if tensors:
                return Tensor("call", tuple(args.all()), module, node, self.file, self.grad is not False)
            self.emit("escape", node, module, to=f"{module.library}.{name}")
        return UNKNOWN

    def grow_container(self: Interpreter, module: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        values = args.positional[-1:] if name in ("append", "insert") else []
        if name in ("extend", "update") and args.positional:
            inner = first(args.positional[0])
            if isinstance(inner, Sequence):
                values = list(inner.items)
            elif isinstance(inner, Dict):
                for key, value in inner.fields.items():
                    self.write(module.fields, str(key), value)
        for value in values:
            self.write(module.fields, str(len(module.fields)), value)
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
        "untoggle_optimizer", "tie_weights", "summary", "initialize", "init_parameters", "fuse", "configure_optimizers",
    )
)  # fmt: skip


def submodules(module: Instance) -> tuple[tuple[str, Instance], ...]:
    """All modules below `module`, itself first, with their attribute path; modules in plain lists are not below it.

    Asked once the program was run: the answer is kept, as rules ask it again and again.
    """
    if module.below is None:
        module.below = tuple(_below(module, set(), ""))
    return module.below


def _below(module: Instance, seen: set[int], path: str) -> Iterator[tuple[str, Instance]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    for name, child in module.fields.items():
        for member in members(child) if isinstance(child, Value) else ():
            below = f"{path}.{name}" if path else str(name)
            if isinstance(member, Instance) and member.kind in ("module", "loss"):
                yield from _below(member, seen, below)
            elif isinstance(member, ParamSet) and member.kind == "module":
                for root in members(member.root):
                    if isinstance(root, Instance):
                        yield from _below(root, seen, below)


def modules_below(module: Instance) -> set[int]:
    """Ids of `module` and of all modules below it."""
    return {id(below) for _, below in submodules(module)}


def held(module: Instance) -> frozenset[int]:
    """Ids of `module`, of all modules below it, and of the library models that those were taken from."""
    if module.held is None:
        owners = {id(owner_model(below)) for _, below in submodules(module)}
        module.held = frozenset(modules_below(module) | owners)
    return module.held


def of_one(model: Instance, models: tuple[Value, ...], value: Value) -> Value:
    """What `model.x = wrapped(model.x)` gives to one of several models that `model` may be: not the others' parts."""
    kept = [
        part
        for part in members(value)
        if not isinstance(part, Instance)
        or owner_model(part) in (model, part)
        or not any(owner_model(part) is other for other in models)
    ]
    return join(*kept) if kept else value


def owner_model(part: Instance) -> Instance:
    """The library model that a part was taken from, or the instance itself."""
    while "part_of" in part.notes:
        part = part.notes["part_of"]
    return part


__all__ = ["Any", "Objects", "held", "modules_below", "owner_model", "submodules"]
