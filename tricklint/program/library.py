"""What calls into libraries do. A mixin of the interpreter; the tables are in `tricklint.knowledge`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.knowledge import frameworks, layers, optimizers, pretrained, tensors
from tricklint.knowledge.names import canonical
from tricklint.program.params import Attr, type_names
from tricklint.program.values import (
    FALSE,
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
    Partial,
    Pred,
    Prefixed,
    Ref,
    Sequence,
    Super,
    Tensor,
    Test,
    Union,
    Unknown,
    Value,
    first,
    join,
    members,
)
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.program.calls import CallArgs
    from tricklint.program.interpreter import Interpreter


@dataclass(slots=True, eq=False)
class Group:
    """One param group of an optimizer: the value given as `params`, and the options given beside it."""

    params: Value
    options: dict[str, Value] = field(default_factory=dict)
    open: bool = False
    node: cst.CSTNode | None = None
    default: bool = True  # False for a group that the default path does not take


# Methods of config objects: copies of their defaults, and those that only read files over them or lock them
CONFIG_COPIES = frozenset(("clone", "copy", "copy_and_resolve_references"))
CONFIG_METHODS = CONFIG_COPIES | {
    "freeze",
    "defrost",
    "merge_from_file",
    "merge_from_list",
    "merge_from_other_cfg",
    "lock",
    "unlock",
}


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


class Library:
    def library_call(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name.startswith("builtins."):
            return self.builtin(name[9:], args, node)
        exact = _EXACT.get(name)
        if exact is not None:
            return exact(self, name, args, node)
        if name in optimizers.OPTIMIZERS:
            return self.optimizer(name, args, node)
        if name.startswith("torch.") or name in layers.LOSS_FUNCTIONS:
            return self.torch_call(name, args, node)
        if name in layers.WRAPPERS:
            return args.positional[0] if args.positional else UNKNOWN
        row = pretrained.row_of(name)
        if row is not None:
            return self.pretrained_model(name, row, args, node)
        if name.startswith(optimizers.SCHEDULER_PREFIXES):
            return self.scheduler(name, args, node)
        framework = frameworks.TRAINERS.get(name)
        if framework is not None:
            return self.trainer(name, framework, args, node)
        made = self.plain(name, args, node)
        if name.startswith("lightning."):
            self.emit("made", node, made)
        if name.startswith(frameworks.MODULE_PACKAGES) and name.rpartition(".")[2][:1].isupper():
            made.kind = "module"
            made.notes["external"] = True
            self.emit("built", node, made)
        elif name not in frameworks.HARMLESS and not name.startswith(frameworks.HARMLESS_PREFIXES):
            self.call_unknown(args, node, name)
        tensors = [v for v in args.all() if isinstance(v, Tensor)]
        if tensors and name.rpartition(".")[2][:1].islower():
            return Tensor("unknown", tuple(args.all()), tensors[0].module, node, self.file,
                          any(t.grad for t in tensors), name=name)  # fmt: skip
        return made

    def plain(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Instance:
        made = Instance(Ref(name), node, self.file)
        made.args, made.kwargs, made.open_kwargs = tuple(args.positional), dict(args.kwargs), args.open_kwargs
        self.seq += 1
        made.seq = self.seq
        func = self.frame.func
        made.made_in = func.owner if func is not None else None
        return made

    # -- torch ---------------------------------------------------------------------------------------------------------

    def torch_call(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name in layers.WRAPPERS:
            for member in members(args.positional[0]) if args.positional else ():
                if isinstance(member, Instance) and name.endswith("_norm"):
                    member.notes["reparametrised"] = name  # the weight has a scale of its own, or a bound
                elif isinstance(member, Instance) and name.endswith("FullyShardedDataParallel"):
                    member.notes["flat"] = True  # its parameters are one long vector
            return args.positional[0] if args.positional else args.kwargs.get("module", UNKNOWN)
        if name == "torch.autograd.Variable":
            return args.positional[0] if args.positional else UNKNOWN
        if name.startswith("torch.nn.init."):
            return self.init_call(name, args, node)
        if name in layers.LOSS_FUNCTIONS:
            self.emit("loss", node, Ref(name), inputs=tuple(args.positional), kwargs=args.kwargs,
                      positional=args.positional, type=layers.LOSS_FUNCTIONS[name])  # fmt: skip
            return Tensor("loss", tuple(args.all()), None, node, self.file, self.grad is not False)
        if layers.is_module_name(name):
            return self.layer(name, args, node)
        if name.startswith(optimizers.SCHEDULER_PREFIXES):
            return self.scheduler(name, args, node)
        if name.startswith("torch.optim.") and name[12:13].isupper():
            return self.optimizer(name, args, node)
        row = pretrained.row_of(name)
        if row is not None:
            return self.pretrained_model(name, row, args, node)
        if name in ("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled", "torch.enable_grad",
                    "torch.autograd.no_grad", "torch.autograd.set_grad_enabled"):  # fmt: skip
            made = self.plain(name, args, node)
            if name.endswith("set_grad_enabled") and isinstance(node, cst.Call) and self.is_statement(node):
                self.enter(made)
            return made
        tail = name.rpartition(".")[2]
        if name.startswith(("torch.utils.data.", "torch.cuda.", "torch.distributed.", "torch.backends.", "torch.device",
                            "torch.Generator", "torch.hub.", "torch.multiprocessing.", "torch.profiler.", "torch.amp.",
                            "torch.optim.", "torch.save", "torch.utils.tensorboard", "torch.manual_seed")):  # fmt: skip
            return self.plain(name, args, node)
        if tail[:1].isupper() and not name.startswith(("torch.Tensor", "torch.cuda")) and not tail.endswith("Tensor"):
            return self.plain(name, args, node)
        tensors = [v for v in args.all() if isinstance(v, Tensor)]
        grad = any(t.grad for t in tensors)
        inputs: list[Value] = []
        for value in args.all():
            inner = first(value)
            if isinstance(inner, Sequence):
                inputs.extend(inner.items)
                grad = grad or any(isinstance(i, Tensor) and i.grad for i in inner.items)
            else:
                inputs.append(value)
        if tail in layers.INTEGER_OPS or self.grad is False:
            grad = False
        return Tensor(tail, tuple(inputs), None, node, self.file, grad, name=name, kwargs=args.kwargs)

    def is_statement(self: Interpreter, node: cst.Call) -> bool:
        return isinstance(self.file.tree.parent(node), cst.Expr)

    def layer(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "loss" if name in layers.LOSSES or name.endswith("Loss") else "module"
        if name in layers.CONTAINERS:
            self.fill_container(made, args, node)
        elif name in layers.ATTENTION:
            for value in args.all():
                for member in members(value):
                    if isinstance(member, Instance) and member.kind == "module":
                        made.fields[str(len(made.fields))] = member
        if made.kind == "loss":
            self.emit("loss_made", node, made, type=layers.LOSSES.get(name, ""))
        else:
            self.emit("built", node, made)
        return made

    def fill_container(self: Interpreter, made: Instance, args: CallArgs, node: cst.CSTNode) -> None:
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
            made.notes["open"] = True

    def init_call(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        scheme = name.rpartition(".")[2]
        if scheme == "calculate_gain":
            return self.plain(name, args, node)
        for member in members(args.get(0, "tensor")):
            if isinstance(member, ParamSet):
                self.initialise(member, scheme, args.positional[1:], node, kwargs=args.kwargs)
            elif isinstance(member, Tensor):
                self.emit("init", node, member, scheme=scheme, args=args.positional[1:], kwargs=args.kwargs)
        return args.positional[0] if args.positional else UNKNOWN

    def optimizer(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        return self.make_optimizer(made, name, args, node)

    def make_optimizer(
        self: Interpreter, made: Instance, name: str, args: CallArgs, node: cst.CSTNode, own: bool = False
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
        made.notes.update(
            row=row, name=name, options=options, params=params, open=args.open_kwargs or args.open, own=own,
            groups=self.groups_of(params),
        )  # fmt: skip
        defaults = first(made.notes.get("defaults"))
        if own and isinstance(defaults, Dict):  # what the class hands to Optimizer.__init__
            for key, value in defaults.fields.items():
                options.setdefault(key, value)
        if own and isinstance(made.cls, Class) and spares_vectors(made.cls):
            options["weight_decay"] = UNKNOWN
        self.emit("optimizer", node, made)
        return made

    def groups_of(self: Interpreter, params: Value) -> list[Group]:
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

    def scheduler(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "scheduler"
        made.notes["optimizer"] = args.get(0, "optimizer")
        self.emit("scheduler", node, made)
        return made

    def data_loader(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "loader"
        made.notes.update(
            dataset=args.get(0, "dataset"), batch_size=args.get(1, "batch_size"), shuffle=args.get(2, "shuffle"),
            sampler=args.get(3, "sampler"), batch_sampler=args.get(4, "batch_sampler"),
        )  # fmt: skip
        self.emit("loader", node, made, calls=self.call_sites())
        return made

    def sampler(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "sampler"
        self.emit("sampler", node, made)
        return made

    def checkpoint(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "checkpoint"
        made.notes["source"] = name
        return made

    def parameter(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        return Tensor("parameter", tuple(args.all()), None, node, self.file, True)

    # -- models --------------------------------------------------------------------------------------------------------

    def pretrained_model(
        self: Interpreter, name: str, row: pretrained.PretrainedRow, args: CallArgs, node: cst.CSTNode
    ) -> Value:
        made = self.plain(name, args, node)
        made.kind = "module"
        made.notes["family"] = row.family
        made.notes["external"] = True
        verdict: bool | None = row.always or row.default_on
        for flag in row.flags:
            passed = args.get(row.position if flag == row.flags[0] else None, flag)
            if passed is None:
                continue
            verdict = self.asks_for_weights(passed)
            break
        if args.open_kwargs and not any(flag in args.kwargs for flag in row.flags):
            verdict = None if not row.always else True
        made.notes["pretrained"] = verdict
        if verdict is not True and verdict is not None:
            made.notes.pop("pretrained")
        new_head = any(key in args.kwargs for key in row.head if key != "encoder_name")
        if row.family == "timm" and "num_classes" in args.kwargs:
            classes = first(args.kwargs["num_classes"])
            new_head = not (isinstance(classes, Const) and classes.value in (0, 1000))
        if row.family == "smp":
            new_head = True
        if row.family == "transformers":
            owner = name.rpartition(".")[0].rpartition(".")[2]
            new_head = pretrained.transformer_has_new_head(owner)
        if new_head:
            made.notes["new_head"] = True
        self.emit("built", node, made)
        return made

    def asks_for_weights(self: Interpreter, passed: Value) -> bool | None:
        value = first(passed)
        if isinstance(value, Const):
            return bool(value.value) and value.value not in ("none", "None", "scratch", "random")
        if isinstance(value, Ref) or (isinstance(value, Instance) and "eights" in value.library):
            return True
        verdicts = (
            {self.asks_for_weights(member) for member in members(passed)} if isinstance(passed, Union) else {None}
        )
        return verdicts.pop() if len(verdicts) == 1 else None

    def trainer(self: Interpreter, name: str, framework: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = "trainer"
        made.notes["framework"] = framework
        model = args.get(0, "model")
        if (framework == "fastai" and model is None) or (framework == "fastai" and not list(_modules_in(model))):
            model = args.get(1, "model")
        made.notes["model"] = model
        if framework == "fastai":
            self.emit("learner", node, made)
        for member in members(model):
            if isinstance(member, (Instance,)) and member.kind == "module":
                self.emit("trainer", node, member, framework=framework, trainer=made)
            elif isinstance(member, (Func, Class)) and framework == "fastai":
                pass
        if model is None:
            self.emit("trainer", node, made, framework=framework, trainer=made)
        return made

    # -- methods of library objects ------------------------------------------------------------------------------------

    def method(self: Interpreter, value: Value, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if isinstance(value, Union):
            return join(*(self.method(member, name, args, node) for member in value.values), sure=value.sure)
        if isinstance(value, ParamSet):
            given = self.paramset_method(value, name, args.positional, node) or UNKNOWN  # type: ignore[arg-type]
            if isinstance(given, ParamSet) and name in ("parameters", "named_parameters"):
                deep = first(args.get(1 if name == "named_parameters" else 0, "recurse"))
                return given.but(recurse=not (isinstance(deep, Const) and not deep.value))
            return given
        if isinstance(value, Tensor):
            return self.tensor_method(value, name, args, node)
        if isinstance(value, Sequence):
            return self.sequence_method(value, name, args, node)
        if isinstance(value, Dict):
            return self.dict_method(value, name, args, node)
        if isinstance(value, Const):
            return self.const_method(value, name, args, node)
        if isinstance(value, Attr):
            return self.attr_method(value, name, args.positional)
        if isinstance(value, Namespace):
            return value if name in CONFIG_COPIES else NONE
        if isinstance(value, Class) and name == "load_from_checkpoint":
            return self.restored(value, args, node)
        if isinstance(value, Instance):
            if name.startswith("super."):
                return self.super_method(value, name[6:], args, node)
            if (
                name in CONFIG_COPIES
                and isinstance(value.cls, Class)
                and "yacs.config.CfgNode" in value.cls.libraries()
            ):
                return value
            handler = _METHODS.get((value.kind, name))
            if handler is not None:
                return handler(self, value, args, node)
            if value.kind == "module" or value.kind == "loss":
                return self.module_method(value, name, args, node)
            if value.kind == "guessed_optimizer" and name in ("step", "zero_grad"):
                return (_m_step if name == "step" else _m_zero_grad)(self, value, args, node)
            if value.kind == "guessed":
                return self.guessed_method(value, name, args, node)
            if value.kind == "parser":
                return (
                    value
                    if name.startswith(("add_argument_group", "add_mutually"))
                    else self.parser_method(value, name, args)
                )
            if value.kind == "trainer":
                return self.trainer_method(value, name, args, node)
            if value.kind == "accelerator":
                return self.accelerator_method(value, name, args, node)
            if value.kind == "optimizer":
                return UNKNOWN
            if value.library in ("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "apex.amp"):
                return self.scaler_method(value, name, args, node)
        tensors = any(isinstance(v, Tensor) and v.grad for v in args.all())
        self.call_unknown(args, node, f"{getattr(value, 'library', '')}.{name}")
        if tensors:
            return Tensor("unknown", tuple(args.all()), None, node, self.file, True)
        if isinstance(value, Instance) and not isinstance(value.cls, Class) and not value.kind:
            value.notes.setdefault("methods", []).append(name)
            made = self.plain(f"{value.library}().{name}", args, node)
            made.notes["of"] = value
            if value.library.startswith("pandas") or value.notes.get("frame"):
                made.notes["frame"] = True
            return made
        return UNKNOWN

    def restored(self: Interpreter, cls: Class, args: CallArgs, node: cst.CSTNode) -> Value:
        """A Lightning module as its checkpoint describes it: arguments that are not given come from there."""
        from tricklint.program.calls import CallArgs as Args

        given = Args(
            [], {k: v for k, v in args.kwargs.items() if k not in ("checkpoint_path", "map_location", "strict")}
        )
        given.open_kwargs = True
        made = self.instantiate(cls, given, node)
        if isinstance(made, Instance):
            source = self.plain("lightning.checkpoint", args, node)
            source.kind = "checkpoint"
            made.notes.setdefault("loaded", []).append((node, source, self.file, tuple(self.path)))
            self.emit("loaded", node, made, weights=source)
        return made

    def super_method(self: Interpreter, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name == "__init__":
            if value.kind == "module":
                if isinstance(value.cls, Class) and "torch.nn.Sequential" in value.cls.libraries():
                    values = list(args.positional)
                    for i, v in enumerate(values):
                        if isinstance(v, ParamSet):
                            value.fields["*"] = v
                        elif isinstance(first(v), Instance):
                            value.fields[str(i)] = v
                elif isinstance(value.cls, Class):
                    value.notes["super_args"] = args
            if value.kind == "optimizer":
                value.notes["defaults"] = args.get(1, "defaults")
            return NONE
        if value.kind == "module":
            return self.module_method(value, name, args, node)
        return UNKNOWN

    def tensor_method(self: Interpreter, value: Tensor, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name == "backward":
            self.emit("backward", node, value)
            return NONE
        if name in ("item", "tolist", "numpy", "size", "dim", "numel"):
            return Tensor("number", (value,), None, node, self.file, False) if name == "item" else UNKNOWN
        if name in ("detach", "detach_"):
            return Tensor("detach", (value,), value.module, node, self.file, False)
        if name == "requires_grad_":
            return value
        grad = (value.grad or any(isinstance(v, Tensor) and v.grad for v in args.all())) and (
            self.grad is not False or name in ("to", "cpu", "cuda", "float", "view", "reshape", "squeeze")
        )
        if name in layers.INTEGER_OPS:
            grad = False
        if grad and name not in tensors.METHODS:  # a library's own object (a graph, a distribution, an output)
            return Tensor("unknown", (value, *args.all()), value.module, node, self.file, grad, name=name)
        if name in ("add_", "sub_") and grad:
            self.emit("accumulate", node, value, target=None, how=name, old=value, calls=self.call_sites())
        return Tensor(name, (value, *args.all()), value.module, node, self.file, grad, kwargs=args.kwargs)

    def sequence_method(self: Interpreter, value: Sequence, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name in ("append", "add", "insert", "appendleft"):
            added = args.positional[-1] if args.positional else UNKNOWN
            for member in members(added):
                if isinstance(member, Tensor) and member.grad:
                    self.emit("accumulate", node, member, target=value, how=name, old=value, value=added,
                              calls=self.call_sites())  # fmt: skip
                    break
            added = self.narrowed_here(added)
            if isinstance(added, ParamSet):
                added = added.but(elem=True)
            self.write(value.fields, "items", (*value.items, added))
            if self.loops and (value.node is None or not self.made_in_this_loop(value)):
                known_loop = self.loops[-1].over
                if not (isinstance(known_loop, Sequence) and not known_loop.open):
                    self.write(value.fields, "open", True)
            return NONE
        if name in ("extend", "update", "__iadd__"):
            if args.positional:
                self.extend(value, args.positional[0])
            return NONE
        if name in ("copy",):
            return Sequence(value.kind, value.items, value.open, node, self.file)
        if name == "pop":
            return join(*value.items) if value.items else UNKNOWN
        if name in ("remove", "clear", "sort", "reverse"):
            self.write(value.fields, "open", True)
            return NONE
        return UNKNOWN

    def made_in_this_loop(self: Interpreter, value: Sequence) -> bool:
        return False

    def dict_method(self: Interpreter, value: Dict, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name == "get":
            at = first(args.get(0, "key"))
            if isinstance(at, Const) and isinstance(at.value, (str, int)):
                found = value.fields.get(at.value)
                if found is not None:
                    return found
                if not value.open:
                    return args.get(1, "default") or NONE
            return UNKNOWN if not value.fields else join(*value.fields.values())
        if name == "items":
            pairs = tuple(
                Sequence("tuple", (UNKNOWN if str(k).startswith("<dynamic") else Const(k), v), False, node, self.file)
                for k, v in value.fields.items()
            )
            return Sequence("list", pairs, value.open, node, self.file)
        if name == "values":
            return Sequence("list", tuple(value.fields.values()), value.open, node, self.file)
        if name == "keys":
            return Sequence("list", tuple(Const(k) for k in value.fields), value.open, node, self.file)
        if name == "update":
            for item in args.positional:
                inner = first(item)
                if isinstance(inner, Dict):
                    for key, v in inner.fields.items():
                        self.write(value.fields, key, v)
                else:
                    value.open = True
            for key, v in args.kwargs.items():
                self.write(value.fields, key, v)
            return NONE
        if name == "setdefault" and args.positional:
            at = first(args.positional[0])
            if isinstance(at, Const) and isinstance(at.value, str):
                if at.value not in value.fields:
                    self.write(value.fields, at.value, args.positional[1] if len(args.positional) > 1 else NONE)
                return value.fields[at.value]
        if name == "pop" and args.positional:
            at = first(args.positional[0])
            if isinstance(at, Const) and isinstance(at.value, (str, int)):
                return value.fields.get(at.value, args.positional[1] if len(args.positional) > 1 else UNKNOWN)
        if name == "copy":
            made = Dict(node, self.file, value.open)
            made.fields.update(value.fields)
            return made
        return UNKNOWN

    def const_method(self: Interpreter, value: Const, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if not isinstance(value.value, str):
            return UNKNOWN
        given = [first(a) for a in args.positional]
        if any(isinstance(first(a), ParamSet) for a in args.positional):
            return UNKNOWN
        if name in ("lower", "upper", "strip", "startswith", "endswith", "replace", "split", "format", "join", "title"):
            try:
                if name == "join" and given and isinstance(given[0], Sequence):
                    items = [first(i) for i in given[0].items]
                    if all(isinstance(i, Const) for i in items) and not given[0].open:
                        return Const(value.value.join(str(i.value) for i in items), value.default)  # type: ignore[union-attr]
                    return UNKNOWN
                if all(isinstance(a, Const) for a in given) and not args.kwargs:
                    result = getattr(value.value, name)(*(a.value for a in given))  # type: ignore[union-attr]
                    if isinstance(result, list):
                        return Sequence("list", tuple(Const(i, value.default) for i in result), False, node, self.file)
                    return Const(result, value.default)
            except Exception:
                return UNKNOWN
            if name == "format" and isinstance(value.value, str):
                return Prefixed(value.value.partition("{")[0])
        return UNKNOWN

    def parser_method(self: Interpreter, parser: Instance, name: str, args: CallArgs) -> Value:
        node = parser.node
        options = parser.notes.setdefault("options", {})
        if name == "add_argument":
            texts = [first(a) for a in args.positional]
            names = [a.value for a in texts if isinstance(a, Const) and isinstance(a.value, str)]
            dest = first(args.kwargs.get("dest"))
            if isinstance(dest, Const) and isinstance(dest.value, str):
                label = dest.value
            elif names:
                long = [n for n in names if n.startswith("--")]
                label = (long or names)[0].lstrip("-").replace("-", "_")
            else:
                return UNKNOWN
            options[label] = self.argument_default(args, positional=bool(names) and not names[0].startswith("-"))
            return UNKNOWN
        if name == "set_defaults":
            for key, v in args.kwargs.items():
                at = first(v)
                options[key] = Const(at.value, True) if isinstance(at, Const) else v
            return NONE
        if name in ("parse_args", "parse_known_args", "parse_intermixed_args", "parse"):
            made = Namespace(node, self.file)
            made.fields.update(options)
            if name == "parse_known_args":
                return Sequence("tuple", (made, UNKNOWN), False, node, self.file)
            return made
        if name in ("parse_args_into_dataclasses", "parse_json_file", "parse_dict"):
            made_items = []
            for arg in parser.args[:1]:
                inner = first(arg)
                classes = inner.items if isinstance(inner, Sequence) else (inner,)
                for cls in classes:
                    from tricklint.program.calls import CallArgs as Args

                    if isinstance(cls, (Class, Ref)):
                        made_items.append(self.call(cls, Args(), node))  # type: ignore[arg-type]
                    else:
                        made_items.append(UNKNOWN)
            return Sequence("tuple", tuple(made_items), False, node, self.file)
        if name == "add_subparsers":
            return parser
        if name == "add_parser":
            return parser
        return UNKNOWN

    def argument_default(self: Interpreter, args: CallArgs, positional: bool) -> Value:
        action = first(args.kwargs.get("action"))
        default = args.kwargs.get("default")
        if isinstance(action, Const) and action.value in ("store_true", "store_false") and default is None:
            return Const(action.value == "store_false", True)
        if default is None:
            required = first(args.kwargs.get("required"))
            if positional or (isinstance(required, Const) and required.value):
                return UNKNOWN
            return Const(None, True)
        at = first(default)
        kind = first(args.kwargs.get("type"))
        if isinstance(at, Const):
            value = at.value
            if isinstance(value, str) and isinstance(kind, Ref):
                try:
                    value = {"builtins.float": float, "builtins.int": int}.get(kind.name, lambda x: x)(value)
                except ValueError:
                    return UNKNOWN
            return Const(value, True)
        return default

    def trainer_method(self: Interpreter, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        framework = value.notes.get("framework", "")
        if name in ("fit", "train", "fit_one_cycle", "fine_tune", "fit_flat_cos", "test", "validate", "predict"):
            model = args.get(0, "model") if framework == "lightning" else value.notes.get("model")
            if name in ("fit", "train"):
                for member in members(model):
                    if isinstance(member, Instance) and member.kind == "module":
                        self.emit("trainer", node, member, framework=framework, trainer=value)
                        if framework == "lightning":
                            self.run_lightning(member, args, node)
        return UNKNOWN

    def run_lightning(self: Interpreter, model: Instance, args: CallArgs, node: cst.CSTNode) -> None:
        """What `Trainer.fit` calls: the hooks that build optimizers, then one training and one validation step."""
        from tricklint.program.calls import CallArgs
        from tricklint.program.events import Loop

        if not isinstance(model.cls, Class) or model.notes.get("fitted"):
            return
        model.notes["fitted"] = True
        for hook in ("setup", "configure_model", "configure_optimizers", "on_fit_start"):
            method = model.cls.lookup(hook)
            if isinstance(method, Func):
                result = self.invoke(method, model, CallArgs(), node)
                if hook == "configure_optimizers":
                    model.notes["optimizers"] = result
        outer, grad = self.loops, self.grad
        some = Sequence("tuple", (Tensor("data"), Tensor("data")), True)
        given = self.lightning_batches(model, args, node)
        for hook, train in (("training_step", True), ("validation_step", False), ("test_step", False)):
            method = model.cls.lookup(hook)
            if isinstance(method, Func):
                self.seq += 1
                self.loops = [*outer, Loop(method.node, None, method.file, self.seq)]
                self.grad = grad if train else False
                self.invoke(method, model, CallArgs([given if train and given is not None else some, UNKNOWN]), node)
        self.loops, self.grad = outer, grad

    def lightning_batches(self: Interpreter, model: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """A batch of the training loader that `Trainer.fit` is given, or that the data module or the model itself makes."""
        from tricklint.program.calls import CallArgs

        loader = args.get(1, "train_dataloaders") or args.kwargs.get("train_dataloader")
        sources = [first(loader), first(args.kwargs.get("datamodule")), model]
        for source in sources:
            if not isinstance(source, Instance):
                continue
            made: Value | None = source if source.kind == "loader" else None
            cls = source.cls if isinstance(source.cls, Class) else None
            hook = cls.lookup("train_dataloader") if cls is not None else None
            if cls is not None and isinstance(hook, Func):
                prepare = cls.lookup("setup")
                if source is not model and isinstance(prepare, Func):
                    self.invoke(prepare, source, CallArgs([Const("fit")]), node)
                made = self.invoke(hook, source, CallArgs(), node)
            made = first(made)
            if isinstance(made, Instance) and made.kind == "loader":
                found = self.rounds(made, node)
                return found[0] if found else None
        return None

    def accelerator_method(self: Interpreter, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name == "prepare":
            if len(args.positional) == 1:
                return args.positional[0]
            return Sequence("tuple", tuple(args.positional), args.open, node, self.file)
        if name == "backward":
            if args.positional:
                self.emit("backward", node, args.positional[0])
            return NONE
        if name in ("unwrap_model", "gather", "gather_for_metrics", "reduce") and args.positional:
            return args.positional[0]
        if name in ("autocast", "accumulate", "no_sync"):
            return self.plain(f"accelerate.Accelerator.{name}", args, node)
        return UNKNOWN

    def scaler_method(self: Interpreter, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if name == "scale" and args.positional:
            return args.positional[0]
        if name == "step" and args.positional:
            for member in members(args.positional[0]):
                self.emit("step", node, member)
        return UNKNOWN

    # -- builtins ------------------------------------------------------------------------------------------------------

    def builtin(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        handler = _BUILTIN.get(name)
        if handler is not None:
            return handler(self, args, node)
        if name in ("float", "int", "str", "bool", "abs", "round", "min", "max", "len", "sum"):
            return self.fold(name, args, node)
        return UNKNOWN

    def fold(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        given = [first(a) for a in args.positional]
        if name in ("float", "int", "str", "bool", "abs", "round", "min", "max") and given and not args.kwargs:
            if all(isinstance(a, Const) for a in given):
                func = {"float": float, "int": int, "str": str, "bool": bool, "abs": abs, "round": round, "min": min,
                        "max": max}[name]  # fmt: skip
                try:
                    return Const(func(*(a.value for a in given)), any(a.default for a in given))  # type: ignore[union-attr,operator]
                except Exception:
                    return UNKNOWN
        if name == "len" and given:
            inner = given[0]
            if isinstance(inner, Sequence) and not inner.open:
                return Const(len(inner.items))
            if isinstance(inner, Dict) and not inner.open:
                return Const(len(inner.fields))
            if isinstance(inner, Attr) and inner.what == "shape":
                return Attr(inner.of, "ndim")
            if isinstance(inner, Const) and isinstance(inner.value, str):
                return Const(len(inner.value))
        if name == "sum" and given:
            inner = given[0]
            if isinstance(inner, Sequence) and inner.items:
                tensors = [i for i in inner.items if isinstance(i, Tensor)]
                if tensors:
                    return Tensor("sum", tuple(tensors), None, node, self.file, any(t.grad for t in tensors))
        if name in ("float", "int") and given and isinstance(given[0], Tensor):
            return Tensor("number", (given[0],), None, node, self.file, False)
        return UNKNOWN


def _modules_in(value: Value | None) -> list[Instance]:
    return [m for m in members(value) if isinstance(m, Instance) and m.kind == "module"]


# -- builtin functions ---------------------------------------------------------------------------------------------------


def one_of_several_sets(value: Value) -> Union | None:
    """The parameters of one model or of another (of None, on a path that the defaults do not take)."""
    if not isinstance(value, Union):
        return None
    sets = tuple(member for member in value.values if isinstance(member, ParamSet))
    if len(sets) < 2 or not (len(sets) == len(value.values) or (value.sure and sets[0] is value.values[0])):
        return None
    return Union(sets, value.sure)


def _b_list(kind: str) -> Any:
    def run(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
        if not args.positional:
            return Sequence(kind, (), False, node, self.file)
        value = args.positional[0]
        if (sets := one_of_several_sets(value)) is not None:
            return sets
        inner = first(value)
        if isinstance(inner, Sequence):
            return Sequence(kind, inner.items, inner.open, node, self.file)
        if isinstance(inner, ParamSet):
            return inner
        if isinstance(inner, Dict):
            return Sequence(kind, tuple(Const(k) for k in inner.fields), inner.open, node, self.file)
        if isinstance(inner, (Tensor,)):
            return inner
        if isinstance(inner, Instance) and inner.kind == "module":
            return Sequence(
                kind, tuple(v for v in inner.fields.values() if isinstance(v, Value)), False, node, self.file
            )
        if isinstance(inner, Instance) and inner.notes.keys() & {"enumerates", "zips", "iterates"}:
            return Sequence(kind, tuple(self.rounds(inner, node)), True, node, self.file)
        if isinstance(value, Union):
            return value
        return Sequence(kind, (), True, node, self.file)

    return run


def _b_filter(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    from tricklint.program.calls import CallArgs as Args

    func, over = args.positional[0], args.positional[1]
    if (sets := one_of_several_sets(over)) is not None:
        return join(*(_b_filter(self, Args([func, member]), node) for member in sets.values), sure=sets.sure)
    inner = first(over)
    if isinstance(inner, ParamSet):
        element: Value = inner.but(elem=True, node=node)
        if inner.named:
            element = Sequence("tuple", tuple(self.spread(element, 2)), False, node, self.file)
        _, pred = self.truth(self.call(func, Args([element]), node))
        return inner.narrowed(pred if pred is not None else Pred("unknown"))
    if isinstance(inner, Sequence):
        return Sequence("list", inner.items, True, node, self.file)
    return UNKNOWN


def _b_map(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    from tricklint.program.calls import CallArgs as Args

    if len(args.positional) < 2:
        return UNKNOWN
    func = args.positional[0]
    parts = [self.rounds(over, node) for over in args.positional[1:]]
    items: list[Value] = []
    for row in zip(*parts) if len(parts) > 1 else [(element,) for element in parts[0]]:
        items.append(self.call(func, Args(list(row)), node))
    return Sequence("list", tuple(items), True, node, self.file)


def _b_isinstance(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    value, kinds = args.positional[0], type_names(args.positional[1])
    value = first(value) or UNKNOWN
    if isinstance(value, ParamSet):
        if value.kind == "param" and not value.names and set(kinds) <= {"torch.nn.Parameter", "torch.Tensor"}:
            return Test(Pred("not_none"))
        return Test(Pred("isinstance", kinds) if value.kind == "module" else Pred("unknown"))
    if isinstance(value, Instance) and None not in kinds:
        if isinstance(value.cls, Class):
            names = set(value.cls.libraries())
            hit = any(kind in names or any(kind is c for c in value.cls.mro()) for kind in kinds)
            return (
                Const(hit)
                if hit or (value.cls.knows_bases and not value.cls.libraries())
                else UNKNOWN
                if not hit
                else Const(True)
            )
        if value.library in kinds:
            return Const(True)
        if value.kind == "module" and value.library in layers.WEIGHTED | layers.NORM:
            return Const("torch.nn.Module" in kinds)
        return UNKNOWN
    if isinstance(value, Const) and all(isinstance(k, str) for k in kinds):
        names = {f"builtins.{type(value.value).__name__}"}
        if isinstance(value.value, bool):
            names.add("builtins.int")
        return Const(bool(names & set(kinds)), value.default)
    if isinstance(value, (Sequence, Dict)) and all(isinstance(k, str) for k in kinds):
        kind = value.kind if isinstance(value, Sequence) else "dict"
        return Const(f"builtins.{kind}" in kinds)
    return UNKNOWN


def _b_hasattr(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    name = first(args.positional[1]) if len(args.positional) > 1 else UNKNOWN
    if isinstance(name, Const) and isinstance(name.value, str):
        if isinstance(value, ParamSet) and value.elem:
            return Test(Pred("hasattr", (name.value,)))
        if isinstance(value, Instance) and isinstance(value.cls, Class):
            if name.value in value.fields or value.cls.lookup(name.value) is not None:
                return Const(True)
            if value.cls.knows_bases and not value.cls.libraries():
                return FALSE
        if isinstance(value, Instance) and value.kind == "module" and value.library in layers.WEIGHTED:
            return Const(name.value in ("weight", "bias"))
        if isinstance(value, Namespace):
            return Const(name.value in value.fields, True)
    return UNKNOWN


def _b_getattr(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    target, key = args.positional[0], first(args.positional[1])
    from tricklint.program.imports import ModuleValue

    found: Value = UNKNOWN
    if isinstance(target, ModuleValue):
        return self.dynamic_member(target, args.positional[1])
    if isinstance(key, Const) and isinstance(key.value, str):
        found = UNKNOWN
        for part in key.value.split("."):
            found = self.get_attribute(target, part, node)
        if isinstance(found, Unknown) and len(args.positional) > 2:
            return args.positional[2]
        return found
    if isinstance(target, Ref):
        return Ref(target.name + ".<dynamic>")
    return found


def _b_setattr(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) == 3:
        key = first(args.positional[1])
        if isinstance(key, Const) and isinstance(key.value, str):
            self.set_attribute(args.positional[0], key.value, args.positional[2], node)
        else:
            for member in members(args.positional[0]):
                if isinstance(member, Instance) and member.kind == "module":
                    label = f"<dynamic {len(member.fields)}>"
                    self.set_instance_attribute(member, label, args.positional[2], node)
    return NONE


def _b_dict(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Dict(node, self.file, args.open_kwargs)
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, Dict):
            made.fields.update(inner.fields)
        elif isinstance(inner, Sequence):
            for item in inner.items:
                if isinstance(item, Sequence) and len(item.items) == 2:
                    key = first(item.items[0])
                    if isinstance(key, Const):
                        made.fields[key.value] = item.items[1]
        elif isinstance(inner, ParamSet):
            made.fields["<params>"] = inner.but(named=False, elem=True)
            made.open = True
        else:
            made.open = True
    made.fields.update(args.kwargs)
    return made


def _b_vars(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Dict(node, self.file)
    for member in members(args.positional[0]) if args.positional else ():
        if isinstance(member, Namespace):
            made.fields.update(member.fields)
            return made
        from tricklint.program.imports import ModuleValue

        if isinstance(member, ModuleValue):
            return ModuleValue(member.module, as_dict=True)
    if not args.positional:
        made.fields.update(self.frame.locals)
    made.open = True
    return made


def _b_pairs(note: str) -> Any:
    def run(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
        if note == "enumerates":
            inner = self.unrolled(first(args.positional[0]) or UNKNOWN) if args.positional else UNKNOWN
            if isinstance(inner, Sequence) and not inner.open:
                items = tuple(
                    Sequence("tuple", (Const(i), item), False, node, self.file) for i, item in enumerate(inner.items)
                )
                return Sequence("list", items, False, node, self.file)
        elif note == "zips":
            inners = [self.unrolled(first(a) or UNKNOWN) for a in args.positional]
            if inners and all(isinstance(i, Sequence) and not i.open for i in inners):
                rows = zip(*(i.items for i in inners if isinstance(i, Sequence)))
                return Sequence("list", tuple(Sequence("tuple", tuple(r), False, node, self.file) for r in rows), False,
                                node, self.file)  # fmt: skip
        made = self.plain("builtins." + note, args, node)
        made.kind = "iterator"
        if note == "enumerates":
            made.notes[note] = args.positional[0] if args.positional else UNKNOWN
        elif note == "zips":
            made.notes[note] = list(args.positional)
        else:
            made.notes[note] = args.positional[0] if args.positional else UNKNOWN
        return made

    return run


def _b_same(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN


def _b_next(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    rounds = self.rounds(args.positional[0], node) if args.positional else []
    return rounds[0] if rounds else UNKNOWN


def _b_type(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    if isinstance(value, ParamSet):
        return Attr(value, "class")
    return value.cls if isinstance(value, Instance) else UNKNOWN


def _b_id(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    return Attr(value, "id") if isinstance(value, ParamSet) else UNKNOWN


def _b_quantifier(name: str) -> Any:
    def run(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
        """`any(nd in n for nd in no_decay)` over a known list is a test on `n`."""
        inner = first(args.positional[0]) if args.positional else UNKNOWN
        if isinstance(inner, Sequence) and inner.items:
            preds = []
            verdicts = []
            for item in inner.items:
                verdict, pred = self.truth(item)
                if pred is not None:
                    preds.append(pred)
                else:
                    verdicts.append(verdict)
            if preds and not verdicts:
                ops = {(p.op, p.negated) for p in preds}
                if len(ops) == 1 and preds[0].op in (
                    "name_contains",
                    "name_equals",
                    "name_startswith",
                    "name_endswith",
                ):
                    op, negated = ops.pop()
                    if not negated and name == "any":
                        return Test(Pred(op, tuple(a for p in preds for a in p.args)))
                return (
                    Test(Pred("or" if name == "any" else "and", tuple(preds)))
                    if not inner.open
                    else Test(preds[0] if len(preds) == 1 else Pred("or" if name == "any" else "and", tuple(preds)))
                )
            if not preds and None not in verdicts and not inner.open:
                return Const(any(verdicts) if name == "any" else all(verdicts))
            if preds:
                return Test(Pred("unknown"))
        return UNKNOWN

    return run


def _b_range(self: Interpreter, args: CallArgs, node: cst.CSTNode) -> Value:
    made = self.plain("builtins.range", args, node)
    made.kind = "range"
    return made


_BUILTIN: dict[str, Any] = {
    "list": _b_list("list"),
    "tuple": _b_list("tuple"),
    "set": _b_list("set"),
    "sorted": _b_list("list"),
    "reversed": _b_list("list"),
    "iter": _b_same,
    "next": _b_next,
    "filter": _b_filter,
    "map": _b_map,
    "isinstance": _b_isinstance,
    "hasattr": _b_hasattr,
    "getattr": _b_getattr,
    "setattr": _b_setattr,
    "dict": _b_dict,
    "vars": _b_vars,
    "locals": _b_vars,
    "globals": _b_vars,
    "zip": _b_pairs("zips"),
    "enumerate": _b_pairs("enumerates"),
    "type": _b_type,
    "id": _b_id,
    "any": _b_quantifier("any"),
    "all": _b_quantifier("all"),
    "range": _b_range,
}


# -- exact library names -------------------------------------------------------------------------------------------------


def _x_partial(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if not args.positional:
        return UNKNOWN
    return Partial(args.positional[0], tuple(args.positional[1:]), dict(args.kwargs))


def _x_chain(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    items: list[Value] = []
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, ParamSet):
            items.append(inner.but(elem=True))
        elif isinstance(inner, Sequence):
            items.extend(inner.items)
        else:
            items.append(UNKNOWN)
    return Sequence("list", tuple(items), True, node, self.file)


def _x_import_module(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`import_module("models." + name)`: the module of that name; any of the package's when the name may be another."""
    found: list[Value] = []
    sure = False
    for at in members(args.get(0, "name")):
        if isinstance(at, Const) and isinstance(at.value, str) and not at.value.startswith("."):
            found.append(self.import_module(at.value))
            sure = sure or (len(found) == 1 and at.default)
            if at.default:
                found += self.modules_below(at.value.rpartition(".")[0], "")
        elif isinstance(at, Prefixed) and not at.prefix.startswith("."):
            package, _, start = at.prefix.rpartition(".")
            found += self.modules_below(package, start)
    return join(*found, sure=sure) if found else UNKNOWN


def _x_parser(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = self.plain(name, args, node)
    made.kind = "parser"
    parents = first(args.kwargs.get("parents"))
    if isinstance(parents, Sequence):
        for parent in parents.items:
            if isinstance(parent, Instance):
                made.notes.setdefault("options", {}).update(parent.notes.get("options", {}))
    return made


def _x_namespace(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Namespace(node, self.file)
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, Dict):
            made.fields.update({k: _nested(v, node, self) for k, v in inner.fields.items() if isinstance(k, str)})
    made.fields.update(args.kwargs)
    return made


def _nested(value: Value, node: cst.CSTNode, self: Interpreter) -> Value:
    inner = first(value)
    if isinstance(inner, Dict):
        made = Namespace(node, self.file)
        made.fields.update({k: _nested(v, node, self) for k, v in inner.fields.items() if isinstance(k, str)})
        return made
    return value


def _x_first(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    for member in members(args.positional[0]) if args.positional else ():
        if isinstance(member, Instance):
            member.notes["copied"] = True
    return args.positional[0] if args.positional else UNKNOWN


def _x_iterates(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else args.kwargs.get("iterable", UNKNOWN)


def _x_kind(kind: str) -> Any:
    def run(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        made = self.plain(name, args, node)
        made.kind = kind
        return made

    return run


def _x_loader(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return self.data_loader(name, args, node)


def _x_random_split(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    lengths = first(args.get(1, "lengths"))
    count = len(lengths.items) if isinstance(lengths, Sequence) and not lengths.open else 2
    made = self.plain("torch.utils.data.Subset", args, node)
    return Sequence("list", (made,) * count, False, node, self.file)


def _x_sampler(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return self.sampler(name, args, node)


def _x_checkpoint(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return self.checkpoint(name, args, node)


def _x_parameter(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return self.parameter(name, args, node)


def _x_backward(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if args.positional:
        self.emit("backward", node, args.positional[0])
    return NONE


def _x_autograd_grad(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    outputs = args.get(0, "outputs") or UNKNOWN
    self.emit("backward", node, outputs, partial=True)
    return Tensor("gradient", (outputs,), None, node, self.file, True)


def _x_split_groups(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = self.plain(name, args, node)
    made.kind = "split_groups"
    return made


def _x_timm_optimizer(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = self.plain(name, args, node)
    made.kind = "optimizer"
    target = (
        args.get(0 if name.endswith("_v2") else 1, "model_or_params" if name.endswith("_v2") else "model") or UNKNOWN
    )
    options = dict(args.kwargs)
    made.notes.update(
        row=optimizers.OptimizerRow(0.0, 3), name=name, options=options, params=target, factory=True, own=False,
        open=args.open_kwargs, groups=self.groups_of(target),
    )  # fmt: skip
    self.emit("optimizer", node, made)
    return made


def _x_amp_initialize(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Sequence("tuple", tuple(args.positional[:2]) or tuple(args.all()[:2]), False, node, self.file)


def _x_scaled_loss(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN


def _x_deepspeed(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    model = args.get(1, "model") or UNKNOWN
    return Sequence("tuple", (model, args.kwargs.get("optimizer", UNKNOWN), UNKNOWN, UNKNOWN), False, node, self.file)


def _x_peft(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    model = args.get(0, "model") or UNKNOWN
    for member in members(model):
        if isinstance(member, Instance) and member.kind == "module":
            self.freeze(ParamSet(member, "param"), Const(False), node)
            member.notes["peft"] = True
    return model


def _x_external_module(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = self.plain(name, args, node)
    made.kind = "module"
    made.notes["external"] = True
    self.emit("built", node, made)
    return made


def _x_create_cnn(self: Interpreter, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return self.trainer(name, "fastai", args, node)


_EXACT: dict[str, Any] = {
    "functools.partial": _x_partial,
    "itertools.chain": _x_chain,
    "importlib.import_module": _x_import_module,
    "argparse.ArgumentParser": _x_parser,
    "configargparse.ArgumentParser": _x_parser,
    "configargparse.ArgParser": _x_parser,
    "transformers.HfArgumentParser": _x_parser,
    "argparse.Namespace": _x_namespace,
    "types.SimpleNamespace": _x_namespace,
    "easydict.EasyDict": _x_namespace,
    "omegaconf.OmegaConf.create": _x_namespace,
    "munch.Munch": _x_namespace,
    "addict.Dict": _x_namespace,
    "ml_collections.ConfigDict": _x_namespace,
    "yacs.config.CfgNode": _x_namespace,
    "copy.deepcopy": _x_first,
    "copy.copy": _x_first,
    "tqdm.tqdm": _x_iterates,
    "tqdm.auto.tqdm": _x_iterates,
    "tqdm.notebook.tqdm": _x_iterates,
    "tqdm.tqdm_notebook": _x_iterates,
    "tqdm": _x_iterates,
    "rich.progress.track": _x_iterates,
    "fastprogress.progress_bar": _x_iterates,
    "fastprogress.fastprogress.progress_bar": _x_iterates,
    "progressbar.progressbar": _x_iterates,
    "torch.utils.data.DataLoader": _x_loader,
    "torch_geometric.loader.DataLoader": _x_loader,
    "torch_geometric.data.DataLoader": _x_loader,
    "torch.utils.data.random_split": _x_random_split,
    "torch.utils.data.WeightedRandomSampler": _x_sampler,
    "torch.utils.data.RandomSampler": _x_sampler,
    "torch.utils.data.SequentialSampler": _x_sampler,
    "torch.utils.data.DistributedSampler": _x_sampler,
    "torch.utils.data.distributed.DistributedSampler": _x_sampler,
    "torch.load": _x_checkpoint,
    "torch.hub.load_state_dict_from_url": _x_checkpoint,
    "torch.utils.model_zoo.load_url": _x_checkpoint,
    "torchvision.models.utils.load_state_dict_from_url": _x_checkpoint,
    "torchvision._internally_replaced_utils.load_state_dict_from_url": _x_checkpoint,
    "safetensors.torch.load_file": _x_checkpoint,
    "torch.nn.Parameter": _x_parameter,
    "torch.nn.parameter.Parameter": _x_parameter,
    "torch.autograd.backward": _x_backward,
    "torch.autograd.grad": _x_autograd_grad,
    "apex.amp.initialize": _x_amp_initialize,
    "apex.amp.scale_loss": _x_scaled_loss,
    "deepspeed.initialize": _x_deepspeed,
    "accelerate.Accelerator": _x_kind("accelerator"),
    **dict.fromkeys(
        (
            f"fastai.vision.{below}{made}"
            for below in ("", "learner.", "all.")
            for made in ("create_body", "create_head")
        ),
        _x_external_module,
    ),
    "peft.get_peft_model": _x_peft,
    "peft.PeftModel.from_pretrained": _x_peft,
}
for _name in optimizers.FACTORIES:
    _EXACT[_name] = _x_timm_optimizer
for _name in optimizers.GROUP_HELPERS:
    _EXACT[_name] = _x_split_groups


# -- methods by the kind of object ---------------------------------------------------------------------------------------


def _m_step(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    self.emit("step", node, value)
    for closure in args.positional[:1]:
        if isinstance(first(closure), Func):
            from tricklint.program.calls import CallArgs as Args

            self.call(closure, Args(), node)
    return UNKNOWN


def _m_zero_grad(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    self.emit("zero_grad", node, value)
    return NONE


def _m_add_group(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    group = first(args.get(0, "param_group"))
    if isinstance(group, Dict):
        options = {k: v for k, v in group.fields.items() if isinstance(k, str) and k != "params"}
        value.notes["groups"].append(Group(group.fields.get("params", UNKNOWN), options, group.open, node))
    self.emit("group_added", node, value, group=group)
    return NONE


def _m_scheduler_step(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    self.emit("scheduler_step", node, value, args=args)
    return NONE


def _m_set_epoch(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    self.emit("set_epoch", node, value)
    return NONE


def _m_checkpoint_get(self: Interpreter, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return value


_METHODS: dict[tuple[str, str], Any] = {
    ("optimizer", "step"): _m_step,
    ("optimizer", "zero_grad"): _m_zero_grad,
    ("optimizer", "add_param_group"): _m_add_group,
    ("scheduler", "step"): _m_scheduler_step,
    ("sampler", "set_epoch"): _m_set_epoch,
    ("checkpoint", "get"): _m_checkpoint_get,
    ("checkpoint", "items"): _m_checkpoint_get,
    ("checkpoint", "pop"): _m_checkpoint_get,
    ("checkpoint", "state_dict"): _m_checkpoint_get,
}

__all__ = ["Bound", "Group", "Library", "Super", "canonical"]
