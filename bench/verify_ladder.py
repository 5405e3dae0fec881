"""The slides' ladder redone: keep a recipe's results and its chart under bench/results/.

    tricklint verify --recipe vgg-digits --yes --output out/
    python bench/verify_ladder.py out/.tricklint/verify/<time>/

Writes <recipe>.csv (one row a run), <recipe>.json (verdicts, machine, versions) and <recipe>.svg/.png (the ladder).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def keep(folder: Path, target: Path = RESULTS) -> list[Path]:
    """Copy the tables of a session and draw its ladder. Returns the files written."""
    from tricklint.verify.analysis import analyse
    from tricklint.verify.plan import Plan
    from tricklint.verify.recipes import load
    from tricklint.verify.records import Ledger
    from tricklint.verify.report import charts

    saved = json.loads((folder / "plan.json").read_text())
    plan, recipe = Plan.from_json(saved["plan"]), load(saved["about"]["recipe"])
    metrics, higher, margin = recipe.metrics, recipe.higher_is_better, saved["wishes"]["margin"]
    analysis = analyse(plan, Ledger(folder / "results.jsonl").runs, metrics, higher, margin, all_metrics=True)
    target.mkdir(exist_ok=True)
    shutil.copy(folder / "results.csv", target / f"{recipe.name}.csv")
    value = json.loads((folder / "results.json").read_text())
    value.pop("runs")  # they are in the table
    (target / f"{recipe.name}.json").write_text(json.dumps(value, indent=1) + "\n")
    for kind in ("svg", "png"):
        figure = charts.ladder(analysis, metrics[0], recipe.ladder)
        figure.savefig(target / f"{recipe.name}.{kind}", bbox_inches="tight", dpi=150, metadata={})
    return sorted(target.glob(f"{recipe.name}.*"))


if __name__ == "__main__":
    for session in sys.argv[1:]:
        for path in keep(Path(session)):
            print(path)
