"""How often a fix that changes nothing gets a verdict: A/A sessions of a real training script. Nothing here is a test.

    python bench/verify_aa.py fixtures/pills/train.py -- --epochs 2            # 40 sessions of 8 pairs
    python bench/verify_aa.py train.py --sessions 10 --metric 'val_acc: ([\\d.]+)'

Every run goes the way of `tricklint verify`: a copy of the project, the runner's seeds, the metric that the plan would
name, the analysis. "Fixed" is the same code. What changes is only chance: its runs take other seeds than the baseline's,
so that the two runs of a pair have nothing in common; that is harder than any real session, whose pairs share their
seeds. Wrong is every verdict but *equivalent* and *inconclusive*; the bar is 5 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tricklint.verify.analysis import Analysis, analyse
from tricklint.verify.engines import Payload
from tricklint.verify.engines.local import LocalEngine, cores
from tricklint.verify.judging import choose
from tricklint.verify.plan import BASELINE, Plan, Task, Variant
from tricklint.verify.records import Run
from tricklint.verify.replay import Command, ReplayWork
from tricklint.verify.session import Session
from tricklint.verify.workspace import Project

SHAM = "sham"
PRELOAD = ("torch", "torch._dynamo", "pandas", "sklearn.datasets", "sklearn.model_selection")  # once, before the fork
GOOD = ("equivalent", "inconclusive")


class ShamWork(ReplayWork):
    """Replays in which the sham's run n takes the seeds of a run that no baseline makes."""

    def payload(self, tasks: Sequence[Task], plan: Plan, pieces: int) -> Payload:
        payload = super().payload(tasks, plan, pieces)
        if tasks[0].variant == SHAM:
            payload["seed"] += 100_000
        return payload


def plan_of(seeds: int) -> Plan:
    """A baseline and a fix that changes nothing."""
    variants = (Variant(BASELINE, "Baseline", "baseline"), Variant(SHAM, "a fix that changes nothing"))
    return Plan("A/A", "", variants, (BASELINE,), seeds)


def sessions(runs: dict[Any, Run], count: int, seeds: int, metrics: Sequence[str]) -> list[Analysis]:
    """The runs dealt to `count` sessions of `seeds` pairs each, every one analysed by itself."""
    found = []
    for number in range(count):
        mine: dict[Any, Run] = {}
        for seed in range(seeds):
            for name in (BASELINE, SHAM):
                run = replace(runs[(name, number * seeds + seed, 1.0)], seed=seed)
                mine[run.key] = run
        found.append(analyse(plan_of(seeds), mine, metrics))
    return found


def wrong(analyses: Sequence[Analysis]) -> tuple[int, Counter[str]]:
    """(sessions with a verdict that says something, how often each verdict was given)."""
    verdicts = Counter(analysis.outcomes[0].verdict.value for analysis in analyses)
    return sum(n for verdict, n in verdicts.items() if verdict not in GOOD), verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("script", type=Path)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--root", type=Path, help="the project's folder (default: the script's)")
    parser.add_argument("--metric")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--folder", type=Path, help="where runs are kept; a second start goes on (default: a new one)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)  # what follows is the script's
    asked, arguments = parser.parse_args(words[:end]), tuple(words[end + 1 :])
    root = (asked.root or asked.script.parent).resolve()
    script = asked.script.resolve().relative_to(root).as_posix()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="tricklint-aa-"))
    work = ShamWork(Project.scan(root), Command(script, None, arguments), folder, asked.metric)
    engine = LocalEngine(asked.workers, preload=PRELOAD)
    session = Session(folder, plan_of(asked.sessions * asked.seeds), work, engine)
    done = [len(session.ledger.runs)]
    total = len(session.plan.tasks())

    def progress(run: Run) -> None:
        done[0] += 1
        if done[0] % 20 == 0:
            print(f"{done[0]} of {total} runs", file=sys.stderr, flush=True)

    began = time.perf_counter()
    try:
        session.run(session.missing(), progress)
    finally:
        engine.close()
    pilot = session.ledger.runs[(BASELINE, 0, 1.0)]
    metrics = choose(pilot, asked.metric)
    if not metrics:
        raise SystemExit(f"{asked.script}: no metric can be judged; say --metric")
    bad, verdicts = wrong(sessions(session.ledger.runs, asked.sessions, asked.seeds, [m.name for m in metrics]))
    lost = sum(run.status != "ok" for run in session.ledger.runs.values())
    result = {
        "script": " ".join([asked.script.as_posix(), *arguments]),
        "metric": str(metrics[0]),
        "sessions": asked.sessions,
        "pairs": asked.seeds,
        "verdicts": dict(verdicts),
        "wrong_share": bad / asked.sessions,
        "runs_lost": lost,
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(result, indent=1))
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
