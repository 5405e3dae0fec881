"""Rules that training cannot judge: loops over frames are timed, memory is counted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tricklint.finding import Finding
from tricklint.verify.engines import Engine, Job, Payload
from tricklint.verify.plan import BASELINE, Plan, Task, Variant
from tricklint.verify.replay import ReplayWork
from tricklint.verify.stats import Verdict
from tricklint.verify.variants import LOOPS, MEMORY, Maker, diff_of

BATCH = "TRK301"
SHORT = 0.6  # of what a step keeps: the whole batch does not fit, half of it does


def provable(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings that are proven by timing a loop, and those by counting memory: fixes, and batches without one."""
    loops = [f for f in findings if f.code in LOOPS and f.fix is not None]
    memory = [f for f in findings if f.code in MEMORY and (f.fix is not None or f.code == BATCH)]
    return loops, memory


@dataclass
class Proof:
    """What was measured of one finding. `rows` are (frame rows or step, original, fixed): seconds, bytes or nodes."""

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
    findings: Sequence[Finding],
    work: ReplayWork,
    engine: Engine,
    edits_of: Maker,
    steps: int | None,
    card: float | None = None,
) -> list[Proof]:
    """What autograd keeps alive over the steps of one run, with and without each fix. For TRK301 also whether the fix
    trains where the memory for activations does not hold the batch, and which batch fits `card` bytes (default: what is
    free here)."""
    root = work.project.root
    variants = [Variant(BASELINE, "Baseline", "baseline")]
    proofs: list[Proof] = []
    first: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda f: f.fix is None):
        first.setdefault(finding.code, finding)
    for code, finding in first.items():
        if finding.fix is None:
            continue
        edits = edits_of([code])
        if edits:
            variants.append(Variant(code, finding.name, "alone", (code,), edits, diff_of(root, edits)))
        else:
            proofs.append(_proof(finding, root, "its fix changed nothing when made alone"))
    batch = first.get(BATCH) if all(p.code != BATCH for p in proofs) else None
    if len(variants) == 1 and batch is None:
        return proofs
    counting = ReplayWork(work.project, work.command, work.folder, mode="memory")
    plan = Plan("memory", "", tuple(variants), (), 1, steps)
    whole = [v.name for v in variants if v.name != BATCH]
    records = _run(engine, counting, plan, whole, None)
    before = records.get(BASELINE)
    for variant in variants[1:]:
        if variant.name != BATCH:
            proofs.append(_memory_proof(first[variant.name], variant, before, records.get(variant.name), root))
    if batch is not None:
        fixed = next((v for v in variants if v.name == BATCH), None)
        proofs.append(_batch_proof(batch, fixed, before, counting, plan, engine, card))
    return proofs


def _proof(finding: Finding, root: Path, text: str = "", diff: str = "") -> Proof:
    place = f"{finding.path.resolve().relative_to(root).as_posix()}:{finding.location.row}"
    return Proof(finding.code, finding.name, place, Verdict.INCONCLUSIVE, text, "bytes", diff=diff)


def _failed(record: Payload | None) -> str | None:
    """Why a run's memory says nothing, or None."""
    if record is None or "saved" not in record or record["status"] not in ("ok", "diverged"):
        return (record or {}).get("message") or "the run died"
    return None


def _memory_proof(
    finding: Finding, variant: Variant, before: Payload | None, after: Payload | None, root: Path
) -> Proof:
    proof = _proof(finding, root, diff=variant.diff)
    failed = _failed(before) or _failed(after)
    if failed:
        proof.text = failed
        return proof
    assert before is not None and after is not None
    x, y = before["saved"], after["saved"]
    steps = min(len(x["over_steps"]), len(y["over_steps"]))
    grows = slope(x["over_steps"][:steps]), slope(y["over_steps"][:steps])
    nodes = slope(x["nodes_over_steps"][:steps]), slope(y["nodes_over_steps"][:steps])
    if x["peak"] == y["peak"] == 0:
        proof.verdict, proof.text = Verdict.NOT_REACHED, "autograd kept nothing alive in this run"
        return proof
    text = f"peak of kept activations {size(x['peak'])} → {size(y['peak'])}"
    if y["peak"] < 0.95 * x["peak"]:
        proof.verdict = Verdict.HELPS
        text += f": a batch {x['peak'] / max(y['peak'], 1):.1f} times as big fits the same memory"
    else:
        proof.verdict = Verdict.EQUIVALENT if y["peak"] <= 1.05 * x["peak"] else Verdict.HURTS
    shown = "over_steps"
    if grows[0] > 1.5 * max(grows[1], 1.0):
        text += f"; after each step {size(grows[0])} more stayed alive, now {size(grows[1])}"
    elif nodes[0] > 0.5 and nodes[0] > 1.5 * nodes[1]:
        shown, proof.unit = "nodes_over_steps", "nodes"
        text += f"; after each step {nodes[0]:.0f} more nodes of graphs stayed alive, now {nodes[1]:.0f}"
        if proof.verdict is Verdict.EQUIVALENT:
            proof.verdict = Verdict.HELPS
    stride = max(1, steps // 200)
    proof.rows = [(i + 1, x[shown][i], y[shown][i]) for i in range(0, steps, stride)]
    proof.text = text
    return proof


def _batch_proof(
    finding: Finding,
    fixed: Variant | None,
    before: Payload | None,
    counting: ReplayWork,
    plan: Plan,
    engine: Engine,
    card: float | None,
) -> Proof:
    proof = _proof(finding, counting.project.root, diff=fixed.diff if fixed else "")
    failed = _failed(before)
    if failed or before is None or not before["saved"]["step_peaks"]:
        proof.text = failed or "no step was seen"
        return proof
    saved = before["saved"]
    kept, batch = statistics.median(saved["step_peaks"]), statistics.median_high(saved["batches"])
    proof.text = f"a step keeps {size(kept)}"
    if batch:
        free = card if card is not None else _free()
        fits = max(0, int((free - saved["held"]) / max(1.0, kept / batch)))
        proof.text += f" for a batch of {batch}: about {_two_digits(fits):,} samples fit {size(free)}"
    if fixed is None:
        proof.verdict = Verdict.NOT_JUDGED
        proof.text += "; there is no fix to measure here"
        return proof
    limit = SHORT * kept
    if saved["peak"] > 1.2 * kept:
        proof.text += f"; not tried with less: other parts of the run keep {size(saved['peak'])}"
        return proof
    records = _run(engine, replace(counting, limit=limit), plan, [BASELINE, BATCH], None)
    original, mended = records.get(BASELINE) or {}, records.get(BATCH) or {}
    if mended.get("status") == "ok" and original.get("status") == "oom":
        proof.verdict = Verdict.HELPS
        same = _last_loss(before), _last_loss(mended)
        text = f"with {size(limit)} the original ends out of memory, the fixed trains on in pieces"
        if None not in same:
            text += f" (last loss {same[0]:.4g} in one piece, {same[1]:.4g} in pieces)"
    else:
        states = [f"{r.get('status', 'killed')} {r.get('message', '')}".strip() for r in (original, mended)]
        text = f"with {size(limit)}: the original {states[0]}, the fixed {states[1]}"
    proof.text += f"; {text}"
    return proof


def _free() -> float:
    import torch

    from tricklint.verify.memory import free_bytes

    return float(free_bytes(torch.device("cuda" if torch.cuda.is_available() else "cpu")))


def _last_loss(record: Payload) -> float | None:
    losses = record["phases"][0]["losses"] if record.get("phases") else []
    return losses[-1] if losses else None


def _two_digits(count: int) -> int:
    """12345 → 12000: an estimate is no more exact than that."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return count // unit * unit


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
