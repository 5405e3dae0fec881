"""How many real models --trace understands, how fast, and whether what it says is true.

    python bench/trace_models.py [--python ENV/bin/python] [--library timm] [--json FILE]     coverage and time
    ENV/bin/python bench/trace_models.py --truth                                               30 models, real backward
    ENV/bin/python bench/trace_models.py --surgery                                             30 models, operated on

ENV holds torch, torchvision, timm, segmentation-models-pytorch, monai and transformers; libraries it lacks are left
out and named. Nothing is downloaded: every model is built from its configuration.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from trace_zoo.zoo import targets  # noqa: E402

from tricklint.trace.client import Worker  # noqa: E402
from tricklint.trace.facts import Failure, ModelFacts  # noqa: E402


def row(library: str, result: ModelFacts | Failure) -> str:
    if isinstance(result, Failure):
        return f"{library:<13}{result.target:<38}{'—':<13}{'':>7}{'':>10}  {result.cause}: {result.message}"
    heads = ", ".join(f"{h.path or '(itself)'}[{h.classes}]" for h in result.heads) or f"none: {result.head_reason}"
    why = "" if result.rung in ("fx", "recorder") else (result.tried or [""])[-1]
    text = f"{heads[:60]}" + (f"  | {why}" if result.rung == "tree" else "")
    mark = "" if result.complete else "  INCOMPLETE"
    size = f"{result.total / 1e6:>9.2f}M"
    return f"{library:<13}{result.target:<38}{result.rung:<13}{result.seconds:>7.2f}{size}  {text}{mark}"


def coverage(options: argparse.Namespace) -> int:
    chosen = [(lib, t) for lib, t in targets() if not options.library or lib in options.library]
    if options.only:
        chosen = [(lib, t) for lib, t in chosen if options.only in t.name]
    results: list[tuple[str, ModelFacts | Failure]] = []
    with Worker(
        Path(__file__).parent, python=options.python, keep=False, seconds=options.seconds, signal=options.signal
    ) as worker:
        started = worker.start()
        worker.preload({"torchvision", "timm", "segmentation_models_pytorch", "monai", "transformers"})
        print(f"worker started in {started:.1f} s, torch {worker.torch}\n")
        print(f"{'library':<13}{'model':<38}{'rung':<13}{'s':>7}{'params':>10}  head")
        for library, target in chosen:
            result = worker.trace(target)
            results.append((library, result))
            print(row(library, result), flush=True)
    facts = [r for _, r in results if isinstance(r, ModelFacts)]
    graphs = [f for f in facts if f.rung != "tree"]
    complete = [f for f in graphs if f.complete]
    print(f"\nmodels {len(results)}")
    print(f"graph {len(graphs)}/{len(results)} = {len(graphs) / len(results):.1%} (bar 97 %)")
    print(f"facts complete {len(complete)}/{len(results)} = {len(complete) / len(results):.1%} (bar 90 %)")
    clock, cpu = [f.seconds for f in facts], [f.cpu_seconds for f in facts]
    print(f"median {statistics.median(clock):.2f} s a model (bar 0.5), max {max(clock):.1f}")
    print(f"median {statistics.median(cpu):.2f} s of CPU, max {max(cpu):.1f} (what an idle machine would take)")
    print("rungs", dict(Counter(f.rung for f in facts)))
    print(
        "memory known",
        sum(f.memory is not None for f in facts),
        "signal measured",
        sum(any(x.output_std for x in f.layers) for f in facts),
    )
    if options.json:
        Path(options.json).write_text(json.dumps([r.to_dict() for _, r in results], indent=1))
    return 0 if len(graphs) >= 0.97 * len(results) and len(complete) >= 0.9 * len(results) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--library", action="append")
    parser.add_argument("--only", help="models whose name holds this")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--signal", default="auto", choices=("auto", "always", "never"))
    parser.add_argument("--json")
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--surgery", action="store_true")
    options = parser.parse_args()
    if options.truth or options.surgery:
        from trace_zoo import proof

        return proof.truth() if options.truth else proof.operate()
    return coverage(options)


if __name__ == "__main__":
    raise SystemExit(main())
