"""Verdicts out of runs, and the reports that show them, also in a real browser."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tricklint.verify.analysis import Analysis, analyse
from tricklint.verify.plan import Plan, Variant
from tricklint.verify.proofs import Proof
from tricklint.verify.records import Key, Run
from tricklint.verify.report import charts, html, tables, terminal, words
from tricklint.verify.stats import Verdict

VARIANTS = (
    Variant("baseline", "Baseline", "baseline"),
    Variant(
        "TRK501",
        "TRK501 missing-init",
        "alone",
        ("TRK501",),
        {"model.py": "x"},
        "--- a\n+++ b\n@@ -1 +1 @@\n-a < b\n+c\n",
        "recipe",
    ),
    Variant("TRK601", "TRK601 decay-on-bias-norm", "alone", ("TRK601",), {"train.py": "x"}),
    Variant("TRK702", "TRK702 softmax-before-cross-entropy", "alone", ("TRK702",), {"other.py": "x"}),
    Variant("TRK501+TRK601", "+ TRK601", "stack", ("TRK501", "TRK601"), {"model.py": "x"}),
    Variant("all", "+ TRK702", "stack", ("TRK501", "TRK601", "TRK702"), {"model.py": "x"}),
)
PLAN = Plan(
    "pills: python train.py", "tricklint verify train.py", VARIANTS, ("baseline", "TRK501", "TRK501+TRK601", "all"), 8
)
EFFECT = {"baseline": 0.0, "TRK501": 0.1, "TRK601": 0.0, "TRK702": 0.0, "TRK501+TRK601": 0.1, "all": 0.12}


def runs() -> dict[Key, Run]:
    rng = np.random.default_rng(0)
    found: dict[Key, Run] = {}
    for seed in range(8):
        base = rng.normal(0.6, 0.05)
        noise = rng.normal(0, 0.01, 60)
        for name, effect in EFFECT.items():
            own = 0.0 if name in ("baseline", "TRK702") else rng.normal(0, 0.012 if effect else 0.03)
            losses = (2.0 * np.exp(-np.arange(60) / 25) + noise - effect + own + 0.3).tolist()
            run = Run(
                name, seed, losses=[losses], phases=["SGD"], step_s=[0.01 if effect else 0.011], steps=60, wall_s=1.0
            )
            run.series = {"val_acc": [0.2, base + effect + own], "train loss": [losses[-1]]}
            run.memory = {"rss": 2e8 + 1e7 * effect}
            run.files = ["train.py", "model.py"]
            found[run.key] = run
    return found


PROOFS = [
    Proof(
        "TRK401",
        "iterrows-loop",
        "data.py:98",
        Verdict.HELPS,
        "equal results; 10,000 rows: 171 ms → 940 µs, 182x faster",
        "s",
        [(1e3, 0.017, 1e-4), (1e4, 0.171, 9.4e-4)],
        "-for\n+x\n",
    ),
]
ABOUT: dict[str, Any] = {
    "command": "tricklint verify train.py",
    "training": "python train.py",
    "machine": {
        "processor": "Some <CPU>",
        "cores": 2,
        "system": "Linux",
        "python": "3.11",
        "packages": {"torch": "2.13.0"},
    },
    "notes": ["no fix to measure: TRK301"],
}


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(PLAN, runs())


def test_verdicts(analysis: Analysis) -> None:
    found = {o.variant.name: o.verdict for o in analysis.outcomes}
    assert analysis.metrics == ("val_acc",)
    assert found["TRK501"] is Verdict.HELPS
    assert found["TRK601"] is Verdict.INCONCLUSIVE
    assert found["TRK702"] is Verdict.NOT_REACHED
    assert found["TRK501+TRK601"] is Verdict.NOT_JUDGED
    assert found["all"] is Verdict.HELPS


def test_holm_counts_the_fixes_and_the_whole_stack(analysis: Analysis) -> None:
    """Three comparisons are judged: the smallest p of all, 2/2^8, is multiplied by three."""
    outcome = analysis.outcome("TRK501")
    assert outcome is not None and outcome.leading is not None
    assert outcome.leading.paired.p == pytest.approx(2 / 256)
    assert outcome.leading.paired.p_holm == pytest.approx(3 * 2 / 256)


def test_bit_equal_runs_are_equivalent_where_the_file_was_run() -> None:
    found = runs()
    for run in found.values():
        run.files = ["train.py", "model.py", "other.py"]
    outcome = analyse(PLAN, found).outcome("TRK702")
    assert outcome is not None
    assert outcome.verdict is Verdict.EQUIVALENT
    assert "bit-equal" in outcome.why


def test_lost_runs_are_counted_and_shown() -> None:
    found = runs()
    for seed in range(3):
        found[("TRK601", seed, 1.0)].status = "diverged"
        found[("TRK601", seed, 1.0)].message = "the loss is not a number after step 30"
        found[("TRK601", seed, 1.0)].series = {"val_acc": [0.1, None]}
    analysis = analyse(PLAN, found)
    outcome = analysis.outcome("TRK601")
    assert outcome is not None and outcome.leading is not None
    assert outcome.statuses == {"ok": 5, "diverged": 3}
    assert outcome.leading.paired.lost_variant == 3
    text = shown(analysis)
    assert "3 diverged" in text and "not a number after step 30" in text
    assert "3 diverged" in html.page(analysis, [], ABOUT)


def test_the_training_loss_is_judged_only_where_it_is_asked_for() -> None:
    found = runs()
    for run in found.values():
        run.series = {"train loss": run.series["train loss"]}
    assert analyse(PLAN, found).metrics == ()
    analysis = analyse(PLAN, found, ["train loss"])
    assert analysis.metrics == ("train loss",)
    assert analysis.higher == {"train loss": False}
    outcome = analysis.outcome("TRK501")
    assert outcome is not None and outcome.verdict is Verdict.HELPS


def on_a_card(noise: float, repeats: int = 3) -> tuple[Plan, dict[Key, Run]]:
    """Two trainings in one script on a device that never adds up in the same order: TRK501 changes the second one only,
    whose metric comes second."""
    rng = np.random.default_rng(3)
    plan = Plan("t", "", (*VARIANTS[:2], VARIANTS[4]), ("baseline", "TRK501", "TRK501+TRK601"), 8, repeats=repeats)
    found: dict[Key, Run] = {}
    for task in plan.tasks():
        chance = np.random.default_rng(task.seed)
        acc, ap = chance.normal(0.6, 0.05), chance.normal(0.3, 0.05)
        own = {"TRK501": 0.4, "TRK501+TRK601": 0.4}.get(task.variant, 0.0)
        run = Run(task.variant, task.seed, losses=[[1.0, 0.5 + rng.normal(0, noise)]], phases=["SGD"], steps=2)
        run.series = {"val_acc": [acc + rng.normal(0, noise)], "val_ap": [ap + own + rng.normal(0, noise)]}
        run.memory, run.files = {"cuda": 1.0}, ["model.py"]
        found[task.key] = run
    return plan, found


def test_on_a_card_the_metric_that_differs_more_than_the_runs_themselves_is_judged() -> None:
    plan, found = on_a_card(0.01)
    assert len(found) == 8 * 3 + 3
    outcome = analyse(plan, found, ["val_acc", "val_ap"]).outcome("TRK501")
    assert outcome is not None and outcome.leading is not None
    assert (outcome.leading.metric, outcome.verdict) == ("val_ap", Verdict.HELPS)
    assert outcome.comparisons[0].paired.verdict is Verdict.NOT_JUDGED
    rows = [line for line in shown(analyse(plan, found, ["val_acc", "val_ap"])).splitlines() if "val_a" in line]
    assert [line.split()[1:3] for line in rows if line.startswith("TRK501 ")] == [["missing-init", "–"]]
    assert [line.split()[:2] for line in rows if "helps" in line] == [["helps", "val_ap"]] * 2
    blind = analyse(Plan(**{**vars(plan), "repeats": 0}), found, ["val_acc", "val_ap"]).outcome("TRK501")
    assert blind is not None and blind.leading is not None and blind.leading.metric == "val_acc"


def test_where_nothing_differs_more_than_the_runs_themselves_the_first_metric_is_judged() -> None:
    plan, found = on_a_card(0.2)
    for (variant, seed, _), run in found.items():
        if variant.startswith("TRK501"):
            run.series["val_ap"] = [found[("baseline", seed, 1.0)].series["val_ap"][0] + 1e-4]  # type: ignore[operator]
    outcome = analyse(plan, found, ["val_acc", "val_ap"]).outcome("TRK501")
    assert outcome is not None and outcome.leading is not None
    assert (outcome.leading.metric, outcome.verdict) == ("val_acc", Verdict.INCONCLUSIVE)


def test_choosing_by_size_keeps_the_level_of_the_test() -> None:
    """Changes that change nothing, on a device with noise: verdicts stay as rare as they are promised to be."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        plan = Plan("t", "", VARIANTS[:2], ("baseline", "TRK501"), 8, repeats=3)
        found = {
            task.key: Run(
                task.variant,
                task.seed,
                losses=[[1.0, float(rng.normal())]],
                series={name: [float(rng.normal())] for name in ("val_acc", "val_ap", "val_f1")},
                files=["model.py"],
            )
            for task in plan.tasks()
        }
        outcome = analyse(plan, found, ["val_acc", "val_ap", "val_f1"], margin=0.001).outcome("TRK501")
        assert outcome is not None
        wrong += outcome.verdict in (Verdict.HELPS, Verdict.HURTS)
    assert wrong <= 300 * 0.05 + 2 * (300 * 0.05 * 0.95) ** 0.5


def test_baselines_that_are_bit_equal_give_no_verdict() -> None:
    found = runs()
    for run in found.values():
        if run.variant == "baseline" and run.seed in (2, 5):
            run.losses = [[1.0] * 60]
    analysis = analyse(PLAN, found)
    for name in ("TRK501", "TRK601", "all"):
        outcome = analysis.outcome(name)
        assert outcome is not None and outcome.verdict is Verdict.NONE
        assert outcome.why.startswith("no verdict: 2 of 8 runs of the baseline are equal to the last bit")
    assert "no verdict" in shown(analysis) and "equal to the last bit" in " ".join(shown(analysis).split())
    assert "equal to the last bit" in html.page(analysis, [], ABOUT)


def test_a_metric_that_is_the_same_in_every_run_gives_no_verdict() -> None:
    found = runs()
    for run in found.values():
        run.series["val_acc"] = [0.5, 1.0]
    outcome = analyse(PLAN, found).outcome("TRK501")
    assert outcome is not None and outcome.verdict is Verdict.NONE
    assert "val_acc is the same number in every run" in outcome.why


def test_runs_that_are_lost_alike_are_no_repetition_and_the_others_no_constant() -> None:
    """Every baseline ends at once with a loss that is no number, every fixed run reaches the same score."""
    found = runs()
    for (name, _, _), run in found.items():
        lost = name == "baseline"
        run.status, run.losses = ("diverged", [[None] * 20]) if lost else ("ok", run.losses)
        run.series = {"val_acc": [None if lost else 1.0]}
    plan = Plan(PLAN.title, PLAN.command, VARIANTS[:2], ("baseline", "TRK501"), 8)
    outcome = analyse(plan, found, ["val_acc"]).outcome("TRK501")
    assert outcome is not None and outcome.verdict is Verdict.HELPS
    assert "runs that end without a score: baseline 8, fixed 0" in outcome.why


def test_a_file_that_is_never_executed_is_not_reached_also_where_runs_differ_by_noise() -> None:
    found = runs()
    for (name, seed, _), run in found.items():
        if name == "TRK702":
            run.losses = [[loss + 0.01 * seed for loss in run.losses[0]]]
            run.series["val_acc"] = [0.2, 0.9]
    outcome = analyse(PLAN, found).outcome("TRK702")
    assert outcome is not None and outcome.verdict is Verdict.NOT_REACHED


def test_means_and_effect_are_of_the_same_pairs() -> None:
    """A run that crashed gives no score, whatever it had printed by then, and its pair counts nowhere."""
    found = runs()
    found[("TRK501", 3, 1.0)].status = "crashed"
    found[("baseline", 6, 1.0)].series["val_acc"] = [None]
    outcome = analyse(PLAN, found).outcome("TRK501")
    assert outcome is not None and outcome.leading is not None
    c = outcome.leading
    assert c.paired.n == 6 and c.baseline_mean is not None and c.variant_mean is not None
    assert c.variant_mean - c.baseline_mean == pytest.approx(c.paired.effect)
    text = shown(analyse(PLAN, found))
    assert "in 6 pairs" in " ".join(text.split())


def test_steps_to_the_baselines_loss(analysis: Analysis) -> None:
    outcome = analysis.outcome("TRK501")
    assert outcome is not None
    base, own = outcome.steps_to
    assert base is not None and own is not None and own < base <= 60


def test_time_of_a_step_is_compared_in_pairs_and_where_the_change_touches_the_run() -> None:
    """A load that slows both runs of a pair twofold leaves the ratio as it is; an untouched phase does not dilute it."""
    found = runs()
    for (name, seed, _), run in found.items():
        load = 1 + seed % 2
        run.losses, run.phases = [run.losses[0], [1.0] * 600], ["SGD", "Adam"]
        run.step_s = [0.01 * load * (0.5 if name == "TRK501" else 1.0), 0.02 * load]
    outcome = analyse(PLAN, found).outcome("TRK501")
    assert outcome is not None
    assert outcome.step_change == pytest.approx((0.5, 0.5, 0.5))
    assert words.time_change(outcome) == "-50 % [-50, -50]"


def test_steps_of_runs_that_were_trained_together_are_not_compared_with_others() -> None:
    found = runs()
    for (name, seed, _), run in found.items():
        run.engine = "stacked" if name == "TRK501" or (name == "baseline" and seed < 2) else "plain"
    outcome = analyse(PLAN, found).outcome("TRK501")
    assert outcome is not None and outcome.step_ms == pytest.approx((11.0, 10.0))
    for run in found.values():
        run.engine = "stacked" if run.variant == "TRK501" else "plain"
    outcome = analyse(PLAN, found).outcome("TRK501")
    assert outcome is not None
    assert (outcome.step_ms, outcome.step_change, outcome.peak) == ((None, None), None, (None, None))


def test_a_rung_is_also_shown_against_the_one_before_it(analysis: Analysis) -> None:
    first, last = analysis.outcome("TRK501"), analysis.outcome("all")
    assert first is not None and first.rung is None
    assert last is not None and last.rung is not None
    below, top = (np.array(analysis.scores(name, "val_acc"), dtype=float) for name in ("TRK501+TRK601", "all"))
    assert last.rung.paired.effect == pytest.approx(float((top - below).mean()))
    assert "over the rung before it: val_acc +0.0" in html.page(analysis, [], ABOUT)


def test_the_summary_counts_each_fix_once(analysis: Analysis) -> None:
    found = words.verdicts(analysis, PROOFS)
    assert words.summary(found) == "4 changes measured: 2 help, 1 inconclusive, 1 not reached"
    assert words.summary([Verdict.HURTS]) == "1 change measured: 1 hurts"


def shown(analysis: Analysis | None, proofs: list[Proof] | None = None) -> str:
    buffer = io.StringIO()
    terminal.show(analysis, proofs or [], Console(file=buffer, width=100), ["a note"])
    return buffer.getvalue()


def test_the_terminal_table_fits_a_hundred_columns(analysis: Analysis) -> None:
    text = shown(analysis, PROOFS)
    assert max(len(line) for line in text.splitlines()) <= 100
    for word in (
        "helps",
        "inconclusive",
        "not reached",
        "iterrows-loop",
        "P(+)",
        "±0.005",
        "a note",
        "missing-init",
        "decay-on-bias-norm",
    ):
        assert word in text
    assert re.search(r"\+0\.\d+ \[\+0\.\d+, \+0\.\d+\]", text)  # effect and interval on one line


def test_tables_are_read_back(analysis: Analysis, tmp_path: Path) -> None:
    tables.write(tmp_path, analysis, PROOFS, ABOUT)
    frame = pd.read_csv(tmp_path / "results.csv")
    assert len(frame) == 48
    assert {"variant", "seed", "status", "val_acc", "peak_bytes"} <= set(frame.columns)
    value = json.loads((tmp_path / "results.json").read_text())
    verdicts = {c["variant"]: c["verdict"] for c in value["comparisons"]}
    assert verdicts["TRK501"] == "helps" and verdicts["TRK401"] == "helps"
    assert len(value["runs"]) == 48


class Parser(HTMLParser):
    """Counts tags and collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.svgs = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.svgs += tag == "svg"
        self.loads += [
            v or "" for k, v in attrs if k in ("src", "href", "xlink:href") and not (v or "").startswith("#")
        ]


def test_the_page_is_whole_and_loads_nothing(analysis: Analysis) -> None:
    page = html.page(analysis, PROOFS, ABOUT)
    parser = Parser()
    parser.feed(page)
    assert parser.loads == []
    assert "@import" not in page and "url(http" not in page
    assert parser.svgs >= 6
    for text in ("Some &lt;CPU&gt;", "a &lt; b", "tricklint verify train.py", "helps", "data.py:98"):
        assert text in page


def test_charts_survive_missing_scores() -> None:
    found = runs()
    for run in found.values():
        if run.variant != "baseline":
            run.series, run.losses = {}, [[None] * 60]
    analysis = analyse(PLAN, found)
    assert "<svg" in charts.svg(charts.ladder(analysis, "val_acc"))
    assert html.page(analysis, [], ABOUT)


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_an_early_stop_is_reported_too(seeds: int) -> None:
    """Ctrl-C after the pilot, or after one or two pairs."""
    found = {key: run for key, run in runs().items() if key[1] < seeds or key[:2] == ("baseline", 0)}
    analysis = analyse(PLAN, found)
    assert {o.verdict for o in analysis.outcomes} <= {Verdict.INCONCLUSIVE, Verdict.NOT_REACHED, Verdict.NOT_JUDGED}
    assert "inconclusive" in shown(analysis, PROOFS)
    assert "some runs of the plan are missing" in html.page(analysis, PROOFS, ABOUT)
    assert tables.comparisons(analysis, PROOFS)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def chromium(arguments: list[str], profile: Path) -> subprocess.CompletedProcess[bytes]:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}"]
    return subprocess.run([browser(), *flags, *arguments], capture_output=True, timeout=120)


def test_the_page_in_a_real_browser(analysis: Analysis, tmp_path: Path) -> None:
    """It is laid out: badges and charts have a size, nothing is wider than the window, and it is not blank."""
    html.write(tmp_path, analysis, PROOFS, ABOUT)
    page = (tmp_path / "report.html").read_text()
    probe = (
        "<script>window.onload=()=>{const s=[...document.querySelectorAll('svg')].map(e=>e.getBoundingClientRect());"
        "document.body.dataset.probe=JSON.stringify({svgs:s.length,small:s.filter(r=>r.width<100||r.height<40).length,"
        "wide:document.documentElement.scrollWidth-innerWidth,"
        "badges:document.querySelectorAll('.verdict').length})}</script>"
    )
    (tmp_path / "probe.html").write_text(page.replace("</body>", probe + "</body>"))
    done = chromium(["--window-size=1100,900", "--dump-dom", (tmp_path / "probe.html").as_uri()], tmp_path / "profile")
    match = re.search(r'data-probe="([^"]+)"', done.stdout.decode())
    assert match, done.stderr.decode()[-500:]
    seen = json.loads(match[1].replace("&quot;", '"'))
    assert seen["svgs"] >= 6 and seen["small"] == 0 and seen["wide"] <= 0 and seen["badges"] >= 6

    picture = tmp_path / "report.png"
    chromium(
        ["--window-size=1100,2400", f"--screenshot={picture}", (tmp_path / "report.html").as_uri()],
        tmp_path / "profile2",
    )
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[1] == 1100
    assert math.isfinite(float(pixels.std())) and float(pixels.std()) > 0.02
