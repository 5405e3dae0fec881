"""Calls: arguments, inlining of the program's functions, making instances of its classes. A mixin of the interpreter."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.knowledge.names import canonical
from tricklint.program.imports import Imports, ModuleValue
from tricklint.program.library import Library
from tricklint.program.objects import Objects
from tricklint.program.params import Params
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
    Partial,
    Ref,
    Sequence,
    Super,
    Tensor,
    Union,
    Unknown,
    Value,
    first,
    join,
    members,
)
from tricklint.program.yields import ENDLESS, LONG, Yield
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.program.interpreter import Interpreter

MODULE_BASES = frozenset(
    (
        "torch.nn.Module", "lightning.LightningModule", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict",
        "torch.jit.ScriptModule",
        "lightning.LightningDataModule",
    )
)  # fmt: skip
_OPTIMIZER_NAME = re.compile(r"^(?:self_)?(?:\w+_)?(?:optim|optimizer|optimiser|opt)(?:izer)?(?:_\w+)?$")
# Packages whose objects turn an image into the tensor that a model is fed with
IMAGE_TRANSFORMS = ("torchvision.transforms.", "albumentations.", "timm.data.")
_DATACLASS = frozenset(("dataclasses.dataclass", "pydantic.dataclasses.dataclass", "attr.s", "attrs.define", "attr.dataclass",
                        "chex.dataclass", "flax.struct.dataclass"))  # fmt: skip
# Base classes whose annotated names are the constructor's parameters
_FIELD_CLASSES = frozenset(("typing.NamedTuple", "pydantic.BaseModel", "pydantic.BaseSettings", "pydantic.v1.BaseModel",
                            "pydantic.v1.BaseSettings", "pydantic_settings.BaseSettings", "transformers.TrainingArguments",
                            "tap.Tap"))  # fmt: skip


_KEEPS = frozenset(
    ("append", "add", "update", "setdefault", "register", "_register", "register_module", "_do_register")
)
MAX_CALLS = 80  # of one function in one entry: enough for every layer of a deep net


def _of_the_class(annotation: cst.BaseExpression) -> bool:
    """`ClassVar[int]`: no field of its instances."""
    at = annotation.value if isinstance(annotation, cst.Subscript) else annotation
    name = at.attr if isinstance(at, cst.Attribute) else at
    return isinstance(name, cst.Name) and name.value == "ClassVar"


class CallArgs:
    """Evaluated arguments of one call. `open` when a star argument hides some, `open_kwargs` when ** does."""

    __slots__ = ("kwargs", "open", "open_kwargs", "positional")

    def __init__(self, positional: list[Value] | None = None, kwargs: dict[str, Value] | None = None) -> None:
        self.positional: list[Value] = positional or []
        self.kwargs: dict[str, Value] = kwargs or {}
        self.open = False
        self.open_kwargs = False

    def get(self, position: int | None, name: str) -> Value | None:
        """The argument, None when it was not passed, UNKNOWN when a star may hold it."""
        if name in self.kwargs:
            return self.kwargs[name]
        if position is not None and position < len(self.positional):
            return self.positional[position]
        if self.open_kwargs or (self.open and position is not None):
            return UNKNOWN
        return None

    def all(self) -> list[Value]:
        return [*self.positional, *self.kwargs.values()]


class Calls(Objects, Params, Library, Imports):
    """How a call is carried out."""

    def eval_call(self: Interpreter, node: cst.Call) -> Value:
        self.tick()
        if isinstance(node.func, cst.Name) and node.func.value == "super":
            return self.super_value(node)
        callee = self.eval(node.func)
        if isinstance(node.func, cst.Attribute) and node.func.attr.value in ("eval", "train") and may_be_model(callee):
            callee = self.guess_model(node, node.func) or callee
        elif (
            isinstance(callee, Unknown)
            and isinstance(node.func, cst.Attribute)
            and node.func.attr.value in ("step", "zero_grad")
        ):
            callee = self.guess_optimizer(node.func) or callee
        elif isinstance(callee, Instance) and callee.kind == "checkpoint":  # what was saved is a whole model
            model = Instance(Ref("<unknown>.Model"), node, self.file)
            model.kind = "guessed"
            callee = model if self.place_guess(node.func, model) else callee
        return self.call(callee, self.arguments(node), node)

    def guess_model(self: Interpreter, node: cst.Call, func: cst.Attribute) -> Value | None:
        """`x.eval()` and `x.train()` on something unknown say that it is a model: from here on it is known as one."""
        if len(node.args) > (func.attr.value == "train") or not self.is_statement(node):
            return None
        made = Instance(Ref("<unknown>.Model"), node, self.file)
        made.kind = "guessed"
        if not self.place_guess(func.value, made):
            return None
        return Bound(made, None, func.attr.value)

    def guess_optimizer(self: Interpreter, func: cst.Attribute) -> Value | None:
        """`optimizer.step()` on something unknown that is called an optimizer."""
        named = func.value.attr if isinstance(func.value, cst.Attribute) else func.value
        if not isinstance(named, cst.Name) or not _OPTIMIZER_NAME.search(named.value.lower()):
            return None
        made = Instance(Ref("<unknown>.Optimizer"), func, self.file)
        made.kind = "guessed_optimizer"
        return Bound(made, None, func.attr.value) if self.place_guess(func.value, made) else None

    def place_guess(self: Interpreter, node: cst.CSTNode, made: Value) -> bool:
        if isinstance(node, cst.Name):
            if node.value == "self":
                return False
            self.bind(node.value, made)
            return True
        if isinstance(node, cst.Attribute):
            owner = self.eval(node.value)
            if isinstance(owner, Unknown):
                owner = Namespace(node, self.file)
                if not self.place_guess(node.value, owner):
                    return False
            if isinstance(owner, (Instance, Namespace)):
                self.write(owner.fields, node.attr.value, made)
                return True
        return False

    def guessed_method(self: Interpreter, model: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        """A method of something that is only known to be a model."""
        if name in ("train", "eval"):
            train: bool | None = name == "train"
            if train and args.positional:
                train = self.truth(args.positional[0])[0]
            self.emit("mode", node, model, train=train)
            return model
        if name in ("to", "cuda", "cpu", "half", "float", "double", "bfloat16"):
            return model
        if name == "zero_grad":
            self.emit("zero_grad", node, model)
        elif name == "forward":
            return self.forward(model, args, node)
        self.call_unknown(args, node, f"<unknown>.Model.{name}")
        return UNKNOWN

    def arguments(self: Interpreter, node: cst.Call) -> CallArgs:
        args = CallArgs()
        for arg in node.args:
            value = self.eval(arg.value)
            if arg.star == "*":
                inner = first(value)
                if isinstance(inner, Sequence):
                    args.positional.extend(inner.items)
                    args.open = args.open or inner.open
                elif isinstance(inner, ParamSet):
                    args.positional.append(inner.but(elem=True))
                    args.open = True
                else:
                    args.open = True
            elif arg.star == "**":
                inner = first(value)
                if isinstance(inner, Dict):
                    for key, item in inner.fields.items():
                        if isinstance(key, str):
                            args.kwargs[key] = item
                    args.open_kwargs = args.open_kwargs or inner.open
                else:
                    args.open_kwargs = True
            elif arg.keyword is not None:
                args.kwargs[arg.keyword.value] = value
            else:
                args.positional.append(value)
        return args

    def call(self: Interpreter, callee: Value, args: CallArgs, node: cst.CSTNode) -> Value:
        if isinstance(callee, Union):
            # a model on one branch and something else on the other: who calls it cannot be told what is called
            mixed = not callee.sure and len({isinstance(m, Instance) and m.kind == "module" for m in callee.values}) > 1
            self.mixed += mixed
            results = [self.call(member, args, node) for member in callee.values]
            self.mixed -= mixed
            return join(*results, sure=callee.sure)
        if isinstance(callee, Func):
            return self.invoke(callee, None, args, node)
        if isinstance(callee, Bound):
            if callee.func is not None:
                result = self.invoke(callee.func, callee.self, args, node)
                return self.with_weights(result, node) if callee.func.name == "from_pretrained" else result
            return self.method(callee.self, callee.name, args, node)
        if isinstance(callee, Class):
            return self.instantiate(callee, args, node)
        if isinstance(callee, Ref):
            return self.library_call(canonical(callee.name), args, node)
        if isinstance(callee, Partial):
            merged = CallArgs([*callee.args, *args.positional], {**callee.kwargs, **args.kwargs})
            merged.open, merged.open_kwargs = args.open, args.open_kwargs
            return self.call(callee.func, merged, node)
        if isinstance(callee, Instance):
            return self.call_instance(callee, args, node)
        if isinstance(callee, Tensor):
            return Tensor("unknown", tuple(args.all()), None, node, self.file, True)
        return self.call_unknown(args, node, "")

    def with_weights(self: Interpreter, result: Value, node: cst.CSTNode) -> Value:
        """What a `from_pretrained` of the program gives: a model with weights, even where it could not be followed."""
        models = [member for member in members(result) if isinstance(member, Instance) and member.kind == "module"]
        if not models:
            result = made = Instance(Ref("<program>.from_pretrained"), node, self.file)
            made.kind, models = "module", [made]
            made.notes["external"] = True
        for model in models:
            model.notes["is_pretrained"] = True
        return result

    def call_unknown(self: Interpreter, args: CallArgs, node: cst.CSTNode, name: str) -> Value:
        tensors = []
        for value in args.all():
            for member in members(value):
                if (isinstance(member, Instance) and member.kind in ("module", "optimizer", "loader")) or (
                    isinstance(member, ParamSet) and not member.names
                ):
                    self.emit("escape", node, member, to=name)
                elif isinstance(member, Tensor):
                    tensors.append(member)
        if tensors:
            grad = any(tensor.grad for tensor in tensors)
            return Tensor("unknown", tuple(args.all()), tensors[0].module, node, self.file, grad, name=name)
        return UNKNOWN

    # -- the program's own functions -----------------------------------------------------------------------------------

    def invoke(self: Interpreter, func: Func, self_value: Value | None, args: CallArgs, node: cst.CSTNode) -> Value:
        running = sum(1 for frame in self.frames if frame.func is not None and frame.func.node is func.node)
        times = self.calls_of[id(func.node)] = self.calls_of.get(id(func.node), 0) + 1
        deep = len(self.frames) > (self.max_depth if self.spent < ENDLESS else self.depth_when_endless)
        if deep or running >= 2 or times > MAX_CALLS:
            self.covered.add(id(func.node))
            return self.call_unknown(args, node, func.name)
        known = self.yields.get(id(func.node))
        if known is None:
            known = self.yields[id(func.node)] = Yield(func)
        elif known.barren and self.spent + self.steps > LONG:
            return known.again(self, args, node)
        before = self.fruits
        result = self.follow(func, self_value, args, node)
        known.learn(result, before != self.fruits)
        return result

    def follow(self: Interpreter, func: Func, self_value: Value | None, args: CallArgs, node: cst.CSTNode) -> Value:
        """Run a function's body on these arguments."""
        from tricklint.program.interpreter import Frame

        names = self.bind_arguments(func, self_value, args)
        frame = Frame(func, func.file, names, func.closure, len(self.path))
        frame.self = self_value
        frame.call = (self.file, node)
        self.covered.add(id(func.node))
        with self.inside(frame):
            self.decorate_frame(func)
            if isinstance(func.node, cst.Lambda):
                return self.eval(func.node.body)
            self.run_body(func.node.body)
            if frame.exits:
                self.leave(frame)
            if func.node.asynchronous is not None and not frame.returns:
                return UNKNOWN
        return self.returned(frame)

    def decorate_frame(self: Interpreter, func: Func) -> None:
        for decorator in func.decorators:
            self.enter(decorator)
            if isinstance(decorator, Ref) and decorator.name in ("torch.no_grad", "torch.inference_mode"):
                self.grad = False

    @staticmethod
    def returned(frame: Any) -> Value:
        if not frame.returns:
            return NONE
        ordered: list[Value] = []
        seen_sure = False
        order = {True: 0, None: 1, False: 2}
        for value, _ in sorted(frame.returns, key=lambda pair: order[pair[1]]):
            ordered.append(value)
        seen_sure = any(certain is True for _, certain in frame.returns)
        maybe = any(certain is None for _, certain in frame.returns)
        objects = [value for value in ordered if not (isinstance(value, Const) and value.value is None)]
        if maybe and objects and len(objects) < len(ordered):
            ordered = [*objects, *(value for value in ordered if value not in objects)]
        return join(*ordered, sure=seen_sure and not maybe)

    def bind_arguments(self: Interpreter, func: Func, self_value: Value | None, args: CallArgs) -> dict[str, Value]:
        params = func.node.params
        names: dict[str, Value] = {}
        positional = list(args.positional)
        decorators = {d.name for d in func.decorators if isinstance(d, Ref)}
        if self_value is not None and "builtins.staticmethod" not in decorators:
            if "builtins.classmethod" in decorators and isinstance(self_value, Instance):
                positional.insert(0, self_value.cls)
            else:
                positional.insert(0, self_value)
        kwargs = dict(args.kwargs)
        options = self.click_defaults(func)
        at = 0
        for group in (params.posonly_params, params.params):
            for param in group:
                name = param.name.value
                if at < len(positional):
                    names[name] = positional[at]
                elif name in kwargs:
                    names[name] = kwargs.pop(name)
                elif args.open or args.open_kwargs:
                    names[name] = UNKNOWN
                else:
                    names[name] = options[name] if name in options else self.default_of(param, func)
                kwargs.pop(name, None)
                at += 1
        rest = positional[at:]
        if isinstance(params.star_arg, cst.Param):
            names[params.star_arg.name.value] = Sequence("tuple", tuple(rest), args.open)
        for param in params.kwonly_params:
            name = param.name.value
            if name in kwargs:
                names[name] = kwargs.pop(name)
            elif args.open_kwargs:
                names[name] = UNKNOWN
            else:
                names[name] = options[name] if name in options else self.default_of(param, func)
        if params.star_kwarg is not None:
            made = Dict(open=args.open_kwargs)
            made.fields.update(kwargs)
            names[params.star_kwarg.name.value] = made
        return names

    def default_of(self: Interpreter, param: cst.Param, func: Func) -> Value:
        if param.default is None:
            return UNKNOWN
        from tricklint.program.interpreter import Frame

        self.frames.append(Frame(None, func.file, {}, func.closure, len(self.path)))
        try:
            value = self.eval(param.default)
        finally:
            self.frames.pop()
        if isinstance(value, Const):
            return Const(value.value, True)
        if isinstance(value, Instance) and value.library in ("typer.Option", "typer.Argument", "fire.Option"):
            at = first(value.args[0]) if value.args else first(value.kwargs.get("default"))
            return Const(at.value, True) if isinstance(at, Const) and at.value is not ... else UNKNOWN
        return value

    def click_defaults(self: Interpreter, func: Func) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for decorator in func.decorators:
            if not isinstance(decorator, Instance) or decorator.library not in ("click.option", "click.argument"):
                continue
            names = [first(a) for a in decorator.args]
            texts = [a.value for a in names if isinstance(a, Const) and isinstance(a.value, str)]
            if not texts:
                continue
            plain = [text for text in texts if not text.startswith("-")]
            long = [text for text in texts if text.startswith("--")]
            name = (plain or [(long or texts)[0].split("/")[0].lstrip("-")])[0].replace("-", "_")
            default = decorator.kwargs.get("default")
            flag = first(decorator.kwargs.get("is_flag"))
            if default is None:
                found[name] = Const(False, True) if isinstance(flag, Const) and flag.value else UNKNOWN
            else:
                at = first(default)
                found[name] = Const(at.value, True) if isinstance(at, Const) else default
        return found

    # -- the program's own classes -------------------------------------------------------------------------------------

    def kind_of_class(self: Interpreter, cls: Class) -> str:
        libraries = cls.libraries()
        for name in libraries:
            if name in MODULE_BASES or (name.startswith("torch.nn.") and name[9:10].isupper()):
                if name.endswith(("Loss", "_Loss")):
                    return "loss"
                return "module"
            if name.startswith(("transformers.", "lightning.LightningModule")) and ("Model" in name or "For" in name):
                return "module"
            if name.startswith(
                ("torchvision.models.", "timm.models.", "segmentation_models_pytorch.", "torch_geometric.nn.")
            ):
                return "module"
            if name.startswith("torch.optim.") and name[12:13].isupper():
                return "optimizer"
            if name.startswith("torch.optim.lr_scheduler."):
                return "scheduler"
            if name in ("torch.utils.data.Dataset", "torch.utils.data.IterableDataset") or name.startswith(
                "torchvision.datasets."
            ):
                return "dataset"
            if name.startswith(("fastai.", "monai.networks.", "pytorch_metric_learning", "torchmetrics")):
                return "module" if "nn" in name or "networks" in name or name.endswith("Module") else ""
        return ""

    def instantiate(self: Interpreter, cls: Class, args: CallArgs, node: cst.CSTNode) -> Value:
        made = Instance(cls, node, self.file)
        made.kind = self.kind_of_class(cls)
        made.args, made.kwargs = tuple(args.positional), dict(args.kwargs)
        made.open_kwargs = args.open_kwargs
        owner = self.frame.func.owner if self.frame.func is not None else None
        made.made_in = owner
        if made.kind == "loss" or (made.kind == "module" and self.is_loss_class(cls)):
            made.notes["loss_class"] = True
        init = cls.lookup("__init__")
        building = sum(1 for frame in self.frames if isinstance(frame.self, Instance) and frame.self.cls is cls)
        self.emit("building", node, made)
        if isinstance(init, Func) and building < 3:
            self.invoke(init, made, args, node)
        elif self.is_dataclass(cls):
            self.fill_dataclass(made, cls, args)
        self.seq += 1
        made.seq = self.seq
        if made.kind == "optimizer":
            base = next((n for n in cls.libraries() if n.startswith("torch.optim.")), "torch.optim.Optimizer")
            self.make_optimizer(made, base, args, node, own=True)
        elif made.kind == "scheduler":
            made.notes["optimizer"] = args.get(0, "optimizer")
            self.emit("scheduler", node, made)
        else:
            self.emit("built", node, made)
        if self.is_enum(cls):
            return UNKNOWN
        return made

    def is_loss_class(self: Interpreter, cls: Class) -> bool:
        """A module of the program that is used as a criterion: by its own name, no layer is called a loss."""
        lowered = cls.name.lower()
        return "loss" in lowered or "criterion" in lowered

    def is_enum(self: Interpreter, cls: Class) -> bool:
        return any(name.startswith("enum.") for name in cls.libraries())

    def is_dataclass(self: Interpreter, cls: Class) -> bool:
        for at in cls.mro():
            if isinstance(at, Class):
                for decorator in at.decorators:
                    name = decorator.name if isinstance(decorator, Ref) else getattr(decorator, "library", "")
                    if name in _DATACLASS or name.endswith(".dataclass"):
                        return True
            elif isinstance(at, Ref) and at.name in _FIELD_CLASSES:
                return True
        return False

    def fill_dataclass(self: Interpreter, made: Instance, cls: Class, args: CallArgs) -> None:
        names: list[str] = []
        for at in reversed([c for c in cls.mro() if isinstance(c, Class)]):
            for statement in at.node.body.body:
                for small in getattr(statement, "body", ()) if isinstance(statement, cst.SimpleStatementLine) else ():
                    if isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name):
                        if small.target.value not in names and not _of_the_class(small.annotation.annotation):
                            names.append(small.target.value)
        for i, name in enumerate(names):
            passed = args.get(i, name)
            if passed is not None:
                made.fields[name] = passed
                continue
            default = cls.lookup(name)
            made.fields[name] = self.dataclass_default(default)
        post = cls.lookup("__post_init__")
        if isinstance(post, Func):
            self.invoke(post, made, CallArgs(), made.node)  # type: ignore[arg-type]

    def dataclass_default(self: Interpreter, default: Value | None) -> Value:
        if isinstance(default, Const):
            return Const(default.value, True)
        if isinstance(default, Instance) and default.library.endswith((".field", ".Field", ".ib")):
            inner = default.kwargs.get("default")
            if inner is None and default.args:
                inner = default.args[0]
            if isinstance(inner, Const):
                return Const(inner.value, True)
            factory = default.kwargs.get("default_factory")
            if isinstance(factory, (Func, Class)):
                return self.call(factory, CallArgs(), default.node)  # type: ignore[arg-type]
            return inner or UNKNOWN
        return default or UNKNOWN

    def super_value(self: Interpreter, node: cst.Call) -> Value:
        frame = self.frame
        func, self_value = frame.func, frame.self
        if func is None or func.owner is None or self_value is None:
            return UNKNOWN
        return Super(self_value, func.owner)

    def super_attribute(self: Interpreter, value: Super, name: str) -> Value:
        passed = False
        cls = value.self.cls if isinstance(value.self, Instance) else value.self
        if isinstance(cls, Class):
            for at in cls.mro():
                if at is value.owner:
                    passed = True
                    continue
                if passed and isinstance(at, Class) and name in at.fields:
                    found = at.fields[name]
                    return Bound(value.self, found, name) if isinstance(found, Func) else found
        return Bound(value.self, None, "super." + name)

    def keeps_what_it_gets(self: Interpreter, func: Func) -> bool:
        """A short function that puts something into a container: a registry. Other decorators wrap, and what they wrap
        is what matters here."""
        known = self.keepers.get(id(func.node))
        if known is None:
            nodes = list(itertools.islice(walk(func.node), 400))
            known = self.keepers[id(func.node)] = len(nodes) < 400 and any(
                (isinstance(node, cst.AssignTarget) and isinstance(node.target, cst.Subscript))
                or (isinstance(node, cst.Attribute) and node.attr.value in _KEEPS)
                for node in nodes
            )
        return known

    def decorated(self: Interpreter, made: Value, decorators: tuple[Value, ...], node: cst.CSTNode) -> Value:
        """Apply the program's own decorators (registries, wrappers); those of libraries keep what they decorate."""
        for decorator in reversed(decorators):
            func = decorator.func if isinstance(decorator, Bound) else decorator
            if isinstance(func, Func) and self.keeps_what_it_gets(func):
                result = self.call(decorator, CallArgs([made]), node)
                if isinstance(result, (Func, Class)):
                    made = result
        return made

    def call_instance(self: Interpreter, callee: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
        if callee.kind in ("module", "loss", "guessed"):
            return self.forward(callee, args, node)
        if isinstance(callee.cls, Class):
            method = callee.cls.lookup("__call__")
            if isinstance(method, Func):
                return self.invoke(method, callee, args, node)
            return self.call_unknown(args, node, callee.label)
        if callee.library.startswith(IMAGE_TRANSFORMS):
            return Tensor("image", tuple(args.all()), None, node, self.file, pipeline=callee)
        return self.call_unknown(args, node, callee.library)


def may_be_model(method: Value) -> bool:
    """A method of something unknown, or of what `torch.load` gave: a whole model was saved."""
    pickled = isinstance(method, Bound) and isinstance(method.self, Instance) and method.self.kind == "checkpoint"
    return isinstance(method, Unknown) or pickled


__all__ = ["CallArgs", "Calls", "ModuleValue", "Namespace", "Unknown"]
