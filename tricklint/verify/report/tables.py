"""results.csv and results.json: one row a run, and one a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tricklint.verify.analysis import Analysis, Outcome
from tricklint.verify.proofs import Proof
from tricklint.verify.records import write_atomically


def runs_frame(analysis: Analysis) -> pd.DataFrame:
    """One row a run: variant, seed, lr_scale, status, every metric's last value, times and memory."""
    rows = []
    for run in analysis.runs.values():
        row: dict[str, Any] = {
            "variant": run.variant,
            "seed": run.seed,
            "lr_scale": run.lr_scale,
            "status": run.status,
            "message": run.message,
            "steps": run.steps,
            "wall_s": run.wall_s,
            "step_s": next((s for s in run.step_s if s is not None), None),
            "peak_bytes": run.peak(),
            "pieces": run.pieces,
            "engine": run.engine,
        }
        row.update({name: run.score(name) for name in run.series})
        rows.append(row)
    return pd.DataFrame(rows)


def comparisons(analysis: Analysis | None, proofs: Sequence[Proof]) -> list[dict[str, Any]]:
    """Every comparison and proof as a flat record."""
    rows: list[dict[str, Any]] = []
    for outcome in analysis.outcomes if analysis else ():
        for c in outcome.comparisons:
            leads = outcome.leading is not None and c.metric == outcome.leading.metric
            p = c.paired
            rows.append(
                {
                    "variant": outcome.variant.name,
                    "codes": list(outcome.variant.codes),
                    "metric": c.metric,
                    "leading": leads,
                    "verdict": outcome.verdict.value if leads else "untouched" if c.untouched else p.verdict.value,
                    "why": outcome.why if leads else p.why,
                    "baseline": c.baseline_mean,
                    "fixed": c.variant_mean,
                    "effect": p.effect,
                    "low": p.low,
                    "high": p.high,
                    "n": p.n,
                    "p": p.p,
                    "p_holm": p.p_holm,
                    "p_better": p.p_better,
                    "p_tost": p.p_tost,
                    "margin": p.margin,
                    "statuses": dict(outcome.statuses),
                    "steps_to_baseline_loss": list(outcome.steps_to),
                    "step_ms": list(outcome.step_ms),
                    "step_change": outcome.step_change and list(outcome.step_change),
                    "peak_bytes": list(outcome.peak),
                    "over_rung_before": _rung(outcome) if leads else None,
                }
            )
    for proof in proofs:
        rows.append(
            {
                "codes": [proof.code],
                "variant": proof.code,
                "place": proof.place,
                "verdict": proof.verdict.value,
                "why": proof.text,
                "unit": proof.unit,
                "rows": proof.rows,
            }
        )
    return rows


def _rung(outcome: Outcome) -> dict[str, Any] | None:
    c = outcome.rung
    if c is None:
        return None
    return {"metric": c.metric, "effect": c.paired.effect, "low": c.paired.low, "high": c.paired.high}


def write(folder: Path, analysis: Analysis | None, proofs: Sequence[Proof], about: dict[str, Any]) -> None:
    """results.csv (one row a run) and results.json (machine, command, comparisons, runs)."""
    frame = runs_frame(analysis) if analysis else pd.DataFrame()
    write_atomically(folder / "results.csv", frame.to_csv(index=False))
    runs = json.loads(frame.to_json(orient="records")) if len(frame) else []
    value = {**about, "comparisons": comparisons(analysis, proofs), "runs": runs}
    write_atomically(folder / "results.json", json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
