"""Many seeds of one variant in one program: parameters stacked in a leading dimension, one `vmap`ped step for all.

Equal to the plain loop within rounding; used only where five timed steps show that it is faster (`faster`). Optimizers
of torch.optim work entry by entry, so one optimizer over the stacked tensors is one a run, as all runs of a stack share
their learning rate and decay.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from tricklint.verify.recipes.base import EVALUATIONS, Data, Recipe, batches, evaluation, pick_device, summary
from tricklint.verify.runner.record import reset_peak

TIMED = 5


class CannotStack(Exception):
    """This variant cannot be stacked; the message says why."""


class Stack:
    """`seeds` runs of one variant, trained together."""

    def __init__(
        self,
        recipe: Recipe,
        variant: str,
        seeds: list[int],
        lr_scale: float,
        device: torch.device,
        folder: Path | None,
        compiled: bool = False,
    ) -> None:
        if type(recipe).before_step is not Recipe.before_step:
            raise CannotStack("the recipe changes its optimizer in mid-training")
        if type(recipe).memory is not Recipe.memory:
            raise CannotStack("the recipe limits the memory of one run")
        models = [recipe.model(variant, seed, folder).to(device) for seed in seeds]
        for module in models[0].modules():
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
                raise CannotStack("dropout masks cannot be those of the plain runs")
        self.recipe, self.models, self.device = recipe, models, device
        self.names = [name for name, p in models[0].named_parameters() if p.requires_grad]
        stacked: dict[str, Tensor] = {}
        for name, _ in [*models[0].named_parameters(), *models[0].named_buffers()]:
            entries = [dict(_tensors(m))[name].detach() for m in models]
            stacked[name] = torch.stack(entries).clone()
        self.parameters = {name: stacked[name].requires_grad_() for name in self.names}
        self.fixed = {name: tensor for name, tensor in stacked.items() if name not in self.parameters}
        self.optimizer = self._optimizer(variant, models[0], lr_scale)
        self.skeleton = copy.deepcopy(models[0]).to("meta")
        self.skeleton.train()
        step = vmap(grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, 0, 0), randomness="error")
        self.step_function = torch.compile(step, dynamic=False) if compiled else step

    def _optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        """The variant's own optimizer over the stacked parameters, with its very groups."""
        own = self.recipe.optimizer(variant, model, lr_scale)
        name_of = {id(p): name for name, p in model.named_parameters()}
        groups = [
            {**group, "params": [self.parameters[name_of[id(p)]] for p in group["params"]]}
            for group in own.param_groups
        ]
        known = inspect.signature(type(own)).parameters  # AdamW's defaults hold more than it takes
        return type(own)(groups, **{name: value for name, value in own.defaults.items() if name in known})

    def _loss(
        self, parameters: dict[str, Tensor], fixed: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, Any]:
        # Buffers are replaced in place by batch norm; they come back as auxiliary outputs.
        buffers = {name: tensor.clone() for name, tensor in fixed.items()}
        outputs = functional_call(self.skeleton, {**parameters, **buffers}, (x,))
        return self.recipe.loss(outputs, y), buffers

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on x (runs, batch, …) and y (runs, batch); returns losses (runs,)."""
        detached = {name: p.detach() for name, p in self.parameters.items()}
        gradients, (losses, buffers) = self.step_function(detached, self.fixed, x, y)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self.optimizer.step()
        self.fixed = {name: tensor.detach() for name, tensor in buffers.items()}
        return losses.detach()  # type: ignore[no-any-return]

    def model(self, run: int) -> nn.Module:
        """Run number `run` as an ordinary module, with its weights as they are now."""
        model = self.models[run]
        with torch.no_grad():
            for name, tensor in _tensors(model):
                tensor.copy_({**self.parameters, **self.fixed}[name][run])
        return model


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def train_stack(
    recipe: Recipe,
    variant: str,
    seeds: list[int],
    steps: int | None = None,
    lr_scale: float = 1.0,
    device: torch.device | None = None,
    folder: str | None = None,
    compiled: bool = False,
) -> list[dict[str, Any]]:
    """Train all `seeds` of a variant together; one record a seed, in order. Raises CannotStack."""
    started = time.perf_counter()
    device = device or pick_device()
    steps = steps or recipe.steps
    data = recipe.data().to(device)
    stack = Stack(recipe, variant, seeds, lr_scale, device, Path(folder) if folder else None, compiled)
    orders = [batches(len(data.x), recipe.batch, steps, seed) for seed in seeds]
    marks = {round(steps * (i + 1) / EVALUATIONS) for i in range(EVALUATIONS)}
    losses: list[Tensor] = []
    times: list[float] = []
    series: list[dict[str, list[float]]] = [{} for _ in seeds]
    reset_peak()
    began = time.perf_counter()
    for step in range(1, steps + 1):
        begin = time.perf_counter()
        index = torch.stack([next(order) for order in orders]).to(device)
        losses.append(stack.step(data.x[index], data.y[index]))
        times.append((time.perf_counter() - begin) / len(seeds))
        if step in marks:
            for run, seen in enumerate(series):
                for name, value in evaluation(recipe, stack.model(run), data).items():
                    seen.setdefault(name, []).append(value)
    table = torch.stack(losses).cpu()
    if device.type != "cpu":
        times = [(time.perf_counter() - began) / (steps * len(seeds))]  # launches return before their work is done
    engine = "stacked, compiled" if compiled else "stacked"
    records = [
        summary([float(v) for v in table[:, run]], times, series[run], started, engine=engine)
        for run in range(len(seeds))
    ]
    for record in records:
        record["wall_s"] /= len(seeds)
        if "cuda" in record["memory"]:  # the tensors of all runs together
            record["memory"] = {**record["memory"], "cuda": record["memory"]["cuda"] / len(seeds)}
    return records


def run_many(
    recipe: str,
    variant: str,
    seeds: list[int],
    steps: int | None = None,
    lr_scale: float = 1.0,
    device: str = "auto",
    folder: str | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """`train_stack` by name, for an engine: {"runs": [record, …]}."""
    from tricklint.verify.recipes import load

    torch.set_num_threads(1)
    return {"runs": train_stack(load(recipe), variant, seeds, steps, lr_scale, pick_device(device), folder, compiled)}


def seconds_a_step(
    recipe: Recipe, variant: str, seeds: list[int], device: torch.device, folder: str | None, kind: str
) -> float:
    """Seconds that one step of one run takes, the best of five: `kind` is "plain", "stacked" or "compiled"."""
    data: Data = recipe.data().to(device)
    where = Path(folder) if folder else None
    best = math.inf
    if kind == "plain":
        model = recipe.model(variant, seeds[0], where).to(device)
        optimizer = recipe.optimizer(variant, model, 1.0)
        for index in batches(len(data.x), recipe.batch, TIMED + 1, seeds[0]):
            begin = _now(device)
            optimizer.zero_grad()
            recipe.loss(model(data.x[index.to(device)]), data.y[index.to(device)]).backward()
            optimizer.step()
            best = min(best, _now(device) - begin)
        return best
    stack = Stack(recipe, variant, seeds, 1.0, device, where, kind == "compiled")
    orders = [batches(len(data.x), recipe.batch, TIMED + 1, seed) for seed in seeds]
    for _ in range(TIMED + 1):
        index = torch.stack([next(order) for order in orders]).to(device)
        begin = _now(device)
        stack.step(data.x[index], data.y[index])
        best = min(best, _now(device) - begin)
    return best / len(seeds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def time_engines(
    recipe: str,
    variant: str,
    seeds: list[int],
    device: str = "auto",
    folder: str | None = None,
    kinds: tuple[str, ...] = ("plain", "stacked"),
) -> dict[str, Any]:
    """Seconds a step of each way that works for this variant: {"plain": …, "stacked": …}; reasons under "refused"."""
    from tricklint.verify.recipes import load

    torch.set_num_threads(1)
    found: dict[str, Any] = {"refused": {}}
    for kind in kinds:
        try:
            found[kind] = seconds_a_step(load(recipe), variant, seeds, pick_device(device), folder, kind)
        except CannotStack as error:
            found["refused"][kind] = str(error)
        except Exception as error:  # vmap knows no rule for some operation, no compiler on this machine …
            found["refused"][kind] = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return found
