"""How much faster the local engine is than the plain sequential loop, and which way to step wins. Nothing here is a test.

    python bench/verify_engines.py engine --recipe vgg-digits --seeds 8 --steps 150     # bar: 1.8 x on two cores
    python bench/verify_engines.py steps                                                # five timed steps of each way

The plain loop trains one run after the other in one process: with one thread, and with as many as torch takes. The
engine makes the same runs in processes of one thread each. All are given with and without what they pay once (importing
torch, starting servers). Rounds alternate, and the load is printed: on a busy machine only rounds with little load say
much.
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
    (folder / "work").mkdir(parents=True, exist_ok=True)
    recipe.prepare(folder / "work")
    first = plan_of(recipe, runner.workers, 1, (1.0,), variants[1:2])
    Session(folder / "first", first, RecipeWork(recipe, folder), runner).run(first.tasks())  # every server is up now
    session = Session(folder, plan, RecipeWork(recipe, folder), runner)
    ready = time.perf_counter()
    session.run(session.missing())
    runs = time.perf_counter() - ready
    runner.close()
    keys = [(v, s, 1.0) for s in range(seeds) for v in variants]
    losses = [session.ledger.runs[k].losses[0][-1] for k in keys]
    return {"all": time.perf_counter() - start, "runs": runs, "losses": losses}


def compare(recipe: str, seeds: int, steps: int, rounds: int) -> None:
    from tricklint.verify.engines.local import cores
    from tricklint.verify.recipes import load as load_recipe

    names = list(load_recipe(recipe).variants)[:3]
    one, many, ours = "plain, 1 thread", f"plain, {cores()} threads", f"engine, {cores()} processes"
    found: dict[str, list[dict]] = {one: [], many: [], ours: []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "weights").mkdir()
        load_recipe(recipe).prepare(folder / "weights")
        for number in range(rounds):
            for kind, results in found.items():
                before = load()
                if kind == ours:
                    results.append(engine(recipe, seeds, steps, names, folder / f"session{number}"))
                else:
                    threads = 1 if kind == one else cores()
                    results.append(plain(recipe, seeds, steps, names, threads, str(folder / "weights")))
                print(
                    f"round {number + 1}  {kind:22} {results[-1]['runs']:7.2f} s of training, "
                    f"{results[-1]['all']:7.2f} s in all   (load before: {before:.1f})",
                    flush=True,
                )
    print(
        f"{recipe}: {len(names) * seeds} runs of {steps} steps; ratios of the best of {rounds} rounds, and of each round"
    )
    for kind in (one, many):
        best = min(r["runs"] for r in found[kind]) / min(r["runs"] for r in found[ours])
        each = ", ".join(f"{a['runs'] / b['runs']:.2f}" for a, b in zip(found[kind], found[ours]))
        whole = min(r["all"] for r in found[kind]) / min(r["all"] for r in found[ours])
        print(f"  {best:.2f} x the sequential loop ({kind}); rounds: {each}; {whole:.2f} x with imports and servers")
    print(f"  bit-equal to the plain loop with one thread: {found[one][0]['losses'] == found[ours][0]['losses']}")


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
