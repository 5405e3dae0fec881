"""What a forked child does: fence itself in, build, study, send the facts home line by line."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tricklint.trace.extract import site_of
from tricklint.trace.facts import Failure, ModelFacts, Site
from tricklint.trace.initwatch import Drawn, InitWatch
from tricklint.trace.inputs import from_example, from_shapes, guesses, like
from tricklint.trace.ladder import Inputs, one_line
from tricklint.trace.meter import Meter
from tricklint.trace.signal import measure_signal, work
from tricklint.trace.study import real_rung, study
from tricklint.trace.worker import build, downloads, stubs
from tricklint.trace.worker.guard import Blocked, Guard, OverTime, limit_memory, start_clock, stop_clock
from tricklint.trace.worker.loader import UserFinder
from tricklint.trace.worker.patch import put

Send = Callable[[dict[str, Any]], None]
SMALL = 12_000_000  # parameters up to which the signal is always measured
CHEAP, DEAR = 5e8, 2e10  # multiplications of that forward
LARGE = 160_000_000  # … and up to which it is for a deep stack that has neither norms nor skips


def run(job: dict[str, Any], guard: Guard, send: Send) -> None:
    """Send {"facts": …} (and later {"signal": …}) or {"failure": …}; always {"files": …} at the end."""
    started, cpu = time.perf_counter(), time.process_time()
    roots = [os.path.abspath(root) for root in job["roots"]]
    guard.roots = tuple(root.rstrip(os.sep) + os.sep for root in roots)
    finder = UserFinder(guard)
    sys.meta_path.insert(0, finder)
    sys.path[:0] = [root for root in job["path"] if root not in sys.path]
    for name, module in list(sys.modules.items()):  # nothing of the user's may have been imported by the server
        if guard.is_user(str(getattr(module, "__file__", None) or "")):
            del sys.modules[name]
    sys.argv = [job["target"]]
    os.chdir(job["cwd"])
    build.patch_argparse()
    downloads.patch_child()
    stop_below_the_events(guard)
    limit_memory(int(job["memory_mb"]))
    start_clock(float(job["seconds"]))
    guard.mode = "child"
    try:
        _work(job, guard, finder, send, started)
    except BaseException as error:
        stop_clock()
        send({"failure": failure(error, job, guard, finder).to_dict()})
    finally:
        guard.mode = "library"
        used = round(time.process_time() - cpu, 3)
        send({"files": sorted(finder.loaded), "missing": sorted(finder.missing), "cpu_seconds": used})


def _work(job: dict[str, Any], guard: Guard, finder: UserFinder, send: Send, started: float) -> None:
    maker = build.resolve(job["target"], finder)
    downloads.patch_libraries()
    args, kwargs = list(job.get("args", ())), dict(job.get("kwargs", {}))
    watch = InitWatch()
    optimizers = build.OptimizerWatch(guard)
    model, how = build.build(maker, args, kwargs, watch)
    drawn: Callable[[torch.Tensor], Drawn | None] = watch.of
    live = None
    if how == "cpu":
        from tricklint.trace.extract import measured
        from tricklint.trace.twin import meta_twin

        live, drawn = model, measured
        model = meta_twin(live)
    notes = list(downloads.notes)
    optimizer = _optimizer(job, live if live is not None else model, optimizers, finder, notes)

    def look(export: bool) -> ModelFacts:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            return study(
                model,
                candidates,
                job["target"],
                drawn=drawn,
                optimizer=optimizer,
                source=site_of,
                live=live,
                export=export,
                on_export=lambda: _import_export(guard),
            )

    with torch.device("meta"):
        candidates = _inputs(job, model, finder)
    facts = look(export=False)
    if facts.rung == "tree" and facts.total <= LARGE:
        try:
            facts = real_rung(facts, live if live is not None else _rebuild(maker, args, kwargs), candidates)
        except Exception as error:
            facts.tried.append(f"recorder-cpu: {type(error).__name__}: {one_line(error)}")
    if facts.rung == "tree" and job.get("export", True):
        tried, facts = facts.tried, look(export=True)
        facts.tried = list(dict.fromkeys([*tried, *facts.tried]))
    if facts.eval_only and facts.inputs and facts.total <= SMALL:
        _reach_for_real(facts, live if live is not None else _rebuild(maker, args, kwargs), candidates)
    facts.notes = notes + facts.notes
    if how == "cpu":
        facts.notes.append("built on the CPU: it cannot be built on meta")
    if guard.first:
        facts.notes.append(f"stopped on the way: {guard.first}")
    if stubs.called:
        facts.notes.append(
            f"called stubs of packages that are not installed: {', '.join(sorted(set(stubs.called))[:4])}"
        )
    if facts.optimizer is not None and optimizer is not None:
        facts.optimizer.site = optimizers.sites.get(id(optimizer))
    facts.seconds = round(time.perf_counter() - started, 3)
    send({"facts": facts.to_dict()})
    if _wants_signal(job, facts):
        if live is None:
            live = _rebuild(maker, args, kwargs)
        measure_signal(live, facts, limit=LARGE)
        send(
            {
                "signal": {layer.path: layer.output_std for layer in facts.layers},
                "note": facts.signal_note,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
    elif not facts.signal_note:
        why = f"not measured here: {facts.total / 1e6:.1f} M parameters, {work(facts) / 1e9:.1f} G multiplications"
        send({"signal": {}, "note": why if facts.inputs else "no forward ran", "seconds": facts.seconds})
    stop_clock()


def _import_export(guard: Guard) -> None:
    """torch.export brings torch._dynamo, whose import makes cache folders; it may."""
    mode, guard.mode = guard.mode, "off"
    try:
        import torch._dynamo
        import torch.export  # noqa: F401
    finally:
        guard.mode = mode


def _rebuild(maker: Any, args: list[Any], kwargs: dict[str, Any]) -> nn.Module:
    if isinstance(maker, nn.Module):
        return maker
    return build.build(maker, args, kwargs, None)[0]


def _wants_signal(job: dict[str, Any], facts: ModelFacts) -> bool:
    if job.get("signal") == "never" or not facts.inputs or not facts.layers:
        return False
    if job.get("signal") == "always":
        return facts.total <= LARGE
    from tricklint.trace.judge import DEEP, plain_stack

    deep = len(plain_stack(facts)) >= DEEP
    return facts.total <= (LARGE if deep else SMALL) and work(facts) <= (DEAR if deep else CHEAP)


def _reach_for_real(facts: ModelFacts, real: nn.Module, candidates: list[Inputs]) -> None:
    """Which parameters train mode reaches, by a forward on real tensors where meta had none (masks, sampling)."""
    for option in candidates[:2]:
        meter = Meter(real.train())
        given = like(option, "cpu")
        try:
            with meter:
                output = real(*given.args, **given.kwargs)
            meter.finish(output)
        except Exception:
            continue
        for parameter in facts.parameters:
            if meter.reached is not None and not parameter.frozen:
                parameter.used = any(name in meter.reached for name in (parameter.name, *parameter.tied_to))
        return


def _optimizer(
    job: dict[str, Any], model: nn.Module, watch: build.OptimizerWatch, finder: UserFinder, notes: list[str]
) -> torch.optim.Optimizer | None:
    try:
        if job.get("optimizer"):
            return watch.make(build.resolve(job["optimizer"], finder), model, notes)
        configure = getattr(type(model), "configure_optimizers", None)
        if configure is not None and guard_file(configure):
            return build.first_optimizer(configure(model), notes)
    except Exception as error:
        notes.append(f"no optimizer: {type(error).__name__}: {one_line(error)}")
    return None


def guard_file(function: Any) -> bool:
    """A method of the user's own (LightningModule's own configure_optimizers answers None)."""
    code = getattr(function, "__code__", None)
    return code is not None and "site-packages" not in code.co_filename


def _inputs(job: dict[str, Any], model: nn.Module, finder: UserFinder) -> list[Inputs]:
    wanted = job.get("input")
    if isinstance(wanted, str):
        with torch.device("cpu"):
            return [like(from_example(build.input_values(wanted, finder)), "meta")]
    if wanted:
        try:
            return [from_shapes(wanted)]
        except ValueError as error:
            raise build.BuildError(f"input: {error}") from None
    return list(guesses(model))


def stop_below_the_events(guard: Guard) -> None:
    """What no audit event tells of: multiprocessing's start, and the files that torch opens in C++."""
    import multiprocessing.process

    def start(self: Any) -> None:
        guard._stop("starting a process", always=True)

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, (str, os.PathLike)):
            guard._stop(f"writing {os.fspath(f)}", always=True)

    put(multiprocessing.process.BaseProcess, "start", start)
    put(torch, "save", save)
    put(torch.jit, "save", save)


def failure(error: BaseException, job: dict[str, Any], guard: Guard, finder: UserFinder) -> Failure:
    """One line for whatever went wrong, with the deepest line of the project's own code it went through."""
    site = None
    for frame, row in traceback.walk_tb(error.__traceback__):
        if guard.is_user(frame.f_code.co_filename):
            site = Site(frame.f_code.co_filename, row)
    target = job["target"]
    if isinstance(error, SyntaxError):
        if error.filename:
            site = Site(error.filename, error.lineno or 1)
        return Failure(target, "import", f"it does not parse: {error.msg}", site)
    if isinstance(error, OverTime):
        return Failure(target, "limit", f"not done after {error} (the time limit)", site)
    if isinstance(error, Blocked):
        return Failure(target, "blocked", f"stopped: {error} is not allowed in a trace", site)
    if isinstance(error, SystemExit):
        return Failure(target, "exit", f"it calls sys.exit({error.code!r})", site)
    if isinstance(error, KeyboardInterrupt):
        return Failure(target, "exit", "interrupted", site)
    text = one_line(error)
    if isinstance(error, build.BuildError):
        return Failure(target, error.cause, text, site)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        wanted = next((w for w in str(error).replace(",", " ").split() if w.isdigit() and len(w) > 6), "")
        amount = f" ({int(wanted) / 2**30:.1f} GB at once)" if wanted else ""
        limit = int(job["memory_mb"]) / 1024
        return Failure(target, "memory", f"it wants more than the {limit:g} GB a trace may take{amount}", site)
    if isinstance(error, ModuleNotFoundError):
        return Failure(target, "import", f"cannot import {error.name or text}: no such module", site)
    if isinstance(error, ImportError):
        why = "a circular import" if "circular" in str(error) else "an import failed"
        return Failure(target, "import", f"{why}: {text}", site)
    if isinstance(error, NameError):
        name = getattr(error, "name", "") or ""
        for file, dropped in finder.loaded.items():
            if name in dropped:
                where = f"line {dropped[name]} of {os.path.basename(file)}"
                return Failure(target, "unknown", f"it needs {name}, which {where} makes when the script runs", site)
    if isinstance(error, PermissionError) and guard.first:
        return Failure(target, "blocked", f"stopped: {guard.first}", site)
    if stubs.called:
        return Failure(
            target, "unknown", f"it needs {stubs.called[-1]}, of a package that is not installed ({text})", site
        )
    return Failure(target, "error", f"{type(error).__name__}: {text}", site)


def dumps(message: dict[str, Any]) -> bytes:
    """One line of JSON; infinities and NaN become null."""
    try:
        return json.dumps(message, allow_nan=False).encode() + b"\n"
    except ValueError:
        return json.dumps(json.loads(json.dumps(message), parse_constant=lambda _: None)).encode() + b"\n"
