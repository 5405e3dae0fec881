"""Command line parsers: an option's default is its value."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.arguments import default_of
from tricklint.interpreter.behaviour import Behaviour, behaves, declares_default, function, parameter_defaults
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
    Namespace,
    Ref,
    Sequence,
    Value,
    first,
)
from tricklint.libraries.config_files import value_of
from tricklint.libraries.facts import ParserFacts
from tricklint.libraries.paths import data_at


@parameter_defaults
def click_defaults(m: Machine, func: Func) -> dict[str, Value]:
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


def parser_method(m: Machine, parser: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    options = parser.fact(ParserFacts).options
    if name in ("add_argument", "add_option"):
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
        options[label] = argument_default(m, args, positional=bool(names) and not names[0].startswith("-"))
        return UNKNOWN
    if name == "set_defaults":
        given = dict(args.kwargs)
        for inner in map(first, args.positional):
            if isinstance(inner, (Dict, Namespace)):
                given.update({key: v for key, v in inner.fields.items() if isinstance(key, str)})
        for key, v in given.items():
            at = first(v)
            options[key] = Const(at.value, True, at.place) if isinstance(at, Const) else v
        return NONE
    if name in ("add_arguments", "add_class_arguments", "add_dataclass_arguments", "add_function_arguments"):
        wanted, label_ = first(args.get(0, "dataclass")), first(args.get(1, "dest") or args.kwargs.get("nested_key"))
        if isinstance(label_, Const) and isinstance(label_.value, str) and isinstance(wanted, (Class, Func)):
            options[label_.value] = filled_group(m, name, wanted, args, node)
        return UNKNOWN
    if name in ("parse_args", "parse_known_args", "parse_intermixed_args", "parse", "parse_path", "get_defaults"):
        made = Namespace(node, m.file)
        for key, v in {**options, **from_files(m, parser, node)}.items():
            put(made, key, v, nests=parser.library.startswith("jsonargparse."))
        if name == "parse_known_args" or parser.library.startswith("optparse."):
            return Sequence("tuple", (made, UNKNOWN), False, node, m.file)
        return made
    if name == "get_default":
        at = first(args.get(0, "dest"))
        return options.get(at.value, UNKNOWN) if isinstance(at, Const) else UNKNOWN
    if name == "instantiate_classes" and args.positional:
        return args.positional[0]
    if name in ("parse_args_into_dataclasses", "parse_json_file", "parse_dict"):
        made_items = []
        for arg in parser.args[:1]:
            inner = first(arg)
            classes = inner.items if isinstance(inner, Sequence) else (inner,)
            for cls in classes:
                if isinstance(cls, (Class, Ref)):
                    made_items.append(m.call(cls, CallArgs(), node))
                else:
                    made_items.append(UNKNOWN)
        return Sequence("tuple", tuple(made_items), False, node, m.file)
    if name == "add_subparsers":
        return parser
    if name == "add_parser":
        return parser
    return UNKNOWN


def put(target: Namespace, key: str, value: Value, nests: bool) -> None:
    """jsonargparse's `--optim.lr` is read as `args.optim.lr`."""
    *above, last = key.split(".") if nests else [key]
    for part in above:
        below = target.fields.get(part)
        if not isinstance(below, (Namespace, Instance)):
            below = target.fields[part] = Namespace(target.node, target.file)
        target = below  # type: ignore[assignment]
    target.fields[last] = value


def from_files(m: Machine, parser: Instance, node: cst.CSTNode | None) -> dict[str, Value]:
    """What the files say that a parser reads by default."""
    found: dict[str, Value] = {}
    listed = first(parser.kwargs.get("default_config_files"))
    for item in listed.items if isinstance(listed, Sequence) else ():
        data = data_at(m, item)
        made = value_of(m, data[1], data[0], node, attributes=True) if data is not None else None
        if isinstance(made, Namespace):
            found.update({str(key).replace("-", "_"): value for key, value in made.fields.items()})
    return found


def filled_group(m: Machine, name: str, wanted: Class | Func, args: CallArgs, node: cst.CSTNode | None) -> Value:
    """A class of the program that a parser makes options of: an object of it with its defaults, or (jsonargparse) the
    defaults of its parameters."""
    at = args.get(2, "default")
    if at is not None:
        return at
    if name == "add_arguments" or name.startswith("add_dataclass"):
        return m.call(wanted, CallArgs(), node or wanted.node)
    func = wanted.lookup("__init__") if isinstance(wanted, Class) else wanted
    made = Namespace(node, m.file)
    if isinstance(func, Func):
        for param in (*func.node.params.params, *func.node.params.kwonly_params):
            if param.name.value != "self":
                made.fields[param.name.value] = default_of(m, param, func)
    return made


def argument_default(m: Machine, args: CallArgs, positional: bool) -> Value:
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


@function(
    "argparse.ArgumentParser",
    "configargparse.ArgumentParser",
    "configargparse.ArgParser",
    "transformers.HfArgumentParser",
    "optparse.OptionParser",
    "simple_parsing.ArgumentParser",
    "jsonargparse.ArgumentParser",
)
def parser(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "parser"
    parents = first(args.kwargs.get("parents"))
    if isinstance(parents, Sequence):
        for parent in parents.items:
            if isinstance(parent, Instance):
                made.fact(ParserFacts).options.update(parent.fact(ParserFacts).options)
    return made


@declares_default
def option_default(value: Value) -> Value | None:
    """`count: int = typer.Option(3)`."""
    if not isinstance(value, Instance) or value.library not in ("typer.Option", "typer.Argument", "fire.Option"):
        return None
    at = first(value.args[0]) if value.args else first(value.kwargs.get("default"))
    return Const(at.value, True) if isinstance(at, Const) and at.value is not ... else UNKNOWN


@behaves("parser")
class ParserBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name.startswith(("add_argument_group", "add_mutually", "add_option_group")):
            return value
        return parser_method(m, value, name, args, node)
