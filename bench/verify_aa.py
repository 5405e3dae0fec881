"""How often a fix that changes nothing gets a verdict: A/A sessions of a real training script. Nothing here is a test.

    python bench/verify_aa.py fixtures/pills/train.py -- --epochs 2            # 40 sessions of 8 pairs
    python bench/verify_aa.py train.py --sessions 10 --metric 'val_acc: ([\\d.]+)'

Every run goes the way of `tricklint verify`: a copy of the project, the runner's seeds, the metric that the plan would
name, the analysis. Two fixes change nothing:

* *comment* adds a comment to the script: its pairs share their seeds, as those of every session do;
* *other seeds* is the same code with seeds that the baseline does not have: the two runs of a pair have nothing in common
  and differ by chance alone. No real session is as hard.

Wrong is every verdict but *equivalent* and *inconclusive*; the bar is 5 %. Forty sessions say little about a rate of 5 %,
so for *other seeds* the same runs are also dealt anew to many more sessions.
"""

from __future__ import annotations

import argparse
import json
import random
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

COMMENT, SHAM = "comment", "other seeds"
REDEALT = 4000
PRELOAD = ("torch", "torch._dynamo", "pandas", "sklearn.datasets", "sklearn.model_selection")  # once, before the fork
GOOD = ("equivalent", "inconclusive")


class ShamWork(ReplayWork):
    """Replays in which the sham's run n takes the seeds of a run that no baseline makes."""

    def payload(self, tasks: Sequence[Task], plan: Plan, pieces: int) -> Payload:
        payload = super().payload(tasks, plan, pieces)
        if tasks[0].variant == SHAM:
            payload["seed"] += 100_000
        return payload


def plan_of(seeds: int, script: str = "", text: str = "") -> Plan:
    """A baseline and two fixes that change nothing."""
    variants = (
        Variant(BASELINE, "Baseline", "baseline"),
        Variant(COMMENT, COMMENT, edits={script: text + "\n# nothing\n"} if script else {}),
        Variant(SHAM, SHAM),
    )
    return Plan("A/A", "", variants, (BASELINE,), seeds)


def sessions(runs: dict[Any, Run], sham: str, dealt: Sequence[Sequence[Any]], metrics: Sequence[str]) -> list[Analysis]:
    """Each of the `dealt` lists of pairs (keys of the baseline's and the sham's run) is one session, analysed by
    itself."""
    plan = plan_of(len(dealt[0]))
    plan = replace(plan, variants=(plan.variant(BASELINE), plan.variant(sham)))
    found = []
    for pairs in dealt:
        mine: dict[Any, Run] = {}
        for seed, keys in enumerate(pairs):
            for name, key in zip((BASELINE, sham), keys):
                run = replace(runs[key], variant=name, seed=seed)
                mine[run.key] = run
        found.append(analyse(plan, mine, metrics))
    return found


def in_order(sham: str, count: int, seeds: int) -> list[list[Any]]:
    """The pairs as they were made, session by session."""
    return [
        [((BASELINE, first + seed, 1.0), (sham, first + seed, 1.0)) for seed in range(seeds)]
        for first in range(0, count * seeds, seeds)
    ]


def anew(runs: dict[Any, Run], seeds: int) -> list[list[Any]]:
    """Runs that differ by chance alone, dealt to pairs and sessions by lot."""
    keys = sorted(key for key in runs if key[0] in (BASELINE, SHAM))
    lots = random.Random(0)
    return [list(zip(*[iter(lots.sample(keys, 2 * seeds))] * 2)) for _ in range(REDEALT)]


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
    plan = plan_of(asked.sessions * asked.seeds, script, asked.script.read_text(encoding="utf-8"))
    session = Session(folder, plan, work, engine)
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
    names, runs = [m.name for m in metrics], session.ledger.runs
    result = {
        "script": " ".join([asked.script.as_posix(), *arguments]),
        "metric": str(metrics[0]),
        "sessions": asked.sessions,
        "pairs": asked.seeds,
        "runs_lost": sum(run.status != "ok" for run in runs.values()),
        "seconds": round(time.perf_counter() - began),
    }
    for name, sham, dealt in (
        (COMMENT, COMMENT, in_order(COMMENT, asked.sessions, asked.seeds)),
        (SHAM, SHAM, in_order(SHAM, asked.sessions, asked.seeds)),
        (f"{SHAM}, dealt anew to {REDEALT}", SHAM, anew(runs, asked.seeds)),
    ):
        bad, verdicts = wrong(sessions(runs, sham, dealt, names))
        result[name] = {"verdicts": dict(verdicts), "wrong_share": bad / len(dealt)}
    print(json.dumps(result, indent=1))
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
