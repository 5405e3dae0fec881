"""Rules that training cannot judge: loops over frames are timed, memory is counted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricklint.finding import Finding
from tricklint.verify.engines import Engine, Job, Payload
from tricklint.verify.plan import BASELINE, Plan, Task, Variant
from tricklint.verify.replay import ReplayWork
from tricklint.verify.stats import Verdict
from tricklint.verify.variants import Maker, diff_of


@dataclass
class Proof:
    """What was measured of one finding. `rows` are (frame rows or step, original, fixed): seconds or bytes."""

    code: str
    name: str
    place: str
    verdict: Verdict
    text: str
    unit: str = "s"
    rows: list[tuple[float, float, float]] = field(default_factory=list)
    diff: str = ""


def _run(
    engine: Engine, work: ReplayWork, plan: Plan, variants: Sequence[str], timeout_s: float | None
) -> dict[str, Payload | None]:
    from tricklint.verify.engines.local import read_record

    found: dict[str, Payload | None] = {}
    jobs = []
    for name in variants:
        task = Task(name, 0)
        payload: Payload = {}

        def prepare(task: Task = task, payload: Payload = payload) -> Payload:
            payload.update(work.payload([task], plan, 1))
            return payload

        def finish(record: Payload | None, status: int, task: Task = task, payload: Payload = payload) -> None:
            work.cleanup([task])
            found[task.variant] = record or read_record(payload)

        jobs.append(Job(f"{work.mode}-{name}", prepare, finish, timeout_s))
    engine.run(jobs)
    return found


def prove_loops(
    findings: Sequence[Finding], work: ReplayWork, engine: Engine, edits_of: Maker, limit_s: float = 90.0
) -> list[Proof]:
    """Time each row loop that has a fix against its rewrite, inside the user's run."""
    root = work.project.root
    proofs: list[Proof] = []
    targets: list[dict[str, Any]] = []
    diffs: dict[str, str] = {}
    for code in dict.fromkeys(f.code for f in findings):
        edits = edits_of([code])
        for finding in (f for f in findings if f.code == code):
            name = finding.path.resolve().relative_to(root).as_posix()
            place = f"{name}:{finding.location.row}"
            if name not in edits:
                proofs.append(
                    Proof(code, finding.name, place, Verdict.INCONCLUSIVE, "its fix changed nothing when made alone")
                )
                continue
            diffs[place] = diff_of(root, {name: edits[name]})
            target = {"id": place, "file": name, "row": finding.location.row, "limit_s": limit_s}
            targets.append(
                {
                    **target,
                    "original": (root / name).read_text(encoding="utf-8"),
                    "fixed": edits[name],
                    "finding": finding,
                }
            )
    if not targets:
        return proofs
    by_place = {target["id"]: target.pop("finding") for target in targets}
    timing = ReplayWork(work.project, work.command, work.folder, mode="loops", loops=targets)
    plan = Plan("loops", "", (Variant(BASELINE, "Baseline", "baseline"),), (BASELINE,), 1)
    record = _run(engine, timing, plan, [BASELINE], None).get(BASELINE)
    results = {entry["id"]: entry for entry in (record or {}).get("loops", [])}
    for place, finding in by_place.items():
        proofs.append(_loop_proof(finding, place, results.get(place), record, diffs[place]))
    return proofs


def _loop_proof(
    finding: Finding, place: str, result: dict[str, Any] | None, record: Payload | None, diff: str
) -> Proof:
    proof = Proof(finding.code, finding.name, place, Verdict.INCONCLUSIVE, "", diff=diff)
    if result is None:
        crashed = record is not None and record.get("status") == "crashed"
        proof.verdict = Verdict.INCONCLUSIVE if crashed or record is None else Verdict.NOT_REACHED
        proof.text = (record or {}).get("message") or "the command never ran this loop"
        return proof
    if "error" in result:
        proof.text = result["error"]
        return proof
    proof.rows = [(row["rows"], row["original_s"], row["fixed_s"]) for row in result["sizes"]]
    wrong = [row for row in result["sizes"] if not row["equal"]]
    if wrong:
        proof.verdict, proof.text = Verdict.HURTS, f"the results differ: {wrong[0]['why']}"
        return proof
    last = result["sizes"][-1]
    ratio = last["original_s"] / max(last["fixed_s"], 1e-9)
    size = f"{last['rows']:,} rows" if last["rows"] else "the frame as it is"
    proof.text = f"equal results; {size}: {time(last['original_s'])} → {time(last['fixed_s'])}, {ratio:,.0f}x faster"
    if ratio < 1.1:
        proof.verdict = Verdict.EQUIVALENT if ratio > 0.9 else Verdict.HURTS
        proof.text = f"equal results; {size}: {time(last['original_s'])} → {time(last['fixed_s'])}"
    else:
        proof.verdict = Verdict.HELPS
    return proof


def prove_memory(
    findings: Sequence[Finding], work: ReplayWork, engine: Engine, edits_of: Maker, steps: int | None
) -> list[Proof]:
    """What autograd keeps alive over the steps of one run, with and without each fix."""
    root = work.project.root
    variants = [Variant(BASELINE, "Baseline", "baseline")]
    proofs: list[Proof] = []
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.code, finding)
    for code, finding in first.items():
        edits = edits_of([code])
        if edits:
            variants.append(Variant(code, finding.name, "alone", (code,), edits, diff_of(root, edits)))
        else:
            proofs.append(
                Proof(
                    code,
                    finding.name,
                    _place(finding, root),
                    Verdict.INCONCLUSIVE,
                    "its fix changed nothing when made alone",
                )
            )
    if len(variants) == 1:
        return proofs
    counting = ReplayWork(work.project, work.command, work.folder, mode="memory")
    plan = Plan("memory", "", tuple(variants), (), 1, steps)
    records = _run(engine, counting, plan, [v.name for v in variants], None)
    before = records.get(BASELINE)
    for variant in variants[1:]:
        proofs.append(_memory_proof(first[variant.name], variant, before, records.get(variant.name), root))
    return proofs


def _place(finding: Finding, root: Path) -> str:
    return f"{finding.path.resolve().relative_to(root).as_posix()}:{finding.location.row}"


def _memory_proof(
    finding: Finding, variant: Variant, before: Payload | None, after: Payload | None, root: Path
) -> Proof:
    proof = Proof(
        finding.code, finding.name, _place(finding, root), Verdict.INCONCLUSIVE, "", "bytes", diff=variant.diff
    )
    for record in (before, after):
        if record is None or "saved" not in record or record["status"] not in ("ok", "diverged"):
            proof.text = (record or {}).get("message") or "the run died"
            return proof
    assert before is not None and after is not None
    x, y = before["saved"], after["saved"]
    steps = min(len(x["over_steps"]), len(y["over_steps"]))
    stride = max(1, steps // 200)
    proof.rows = [(i + 1, x["over_steps"][i], y["over_steps"][i]) for i in range(0, steps, stride)]
    grows = slope(x["over_steps"][:steps]), slope(y["over_steps"][:steps])
    if x["peak"] == y["peak"] == 0:
        proof.verdict, proof.text = Verdict.NOT_REACHED, "autograd kept nothing alive in this run"
        return proof
    text = f"peak of kept activations {size(x['peak'])} → {size(y['peak'])}"
    if grows[0] > 1.5 * max(grows[1], 1.0):
        text += f"; after each step {size(grows[0])} more stayed alive, now {size(grows[1])}"
    if y["peak"] < 0.95 * x["peak"]:
        proof.verdict = Verdict.HELPS
        text += f": a batch {x['peak'] / max(y['peak'], 1):.1f} times as big fits the same memory"
    else:
        proof.verdict = Verdict.EQUIVALENT if y["peak"] <= 1.05 * x["peak"] else Verdict.HURTS
    proof.text = text
    return proof


def slope(values: Sequence[float]) -> float:
    """Bytes that each step adds, by the least-squares line; 0 for fewer than three steps."""
    if len(values) < 3:
        return 0.0
    return max(0.0, statistics.linear_regression(range(len(values)), values).slope)


def size(count: float) -> str:
    """1536 → '1.5 kB' (units of 1024)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1024 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def time(seconds: float) -> str:
    """0.00094 → '940 µs'."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError
