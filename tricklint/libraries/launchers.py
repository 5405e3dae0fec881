"""Functions that are handed over to be run: to processes and threads, sweeps, studies and command lines."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves_below, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import call_unknown
from tricklint.interpreter.iteration import rounds
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Dict,
    Func,
    Instance,
    Namespace,
    Partial,
    Sequence,
    Value,
    first,
    members,
)
from tricklint.libraries import optuna

Arguments = Callable[[Machine, CallArgs, cst.CSTNode], CallArgs]


def can_run(value: Value | None) -> bool:
    """Something of the program that can be called."""
    at = first(value)
    if isinstance(at, Partial):
        return can_run(at.func)
    return isinstance(at, Func) or (isinstance(at, Bound) and at.func is not None)


def launch(m: Machine, value: Value, args: CallArgs, node: cst.CSTNode) -> Value:
    """Call a function as something else will: it is in none of the loops that hand it over."""
    outer, m.loops = m.loops, []
    try:
        return m.call(value, args, node)
    finally:
        m.loops = outer


def spread_into(args: CallArgs, positional: Value | None, keywords: Value | None) -> CallArgs:
    """`args=(…)`, `kwargs={…}`."""
    at, named = first(positional), first(keywords)
    if isinstance(at, Sequence):
        args.positional.extend(at.items)
        args.open = args.open or at.open
    elif positional is not None:
        args.open = True
    if isinstance(named, (Dict, Namespace)):
        args.kwargs.update({key: value for key, value in named.fields.items() if isinstance(key, str)})
    elif keywords is not None:
        args.open_kwargs = True
    return args


# -- what it is called with ----------------------------------------------------------------------------------------------


def nothing(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    return CallArgs()


def something(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    """A trial, a rank, the rest of the command line: known to whoever calls it."""
    return CallArgs([UNKNOWN])


def given_below(position: int | None, keyword: str, named: str = "", ranked: bool = False) -> Arguments:
    """The arguments are a tuple (and a dict `named`) among those of the launching call; `ranked`: a number comes first."""

    def of(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
        made = CallArgs([UNKNOWN] if ranked else [])
        return spread_into(made, args.get(position, keyword), args.get(None, named) if named else None)

    return of


def the_rest(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    """`submit(function, 1, x=2)`."""
    made = CallArgs(args.positional[1:], {key: value for key, value in args.kwargs.items() if key not in FUNCTION_NAMES})
    made.open, made.open_kwargs = args.open, args.open_kwargs
    return made


def each_of(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    """`map(function, items)`."""
    over = args.positional[1:2]
    elements = rounds(m, over[0], node) if over else []
    return CallArgs([elements[0] if elements else UNKNOWN])


def each_spread(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    """`starmap(function, tuples)`."""
    element = each_of(m, args, node).positional[0]
    return spread_into(CallArgs(), element, None)


def one_config(keyword: str) -> Arguments:
    def of(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
        return CallArgs([args.kwargs.get(keyword, UNKNOWN)])

    return of


FUNCTION_NAMES = ("target", "fn", "func", "function", "main", "objective", "train_loop_per_worker", "trainable", "callback")
PROCESS = given_below(None, "args", "kwargs")
# By dotted name: the position of the function (None: by keyword), and what it is called with
LAUNCHERS: dict[str, tuple[int | None, Arguments]] = {
    **{f"{where}.Process": (1, given_below(3, "args", "kwargs")) for where in (
        "multiprocessing", "torch.multiprocessing", "multiprocess", "multiprocessing.context")},
    "threading.Thread": (1, given_below(3, "args", "kwargs")),
    "threading.Timer": (1, given_below(2, "args", "kwargs")),
    "torch.multiprocessing.spawn": (0, given_below(1, "args", ranked=True)),
    "torch.multiprocessing.start_processes": (0, given_below(1, "args", ranked=True)),
    "torch.multiprocessing.spawn.spawn": (0, given_below(1, "args", ranked=True)),
    "torch_xla.distributed.xla_multiprocessing.spawn": (0, given_below(1, "args", ranked=True)),
    "torch_xla.launch": (0, given_below(1, "args", ranked=True)),
    "accelerate.notebook_launcher": (0, given_below(1, "args")),
    "accelerate.debug_launcher": (0, given_below(1, "args")),
    "ignite.distributed.spawn": (1, given_below(2, "args", ranked=True)),
    "absl.app.run": (0, something),
    "tensorflow.app.run": (0, something),
    "fire.Fire": (0, nothing),
    "typer.run": (0, nothing),
    "jsonargparse.CLI": (0, nothing),
    "jsonargparse.auto_cli": (0, nothing),
    "defopt.run": (0, nothing),
    "clize.run": (0, nothing),
    "plac.call": (0, nothing),
    "argh.dispatch_command": (0, nothing),
    "cyclopts.run": (0, nothing),
    "wandb.agent": (1, nothing),
    "hyperopt.fmin": (0, something),
    "skopt.gp_minimize": (0, something),
    "ray.tune.run": (0, one_config("config")),
    "ray.tune.Tuner": (0, one_config("param_space")),
    "ray.train.torch.TorchTrainer": (0, one_config("train_loop_config")),
    "asyncio.run": (None, nothing),
    "atexit.register": (0, the_rest),
}  # fmt: skip
# Methods of objects that some library made
METHODS: dict[str, tuple[int | None, Arguments]] = {
    "optimize": (0, optuna.trial),
    "Process": (None, PROCESS),
    "submit": (0, the_rest),
    "apply": (0, given_below(1, "args", "kwds")),
    "apply_async": (0, given_below(1, "args", "kwds")),
    "map": (0, each_of),
    "imap": (0, each_of),
    "imap_unordered": (0, each_of),
    "map_async": (0, each_of),
    "starmap": (0, each_spread),
    "starmap_async": (0, each_spread),
    "launch": (0, the_rest),
    "run": (0, the_rest),
    "call": (0, the_rest),
}


def handed_over(args: CallArgs, position: int | None) -> Value | None:
    """The function of the program that a launching call is given."""
    given = [args.kwargs[name] for name in FUNCTION_NAMES if name in args.kwargs]
    if position is not None and position < len(args.positional):
        given.append(args.positional[position])
    return next((value for value in given if can_run(value)), None)


@function(*LAUNCHERS)
def launcher(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    position, of = LAUNCHERS[name]
    value = handed_over(args, position)
    if value is None:
        at = first(args.positional[0]) if args.positional else None
        if of is nothing and isinstance(at, Class):
            return m.call(at, CallArgs(), node)
        call_unknown(m, args, node, name)
        return plain(m, name, args, node)
    result = launch(m, value, of(m, args, node), node)
    return result if of is nothing else plain(m, name, args, node)


@function("ray.tune.with_parameters", "ray.tune.with_resources")
def with_parameters(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """The same function, with some of its arguments given."""
    if not args.positional:
        return UNKNOWN
    given = dict(args.kwargs) if name.endswith("with_parameters") else {}
    return Partial(args.positional[0], (), given)


@behaves_below(
    "optuna.", "multiprocessing.", "torch.multiprocessing.", "multiprocess.", "concurrent.futures.", "ray.", "submitit.",
    "ignite.distributed.", "joblib.", "lightning.fabric.", "lightning.Fabric", "mpi4py.",
)  # fmt: skip
class Pool(Behaviour):
    """A pool, a study, a context of processes: it calls what it is given."""

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name not in METHODS:
            return None
        position, of = METHODS[name]
        given = handed_over(args, position)
        if given is None:
            return None
        result = launch(m, given, of(m, args, node), node)
        if name in ("map", "starmap", "imap"):
            return Sequence("list", tuple(members(result)), True, node, m.file)
        return result if name in ("apply", "launch") else plain(m, f"{value.library}().{name}", args, node)


__all__ = ["LAUNCHERS", "can_run", "launch", "spread_into"]
