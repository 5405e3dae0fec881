"""From a plan to a report: pilot run, estimate, question, training, proofs, tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricklint.verify.analysis import Analysis, analyse
from tricklint.verify.devices import Placement, Seat
from tricklint.verify.engines import Engine
from tricklint.verify.judging import Metric, choose, seen
from tricklint.verify.metrics import direction
from tricklint.verify.plan import Plan, Task, fit, seconds, shown
from tricklint.verify.progress import Bar
from tricklint.verify.proofs import Proof
from tricklint.verify.records import Run, VerifyError
from tricklint.verify.session import Session, Work, machine
from tricklint.verify.stats import seeds_needed

if TYPE_CHECKING:
    from rich.console import Console


TRIAL_SHARE = 0.03  # of the budget: what is spent on measuring how runs slow each other down
REPEATS = 3  # runs of the baseline that are made again on a card: the fewest that eight pairs can be told from
BETWEEN_RUNS_S = 0.1  # a copy of the project, a fork, reading what was printed


@dataclass
class Wishes:
    """What the user asked for, apart from the plan itself."""

    yes: bool = False
    budget_s: float | None = None
    began: float = field(default_factory=time.monotonic)  # from when on the budget counts
    metric: str | None = None
    higher: bool | None = None
    margin: float | None = None
    timeout_s: float | None = None
    resumed: bool = False
    metrics: tuple[str, ...] = ()  # set by recipes, which know theirs: all of them are judged
    about: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # options that a resumed session takes over


Confirm = Callable[[str], bool]


class Declined(Exception):
    """The user said no to the plan."""


def conduct(
    folder: Path,
    plan: Plan,
    work: Work,
    engine: Engine,
    workers: int,
    wishes: Wishes,
    console: Console,
    confirm: Confirm | None,
    prove: Callable[[], list[Proof]] | None = None,
    after_pilot: Callable[[Run], Placement] | None = None,
    aftermath: Callable[[Iterable[Run]], list[str]] | None = None,
    proof_runs: int = 0,
) -> tuple[Analysis | None, list[Proof]]:
    """Carry out and report. `after_pilot` may set up the engine by what the first run showed, and says where the
    runs go; `aftermath` says what runs did to files that are not theirs; `prove` makes `proof_runs` more. Raises VerifyError when nothing can be
    compared, KeyboardInterrupt after keeping what is finished."""
    session = Session(folder, plan, work, engine, wishes.timeout_s)
    if wishes.resumed:
        session.forget_killed()
    about = {
        "title": plan.title,
        "command": plan.command,
        "machine": machine(),
        "engine": engine.__class__.__name__,
        **wishes.about,
        "notes": list(plan.notes),
    }
    saved: dict[str, Any] = {
        "wishes": {
            "metric": wishes.metric,
            "higher": wishes.higher,
            "margin": wishes.margin,
            "metrics": wishes.metrics,
            **wishes.kept,
        },
        "about": wishes.about,
    }
    session.save_plan(saved)
    analysis: Analysis | None = None
    proofs: list[Proof] = []
    metrics: list[Metric] = []
    trains = len(plan.variants) > 1
    try:
        if trains:
            began = time.perf_counter()
            pilot = _pilot(session, console)
            start_s = max(0.0, time.perf_counter() - began - pilot.wall_s)  # imports, and the copy of the project
            metrics = _metrics(pilot, wishes, confirm)
            about["metrics"] = saved["metrics"] = [
                {"name": m.name, "source": m.source, "higher_is_better": m.higher} for m in metrics
            ]
            place = Placement((Seat(),) * workers)
            if after_pilot is not None:
                place = after_pilot(pilot)
            if "cuda" in pilot.memory and len(metrics) > 1 and not wishes.metrics:
                plan = session.plan = replace(plan, repeats=min(REPEATS, plan.seeds))
            _name_card(about["machine"], pilot, place)
            pace = Pace.beside_others(session, pilot, place, wishes)
            plan = _agree(session, plan, pilot, metrics, start_s, place, wishes, console, confirm, pace, proof_runs)
            session.plan = plan
            session.save_plan(saved)  # as the budget left it
            about["notes"] = list(plan.notes)
            if plan.steps is not None and pilot.steps > plan.steps:
                _pilot(session, console, again=metrics)
            missing = session.missing()
            with Bar(console, plan, session.ledger.runs, metrics[0].name if metrics else None, len(missing)) as bar:
                session.run(missing, bar.update, _in_time(wishes, pace, plan, pilot))
            late = session.missing()
            if late:
                about["notes"].append(
                    f"budget: {len(late)} of {len(plan.tasks())} runs left out, for the time was over before they began"
                )
            analysis = _analyse(session, wishes, metrics)
        if prove is not None:
            proofs = prove()
    except KeyboardInterrupt:
        done = len(session.ledger.runs)
        console.print(
            f"\nstopped: {done} of {len(session.plan.tasks())} runs are kept in {folder}; "
            f"go on with: tricklint verify --resume {folder}",
            highlight=False,
            soft_wrap=True,
        )
        if trains and done:
            report(folder, _analyse(session, wishes, metrics), proofs, about, console, quiet=True)
        raise
    if aftermath is not None:
        about["notes"] += aftermath(session.ledger.runs.values())
    report(folder, analysis, proofs, about, console)
    return analysis, proofs


@dataclass(frozen=True)
class Pace:
    """How long a run takes beside others: `start_s` before its first step, then `step_s` a step (with all that is done
    between steps)."""

    start_s: float
    step_s: float

    def run_s(self, steps: int) -> float:
        return self.start_s + self.step_s * steps + BETWEEN_RUNS_S

    @classmethod
    def of(cls, pilot: Run, place: Placement) -> Pace:
        """By the pilot, which had the machine and its card to itself: runs that share a card take turns on it."""
        step_s = (pilot.wall_s - pilot.start_s) / max(1, pilot.steps)
        return cls(pilot.start_s * place.sharing, step_s * place.sharing)

    @classmethod
    def beside_others(cls, session: Session, pilot: Run, place: Placement, wishes: Wishes) -> Pace:
        """Where a budget is to be kept, measured: a few steps of as many runs as will be made at a time."""
        pace = cls.of(pilot, place)
        if wishes.budget_s is None or len(place.seats) < 2 or pilot.steps < 2 or not session.missing():
            return pace
        part = min(1.0, TRIAL_SHARE * wishes.budget_s / max(pilot.wall_s, 1e-9))
        runs = session.trial(len(place.seats), max(2, min(pilot.steps, int(pilot.steps * part))))
        slower = [
            run.step_s[0] / pilot.step_s[0]
            for run in runs
            if run.status == "ok" and run.step_s and run.step_s[0] and pilot.step_s and pilot.step_s[0]
        ]
        if not slower:
            return pace
        alone = cls.of(pilot, Placement(place.seats))
        starts = [run.start_s for run in runs if run.steps]
        return cls(max(alone.start_s, sum(starts) / len(starts)), alone.step_s * max(1.0, sum(slower) / len(slower)))


def _in_time(wishes: Wishes, pace: Pace, plan: Plan, pilot: Run) -> Callable[[], bool] | None:
    """Whether a run that begins now is expected to end within a tenth more than the budget; None without a budget."""
    if wishes.budget_s is None:
        return None
    last = wishes.began + 1.1 * wishes.budget_s - pace.run_s(plan.steps or pilot.steps)
    return lambda: time.monotonic() < last


def _name_card(machine_: dict[str, Any], pilot: Run, place: Placement) -> None:
    """The card that the runs are on, which need not be in the machine that asks for them."""
    names = place.cards or ((pilot.memory["device"],) if "device" in pilot.memory else ())
    if names:
        machine_["gpu"] = ", ".join(
            f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
        )


def _analyse(session: Session, wishes: Wishes, metrics: Sequence[Metric]) -> Analysis:
    names = [metric.name for metric in metrics]
    return analyse(session.plan, session.ledger.runs, names, wishes.higher, wishes.margin, bool(wishes.metrics))


def _pilot(session: Session, console: Console, again: Sequence[Metric] = ()) -> Run:
    """The baseline's first run: shows whether the script trains at all, how long it takes and what it gives. It is made
    `again` where the plan cut it short: the metrics must still be there."""
    task = Task(session.plan.baseline, 0)
    if not session.has(task) or again:
        what = f"once more, to step {session.plan.steps} …" if again else "once …"
        console.print(f"trying the baseline {what}", highlight=False)
        session.run([task])
    run = session.ledger.runs[task.key]
    log = session.folder / "logs"
    if run.status in ("crashed", "no-steps", "killed", "oom"):
        raise VerifyError(f"the baseline does not train: {run.message} (see {log})")
    if again and run.score(again[0].name) is None:
        raise VerifyError(
            f"the budget is too short: a run that ends after step {run.steps} gives no {again[0].name} "
            f"({again[0].source})"
        )
    return run


def _metrics(pilot: Run, wishes: Wishes, confirm: Confirm | None) -> list[Metric]:
    """What is judged. Raises VerifyError where that would be the training loss, and nobody said so."""
    if wishes.metrics:
        told = wishes.higher
        return [
            Metric(name, "the recipe's own", told if told is not None else direction(name) is not False)
            for name in wishes.metrics
        ]
    found = choose(pilot, wishes.metric, wishes.higher)
    if not found:
        given = seen(pilot)
        raise VerifyError(
            f"the baseline gave no metric that can be judged in its {pilot.steps} steps"
            + (f"; it gave {given}" if given else "")
            + ". The training loss does not tell whether a fix pays (it is lower without weight decay, say). Print or "
            "log a metric of held-out data, or say what counts: --metric NAME, --metric 'acc: ([\\d.]+)', or "
            "--metric 'train loss'"
        )
    name = found[0].name
    if wishes.metric and wishes.higher is None and direction(name) is None:
        if confirm is None:
            raise VerifyError(f"{name!r}: is higher or lower better? Say --higher or --lower")
        wishes.higher = confirm(f"{name}: is higher better?")
        found = choose(pilot, wishes.metric, wishes.higher)
    return found


def _agree(
    session: Session,
    plan: Plan,
    pilot: Run,
    metrics: Sequence[Metric],
    start_s: float,
    place: Placement,
    wishes: Wishes,
    console: Console,
    confirm: Confirm | None,
    pace: Pace,
    proof_runs: int,
) -> Plan:
    workers = len(place.seats)
    run_s = pace.run_s(pilot.steps)
    if wishes.budget_s is not None:
        given = {m.name: [step for step in m.at if step > 0] for m in metrics[:1]}
        left_s = wishes.began + wishes.budget_s - time.monotonic() - run_s * -(-proof_runs // workers)
        plan = fit(plan, run_s, pilot.steps, workers, left_s, given, start_s=pace.run_s(0))
    missing = [task for task in plan.tasks() if task.key not in session.ledger.runs]
    run_s = pace.run_s(min(plan.steps or pilot.steps, pilot.steps))
    left = seconds(plan, run_s, workers) * len(missing) / max(1, len(plan.tasks())) + start_s
    variants = f"{len(plan.variants)} variants x {plan.seeds} seeds"
    scales = f" x {len(plan.lr_scales)} learning rates" if len(plan.lr_scales) > 1 else ""
    scales += f", and {plan.repeats} of the baseline once more" if plan.repeats else ""
    # Small runs on one card slow each other down less than turns would: without a budget that is not measured.
    about = "at most " if place.sharing > 1 and wishes.budget_s is None else "about "
    console.print(
        f"plan: {variants}{scales} = {len(plan.tasks())} runs of {shown(pilot.wall_s)}, {workers} at a time: "
        f"{about}{shown(left)}",
        highlight=False,
    )
    if str(place):
        console.print(f"  {place}", highlight=False, markup=False)
    for variant in plan.variants:
        console.print(
            f"  {variant.name}" + (f"  {variant.label}" if variant.label != variant.name else ""),
            highlight=False,
            markup=False,
        )
    for number, metric in enumerate(metrics):
        what = "judged" if number == 0 or wishes.metrics else "where that is untouched"
        console.print(f"  {what}: {metric}", highlight=False, markup=False, soft_wrap=True)
    for note in plan.notes:
        console.print(f"  {note}", highlight=False, markup=False)
    least = seeds_needed(plan.comparisons)
    if plan.seeds < least:
        what = (
            f"{plan.comparisons} comparisons need {least} seeds"
            if plan.comparisons > 1
            else f"{least} seeds are the least"
        )
        console.print(f"  {what} for a verdict: with {plan.seeds}, effects are shown only", highlight=False)
    if not wishes.yes and confirm is not None and missing and not confirm("Go on?"):
        raise Declined
    return plan


def report(
    folder: Path,
    analysis: Analysis | None,
    proofs: Sequence[Proof],
    about: dict[str, Any],
    console: Console,
    quiet: bool = False,
) -> None:
    """The terminal's table, report.html, results.csv and results.json."""
    from tricklint.verify.report import html, tables, terminal

    if not quiet:
        terminal.show(analysis, proofs, console, about.get("notes", ()))
    tables.write(folder, analysis, proofs, about)
    path = html.write(folder, analysis, proofs, about)
    if not quiet:
        console.print(f"report: {path}", highlight=False, soft_wrap=True)


def new_folder(root: Path) -> Path:
    """A fresh `.tricklint/verify/<time>` in `root`, which git is told to ignore."""
    base = root / ".tricklint"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        base.mkdir(parents=True, exist_ok=True)
        ignore = base / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        for number in range(100):
            folder = base / "verify" / (stamp if number == 0 else f"{stamp}-{number}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        from tricklint.verify.records import disk_error

        raise disk_error(error, base / "verify") from error
    raise VerifyError(f"{base}: no free name for the session's folder")


def latest_folder(start: Path) -> Path:
    """The newest session of the project around `start`. Raises VerifyError when there is none."""
    start = start.resolve()
    for root in (start, *start.parents):
        found = sorted(p.parent for p in (root / ".tricklint" / "verify").glob("*/plan.json"))
        if found:
            return found[-1]
    raise VerifyError(f"nothing to resume: {start / '.tricklint' / 'verify'} holds no session")


__all__ = ["Declined", "Wishes", "conduct", "latest_folder", "new_folder", "report"]
