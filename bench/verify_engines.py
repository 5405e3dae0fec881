"""How much faster the local engine is than the plain sequential loop, and which way to step wins. Nothing here is a test.

    python bench/verify_engines.py engine --recipe vgg-digits --seeds 8 --steps 150     # bar: 1.8 x on two cores
    python bench/verify_engines.py steps                                                # five timed steps of each way

The plain loop trains one run after the other in one process (with one thread, and with as many as torch takes; the
faster counts, and only that one is made again in the rounds after the first). The engine makes the same runs in processes of one thread each. Both are given with and without what
they pay once (importing torch, starting servers). Rounds alternate, the best of each counts, and the load is printed:
on a busy machine only rounds with little load say much.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = """
import json, sys, time
start = time.perf_counter()
import torch
torch.set_num_threads(int(sys.argv[1]))
from tricklint.verify.recipes import load
from tricklint.verify.recipes.base import train
recipe = load(sys.argv[2])
recipe.data()
ready = time.perf_counter()
losses = []
for seed in range(int(sys.argv[3])):
    for variant in sys.argv[5].split(","):
        losses.append(train(recipe, variant, seed, int(sys.argv[4]), folder=sys.argv[6])["phases"][0]["losses"][-1])
print(json.dumps({"all": time.perf_counter() - start, "runs": time.perf_counter() - ready, "losses": losses}))
"""


def load() -> float:
    return os.getloadavg()[0]


def plain(recipe: str, seeds: int, steps: int, variants: list[str], threads: int, folder: str) -> dict:
    command = [sys.executable, "-c", PLAIN, str(threads), recipe, str(seeds), str(steps), ",".join(variants), folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def engine(recipe_name: str, seeds: int, steps: int, variants: list[str], folder: Path) -> dict:
    from tricklint.verify.cli import _preload
    from tricklint.verify.engines.local import LocalEngine
    from tricklint.verify.recipe_work import RecipeWork, plan_of
    from tricklint.verify.recipes import load as load_recipe
    from tricklint.verify.session import Session

    start = time.perf_counter()
    recipe = load_recipe(recipe_name)
    plan = plan_of(recipe, seeds, steps, (1.0,), variants[1:])
    path = [str(Path(__file__).resolve().parents[1])]
    warm = [("tricklint.verify.recipes.base:warm", {"recipe": recipe_name, "folder": str(folder / "work")})]
    runner = LocalEngine(None, None, _preload(recipe_name), path, warm=warm)
    session = Session(folder, plan, RecipeWork(recipe, folder), runner)
    (folder / "work").mkdir(exist_ok=True)
    recipe.prepare(folder / "work")
    ends: list[float] = []
    begins: list[float] = []

    def done(run: object) -> None:
        ends.append(time.perf_counter())
        begins.append(ends[-1] - run.wall_s)  # type: ignore[attr-defined]

    session.run(session.missing(), done)
    runner.close()
    keys = [(v, s, 1.0) for s in range(seeds) for v in variants]
    losses = [session.ledger.runs[k].losses[0][-1] for k in keys]
    return {"all": time.perf_counter() - start, "runs": max(ends) - min(begins), "losses": losses}


def compare(recipe: str, seeds: int, steps: int, rounds: int) -> None:
    from tricklint.verify.engines.local import cores
    from tricklint.verify.recipes import load as load_recipe

    names = list(load_recipe(recipe).variants)[:2]
    best: dict[str, dict] = {}
    ratios: list[float] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "weights").mkdir()
            load_recipe(recipe).prepare(folder / "weights")
            kinds = {
                "plain, 1 thread": lambda f=folder: plain(recipe, seeds, steps, names, 1, str(f / "weights")),
                f"plain, {cores()} threads": lambda f=folder: plain(
                    recipe, seeds, steps, names, cores(), str(f / "weights")
                ),
                f"engine, {cores()} processes": lambda f=folder: engine(recipe, seeds, steps, names, f / "session"),
            }
            latest: dict[str, float] = {}
            plains = [kind for kind in best if kind.startswith("plain")]
            slower = max(plains, key=lambda kind: best[kind]["runs"], default=None) if len(plains) == 2 else None
            for kind, measure in kinds.items():
                if kind == slower:
                    continue
                before = load()
                found = measure()
                latest[kind] = found["runs"]
                print(
                    f"round {number + 1}  {kind:22} {found['runs']:7.2f} s of training, {found['all']:7.2f} s in all"
                    f"   (load before: {before:.1f})",
                    flush=True,
                )
                if kind not in best or found["runs"] < best[kind]["runs"]:
                    best[kind] = found
            pair = (
                min(latest[kind] for kind in latest if kind.startswith("plain")),
                latest[f"engine, {cores()} processes"],
            )
            ratios.append(pair[0] / pair[1])
    one, many, ours = best.values()
    sequential = min(one, many, key=lambda found: found["runs"])
    runs = len(names) * seeds
    print(f"{recipe}: {runs} runs of {steps} steps, best of {rounds} rounds")
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"  training  {sequential['runs'] / ours['runs']:.2f} x the plain sequential loop (bar: 1.8); rounds: {each}")
    print(f"  in all    {min(one['all'], many['all']) / ours['all']:.2f} x, with imports and the start of servers")
    print(f"  bit-equal to the plain loop with one thread: {one['losses'] == ours['losses']}")


def steps() -> None:
    from tricklint.verify.recipes import CATALOGUE
    from tricklint.verify.recipes import load as load_recipe
    from tricklint.verify.recipes.stacked import time_engines

    print(f"milliseconds a step of one run, the best of five; load {load():.1f}")
    with tempfile.TemporaryDirectory() as place:
        for name in CATALOGUE:
            recipe = load_recipe(name)
            recipe.prepare(Path(place))
            found = time_engines(name, next(iter(recipe.variants)), list(range(8)), folder=place)
            shown = ", ".join(f"{k} {1000 * v:.2f}" for k, v in found.items() if k != "refused")
            refused = "; ".join(f"{k}: {why}" for k, why in found["refused"].items())
            print(f"{name:16} {shown}" + (f"   ({refused})" if refused else ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["engine", "steps"])
    parser.add_argument("--recipe", default="vgg-digits")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "steps":
        steps()
    else:
        compare(given.recipe, given.seeds, given.steps, given.rounds)


if __name__ == "__main__":
    main()
