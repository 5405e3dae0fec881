"""What one run did: every optimizer step's loss, times, memory, divergence. Written by hooks, not by the script."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from typing import Any

DIVERGED_AFTER = 20  # steps in a row with a loss that is no number
LOADERS_AT = 2  # the step at which loaders' workers are counted
CHUNK = 64  # on an accelerator losses are read back so many steps at a time: reading one makes the device wait


class StopTraining(BaseException):
    """Ends a script after its share of steps. Not an Exception, so that `except Exception` lets it through."""


class Diverged(StopTraining):
    """The loss has not been a number for a while."""


class Phase:
    """The steps of one optimizer, in the order in which optimizers first step."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer  # held, so that its id is not given to another
        self.name = type(optimizer).__name__
        self.losses: list[Any] = []
        self.times: list[float] = []
        self.read = 0
        self.asynchronous = asynchronous(optimizer)
        self.lost = 0  # steps in a row whose loss is no number

    def values(self) -> list[float]:
        while self.read < len(self.losses):
            value = self.losses[self.read]
            self.losses[self.read] = float(value) if value is not None else math.nan
            self.read += 1
        return self.losses


class Recorder:
    """Hooks on `backward` and on every optimizer's step."""

    def __init__(self, steps: int | None = None) -> None:
        self.limit = steps
        self.steps = 0
        self.phases: list[Phase] = []
        self.pending: Any = None
        self.backwards = 0
        self.last = self.synchronised = time.perf_counter()
        self.launched: list[tuple[Phase, int]] = []  # steps that an accelerator may not have finished
        self.loaders: dict[str, float] = {}
        self.output: list[
            tuple[int, int, int]
        ] = []  # (steps made, bytes on stdout, on stderr) whenever more was printed
        self.ends: Any = None  # called with the StopTraining instead of raising it
        self.at_start: list[Any] = []  # called once, before the first step
        self.after_step: list[Any] = []
        self.before_backward: list[Any] = []

    def install(self) -> None:
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        register_optimizer_step_pre_hook(self._steps)
        register_optimizer_step_post_hook(self._stepped)
        plain = torch.autograd.backward
        recorder = self

        @functools.wraps(plain)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            recorder._backward(tensors)
            plain(tensors, *args, **kwargs)

        torch.autograd.backward = backward
        scaler = getattr(torch.amp, "GradScaler", None)
        if scaler is not None:
            scale = scaler.scale

            @functools.wraps(scale)
            def unscaled(self: Any, outputs: Any) -> Any:
                result = scale(self, outputs)
                if isinstance(outputs, torch.Tensor) and result is not outputs:
                    result._tricklint_loss = outputs.detach()
                return result

            scaler.scale = unscaled

    def _backward(self, tensors: Any) -> None:
        import torch

        self.backwards += 1
        for call in self.before_backward:
            call(tensors)
        tensor = tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors), None)
        if not isinstance(tensor, torch.Tensor) or tensor.numel() != 1:
            return
        loss = getattr(tensor, "_tricklint_loss", tensor).detach()
        value: Any = loss.clone() if loss.device.type != "cpu" else loss.item()
        self.pending = value if self.pending is None else self.pending + value

    def _steps(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Before a step. A run ends here, not after its last step: what is evaluated then still belongs to it."""
        sizes = printed()
        if not self.output or sizes != self.output[-1][1:]:
            self.output.append((self.steps, *sizes))
        if self.at_start and not self.steps:
            calls, self.at_start = self.at_start, []
            for call in calls:
                call()
        if self.limit is not None and self.steps >= self.limit:
            self._end(StopTraining())

    def _end(self, error: StopTraining) -> None:
        if self.ends is not None:
            self.ends(error)
        raise error

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        phase = self.phases[-1] if self.phases else None
        if phase is None or phase.optimizer is not optimizer:
            phase = next((p for p in reversed(self.phases) if p.optimizer is optimizer), None)
            if phase is None:
                phase = Phase(optimizer)
                self.phases.append(phase)
        now = time.perf_counter()
        loss = self.pending
        phase.losses.append(loss)
        phase.times.append(now - self.last)
        self.last = now
        self.pending = None
        self.steps += 1
        if phase.asynchronous:
            self.launched.append((phase, len(phase.times) - 1))
            # The first step alone: it holds what came before the loop, and what is built or tuned once.
            if self.steps == 1 or len(self.launched) >= CHUNK:
                self.synchronise()
        if self.steps == LOADERS_AT:
            self.loaders = loaders()
        for call in self.after_step:
            call(self.steps)
        if isinstance(loss, float):
            phase.lost = 0 if math.isfinite(loss) else phase.lost + 1
            phase.read += phase.read == len(phase.losses) - 1
        elif loss is None or len(phase.losses) - phase.read >= CHUNK:
            last = phase.values()[-DIVERGED_AFTER:]
            phase.lost = 0 if any(map(math.isfinite, last)) else len(last)
        if phase.lost >= DIVERGED_AFTER and self.backwards:
            self._end(Diverged())

    def synchronise(self) -> None:
        """Wait for the accelerator, and let the steps since it was last waited for take the time that they really
        took: a launch says nothing about the step itself."""
        if not self.launched:
            return
        synchronize()
        now = time.perf_counter()
        apparent = sum(phase.times[i] for phase, i in self.launched)
        for phase, i in self.launched:
            phase.times[i] *= (now - self.synchronised) / apparent if apparent > 0 else 1.0
        self.launched, self.last, self.synchronised = [], now, now

    def printed_by(self) -> dict[str, list[list[int]]]:
        """For stdout and stderr: [steps made, bytes printed by the next step] whenever it grew; the rest came after the
        last step."""
        found: dict[str, list[list[int]]] = {"stdout": [], "stderr": []}
        for steps, *sizes in self.output:
            for name, size in zip(found, sizes):
                if not found[name] or found[name][-1][1] != size:
                    found[name].append([steps, size])
        return found

    def summary(self) -> dict[str, Any]:
        self.synchronise()
        phases: list[dict[str, Any]] = []
        for phase in self.phases:
            values = phase.values()
            times = sorted(phase.times[1:] or phase.times)
            phases.append(
                {
                    "name": phase.name,
                    "losses": [v if math.isfinite(v) else None for v in values],
                    "step_s": times[len(times) // 2] if times else None,
                }
            )
        first = self.phases[0].times[0] if self.phases else 0.0
        lost = any(v is None for phase in phases for v in phase["losses"]) and self.backwards > 0
        return {
            "steps": self.steps,
            "backwards": self.backwards,
            "phases": phases,
            "start_s": first,
            "non_finite": lost,
        }


def asynchronous(optimizer: Any) -> bool:
    """Whether an optimizer's steps are only launched: its parameters are on an accelerator."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return bool(parameters) and parameters[0].device.type not in ("cpu", "meta")


def synchronize() -> None:
    """Wait until the accelerator has done what was launched."""
    import torch

    if hasattr(torch, "accelerator"):
        torch.accelerator.synchronize()
    elif torch.cuda.is_available():
        torch.cuda.synchronize()


def loaders() -> dict[str, float]:
    """The worker processes of DataLoaders that are alive now, and the bytes that are theirs alone."""
    import multiprocessing

    found = [process for process in multiprocessing.active_children() if process.daemon]
    if not found:
        return {}
    own = 0.0
    for process in found:
        try:
            with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file if ":" in line)
            own += 1024.0 * sum(float(lines[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
        except (OSError, KeyError, ValueError):
            continue
    return {"loaders": float(len(found)), "loaders_rss": own}


def printed() -> tuple[int, int]:
    """How many bytes this run has written to its stdout and stderr, as far as they are files."""
    return _offset(1), _offset(2)


def _offset(stream: int) -> int:
    try:
        return os.lseek(stream, 0, os.SEEK_CUR)
    except OSError:
        return 0


def reset_peak() -> None:
    """Start the peak of resident memory anew: a forked child inherits its parent's."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def peak_memory() -> dict[str, float]:
    """Peak bytes: resident memory of this process, and of the accelerator's tensors where one was used."""
    result: dict[str, float] = {}
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        result["rss"] = float(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            import resource

            result["rss"] = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (
                1 if sys.platform == "darwin" else 1024
            )
        except ImportError:
            pass
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        reserved = [torch.cuda.max_memory_reserved(i) for i in range(torch.cuda.device_count())]
        used = max(range(len(reserved)), key=reserved.__getitem__)
        result["cuda"] = float(torch.cuda.max_memory_allocated(used))
        result["reserved"] = float(reserved[used])
        result["cards"] = float(sum(bytes_ > 0 for bytes_ in reserved))
        result["card_total"] = float(torch.cuda.get_device_properties(used).total_memory)
        result["device"] = torch.cuda.get_device_name(used)
    return result


def project_files(root: str) -> list[str]:
    """The project's files that this run imported, relative to the copy."""
    root = os.path.realpath(root) + os.sep
    found = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and os.path.isabs(path) and os.path.realpath(path).startswith(root):
            found.add(os.path.realpath(path)[len(root) :])
    return sorted(found)


def third_party() -> list[str]:
    """Top-level packages from site-packages that this run imported: worth importing once, before the fork."""
    found = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if "." not in name and not name.startswith("_") and "site-packages" in path and "tricklint" not in path:
            found.add(name)
    return sorted(found)
