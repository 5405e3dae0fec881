"""The slides' ladder redone: keep a recipe's results and its chart under bench/results/.

    tricklint verify --recipe vgg-digits --yes --output out/
    python bench/verify_ladder.py out/.tricklint/verify/<time>/

Writes <recipe>.csv (one row a run), <recipe>.json (verdicts, machine, versions), <recipe>.svg (the ladder), and the table
in bench/results/README.md anew from all that are kept.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
HEAD = "| recipe | change | metric | baseline | changed | effect [95 %] | p (Holm) | verdict | over the rung before |"


def keep(folder: Path, target: Path = RESULTS) -> list[Path]:
    """Copy the tables of a session and draw its ladder. Returns the files written."""
    from tricklint.verify.analysis import analyse
    from tricklint.verify.plan import Plan
    from tricklint.verify.recipes import load
    from tricklint.verify.records import Ledger
    from tricklint.verify.report import charts, tables

    saved = json.loads((folder / "plan.json").read_text())
    plan, recipe = Plan.from_json(saved["plan"]), load(saved["about"]["recipe"])
    metrics, higher, margin = recipe.metrics, recipe.higher_is_better, saved["wishes"]["margin"]
    analysis = analyse(plan, Ledger(folder / "results.jsonl").runs, metrics, higher, margin, all_metrics=True)
    target.mkdir(exist_ok=True)
    shutil.copy(folder / "results.csv", target / f"{recipe.name}.csv")
    value = json.loads((folder / "results.json").read_text())
    value.pop("runs")  # they are in the table
    value["comparisons"] = tables.comparisons(analysis, [])
    (target / f"{recipe.name}.json").write_text(json.dumps(value, indent=1) + "\n")
    figure = charts.ladder(analysis, metrics[0], recipe.ladder)
    figure.savefig(target / f"{recipe.name}.svg", bbox_inches="tight", metadata={"Date": None})
    return sorted(target.glob(f"{recipe.name}.*"))


def write_table(target: Path = RESULTS) -> None:
    """Put the rows of every kept result into README.md, in place of the table that is there."""
    rows = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    for path in sorted(target.glob("*.json")):
        for c in json.loads(path.read_text()).get("comparisons", ()):  # verify-aa.json holds none
            rung = c["over_rung_before"]
            over = f"{rung['effect']:+.3f} [{rung['low']:+.3f}, {rung['high']:+.3f}]" if rung else ""
            effect = f"{c['effect']:+.3f} [{c['low']:+.3f}, {c['high']:+.3f}]"
            cells = [path.stem, c["variant"], c["metric"], f"{c['baseline']:.3f}", f"{c['fixed']:.3f}", effect]
            rows.append("| " + " | ".join([*cells, f"{c['p_holm']:.3f}", c["verdict"], over]) + " |")
    readme = target / "README.md"
    lines = readme.read_text().splitlines()
    start = lines.index(HEAD)
    end = next((number for number in range(start, len(lines)) if not lines[number].startswith("|")), len(lines))
    lines[start:end] = rows
    readme.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for session in sys.argv[1:]:
        for path in keep(Path(session)):
            print(path)
    write_table()
