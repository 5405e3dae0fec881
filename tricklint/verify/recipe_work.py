"""Recipes as the work of a session: which runs go together, and what the runner is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tricklint.verify.engines import Payload
from tricklint.verify.plan import Plan, Task, Variant
from tricklint.verify.recipes.base import Recipe

COMPILING = 60.0  # seconds that torch.compile takes for the step of a deep net, to be paid by each variant


def plan_of(
    recipe: Recipe, seeds: int, steps: int | None, scales: tuple[float, ...], select: Sequence[str] = ()
) -> Plan:
    """The plan of a recipe: its variants (or the baseline and those in `select`)."""
    names = list(recipe.variants)
    unknown = [name for name in select if name not in names]
    if unknown:
        raise ValueError(f"{recipe.name} has no variant {unknown[0]!r}; it has: {', '.join(names)}")
    kept = [name for name in names if name == names[0] or not select or name in select]
    ladder = tuple(name for name in recipe.ladder if name in kept)
    variants = tuple(
        Variant(name, recipe.variants[name], "baseline" if name == names[0] else "alone", recipe.rules) for name in kept
    )
    command = f"tricklint verify --recipe {recipe.name} --seeds {seeds}"
    command += f" --steps {steps}" if steps else ""
    command += f" --lr-scale {','.join(f'{s:g}' for s in scales)}" if scales != (1.0,) else ""
    command += f" --select {','.join(select)}" if select else ""
    return Plan(f"{recipe.name}: {recipe.title}", command, variants, ladder, seeds, steps or recipe.steps, scales)


class RecipeWork:
    """`stack` says for each variant how many seeds one job trains together (1: the plain loop)."""

    metric_pattern: str | None = None

    def __init__(self, recipe: Recipe, folder: Path, oom_guard: str = "accumulate", device: str = "auto") -> None:
        self.recipe, self.folder, self.oom_guard, self.device = recipe, folder, oom_guard, device
        self.stack: dict[str, int] = {}
        self.compiled: dict[str, bool] = {}

    def groups(self, tasks: Sequence[Task]) -> list[list[Task]]:
        groups: list[list[Task]] = []
        open_: dict[tuple[str, float], list[Task]] = {}
        for task in tasks:
            size = self.stack.get(task.variant, 1)
            group = open_.get((task.variant, task.lr_scale))
            if group is None or len(group) >= size:
                group = open_[(task.variant, task.lr_scale)] = []
                groups.append(group)
            group.append(task)
        return groups

    def payload(self, tasks: Sequence[Task], plan: Plan, pieces: int) -> Payload:
        from tricklint.verify.session import safe

        first = tasks[0]
        name = f"{safe(first.variant)}-{first.seed}-{first.lr_scale:g}"
        common = {
            "recipe": self.recipe.name,
            "variant": first.variant,
            "steps": plan.steps,
            "lr_scale": first.lr_scale,
            "device": self.device,
            "folder": str(self.folder / "work"),
        }
        if len(tasks) > 1:
            target = "tricklint.verify.recipes.stacked:run_many"
            arguments = {
                **common,
                "seeds": [t.seed for t in tasks],
                "compiled": self.compiled.get(first.variant, False),
            }
        else:
            target = "tricklint.verify.recipes.base:run_one"
            arguments = {**common, "seed": first.seed, "oom_guard": self.oom_guard}
        return {
            "id": name,
            "kind": "call",
            "target": target,
            "arguments": arguments,
            "path": [str(Path(__file__).resolve().parents[2])],
            "record": str(self.folder / "work" / f"{name}.json"),
            "stdout": str(self.folder / "logs" / f"{name}.out"),
            "stderr": str(self.folder / "logs" / f"{name}.err"),
        }

    def cleanup(self, tasks: Sequence[Task]) -> list[str]:
        """A recipe leaves nothing behind."""
        return []

    def memory(self) -> str:
        """One line: what a step of the baseline needs by the estimate on the meta device, and what is free."""
        from tricklint.verify.memory import free_bytes, step_bytes
        from tricklint.verify.proofs import size
        from tricklint.verify.recipes.base import pick_device

        recipe, variant = self.recipe, next(iter(self.recipe.variants))
        data = recipe.data()
        model = recipe.model(variant, 0, self.folder / "work")
        x, y = data.x[: recipe.batch], data.y[: recipe.batch]
        free = free_bytes(pick_device(self.device))
        return f"memory: about {size(step_bytes(model, recipe.loss, x, y, 2))} a step (estimate), {size(free)} free"

    def choose_engines(
        self, variants: Sequence[str], seeds: int, steps: int = 0, workers: int = 1, compiled: bool = False
    ) -> dict[str, dict[str, float]]:
        """Time five steps of each way, and stack the variants that can be where all runs are so over a tenth sooner,
        `workers` jobs at a time: a stack is one job, plain runs are many. With `compiled` that way is timed too, where
        the runs take longer than compiling does. Returns seconds a step of each way that was timed."""
        from tricklint.verify.recipes.stacked import time_engines

        together = list(range(min(seeds, 8)))
        jobs = {"plain": len(variants) * seeds, "stacked": len(variants) * math.ceil(seeds / len(together))}
        jobs["compiled"] = jobs["stacked"]
        found: dict[str, dict[str, float]] = {variant: {} for variant in variants}

        def time_all(*kinds: str) -> None:
            for variant, known in found.items():
                times = time_engines(self.recipe.name, variant, together, self.device, str(self.folder / "work"), kinds)
                known |= {kind: times[kind] for kind in kinds if kind in times}

        def cost(kind: str) -> float:
            """Seconds that a step of every run takes this way, and plainly where a variant cannot go it."""
            taken = [kind if kind in known else "plain" for known in found.values()]
            return sum(known[way] / min(workers, jobs[way]) for known, way in zip(found.values(), taken))

        time_all("plain", "stacked")
        stackable = [variant for variant, known in found.items() if "stacked" in known]
        best = min(("plain", "stacked"), key=cost)
        if compiled and stackable and cost(best) * steps * seeds > COMPILING * len(variants):
            time_all("compiled")
            best = min((best, "compiled"), key=cost)
        if cost(best) < 0.9 * cost("plain"):
            self.stack = dict.fromkeys(stackable, len(together))
            self.compiled = {variant: best == "compiled" and best in found[variant] for variant in stackable}
        return found
