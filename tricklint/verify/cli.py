"""`tricklint verify`, and `check … --verify`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tricklint.verify.records import VerifyError

if TYPE_CHECKING:
    from rich.console import Console

    from tricklint.verify.engines import Engine


@dataclass
class Options:
    """The command line of `tricklint verify`; None where nothing was said."""

    command: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    list_recipes: bool = False
    seeds: int | None = None
    steps: int | None = None
    metric: str | None = None
    higher: bool | None = None
    margin: float | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    lr_scale: str | None = None
    stack: bool = True
    engine: str | None = None
    ray_address: str | None = None
    workers: int | None = None
    oom_guard: str | None = None
    device: str = "auto"
    budget: str | None = None
    timeout: str | None = None
    yes: bool = False
    resume: str | None = None
    python: str | None = None
    root: Path | None = None
    output: Path | None = None
    keep_copies: bool = False
    began: float = field(default_factory=time.monotonic)


class _Failure(click.ClickException):
    exit_code = 2


@click.command(context_settings={"ignore_unknown_options": False, "max_content_width": 100})
@click.argument("command", nargs=-1)
@click.option("--recipe", multiple=True, metavar="NAME", help="Run a built-in recipe instead of a script (see --list).")
@click.option("--list", "list_recipes", is_flag=True, help="List the built-in recipes.")
@click.option("--seeds", type=click.IntRange(1), help="Paired seeds (default 8); no verdict below 6.")
@click.option("--steps", type=click.IntRange(1), help="End each run after so many optimizer steps.")
@click.option("--metric", help="A name, 'train loss', or a pattern like 'val_acc: ([\\d.]+)'.")
@click.option("--higher/--lower", "higher", default=None, help="Whether a higher metric is better.")
@click.option("--margin", type=float, help="Effects smaller than this are equivalent.")
@click.option("--select", multiple=True, metavar="RULES", help="Only these fixes (with --recipe: these variants).")
@click.option("--ignore", multiple=True, metavar="RULES", help="Not these fixes.")
@click.option("--lr-scale", metavar="0.5,1,2", help="Also try neighbouring learning rates.")
@click.option("--stack/--no-stack", default=True, help="Also train the fixes on top of each other.")
@click.option("--engine", type=click.Choice(["local", "ray"]), help="Where runs happen.")
@click.option("--ray-address", help="The Ray cluster (default: a local one).")
@click.option("--workers", type=click.IntRange(1), help="Runs at a time (default: one a core, or what fits the GPU).")
@click.option("--oom-guard", type=click.Choice(["accumulate", "koila", "none"]), help="What to do out of memory.")
@click.option("--device", default="auto", help="Device of recipes: auto, cpu, cuda.")
@click.option("--budget", metavar="10m", help="Fit the plan to this time.")
@click.option("--timeout", metavar="10m", help="End a run that takes longer.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--resume", is_flag=False, flag_value="latest", metavar="[FOLDER]", help="Go on with a session.")
@click.option("--python", metavar="PATH", help="The project's interpreter.")
@click.option("--root", type=click.Path(path_type=Path), help="The project's folder (default: as `check` finds it).")
@click.option("--output", type=click.Path(path_type=Path), help="Where .tricklint/verify goes (default: the project).")
@click.option("--keep-copies", is_flag=True, help="Keep the copies in which scripts ran.")
def verify_command(**given: Any) -> None:
    """Train with and without the fixes, and say with evidence whether they pay. RUNS THE PROJECT'S CODE.

    \b
    tricklint verify train.py -- --epochs 3 --lr 0.1     your script, in copies of the project
    tricklint verify                                     the command of [tool.tricklint.verify]
    tricklint verify --recipe vgg-digits                 a built-in recipe, no project needed

    Your files are never touched. Exit code: 0 done, 2 it could not be done, 130 stopped.
    """
    import tricklint.verify.stats  # noqa: F401  # what is not installed is said first

    options = Options(**given)
    if options.list_recipes:
        from tricklint.verify.recipes import CATALOGUE

        for name, (_, _, line) in CATALOGUE.items():
            click.echo(f"{name:16} {line}")
        return
    sys.exit(_guarded(lambda: _dispatch(options)))


def _guarded(action: Any) -> int:
    """Run; every failure that can be foreseen ends in one line."""
    from tricklint.settings import SettingsError
    from tricklint.verify.conduct import Declined

    try:
        action()
    except (VerifyError, SettingsError, ValueError, KeyError) as error:
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        raise _Failure(text + _own_fault(error)) from (
            None if isinstance(error, (VerifyError, SettingsError)) else error
        )
    except Declined:
        click.echo("nothing was trained")
    except KeyboardInterrupt:
        return 130
    return 0


def _own_fault(error: Exception) -> str:
    """Where an error came from that none of our lines raised on purpose: a fault of tricklint's, to be found again."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if "tricklint" in Path(f.filename).parts]
    if not inside or (frames[-1] is inside[-1] and (frames[-1].line or "raise").startswith("raise")):
        return ""
    return f" ({type(error).__name__} in {Path(inside[-1].filename).name}:{inside[-1].lineno}, a fault of tricklint)"


def _dispatch(options: Options) -> None:
    if options.resume:
        return _resume(options)
    if options.recipe:
        if options.command:
            raise VerifyError(f"--recipe needs no script: {options.command[0]}")
        for name in options.recipe:
            _recipe(name, options)
        return None
    return _script(options)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100)


def _confirm() -> Any:
    """How questions are asked; None where nobody can answer."""
    return (lambda text: click.confirm(text, default=True)) if sys.stdin.isatty() and sys.stdout.isatty() else None


def _ask_first(yes: bool) -> None:
    """Raises VerifyError where nobody can be asked whether to train, and nobody said so beforehand."""
    if not yes and _confirm() is None:
        raise VerifyError("this trains, and there is no terminal on which to ask first: say --yes to start")


def _split(values: Sequence[str]) -> list[str]:
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def _scales(text: str | None, default: Sequence[float] = (1.0,)) -> tuple[float, ...]:
    from tricklint.verify.plan import lr_scales

    if text is None:
        return lr_scales(default)
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise VerifyError(f"--lr-scale {text}: expected numbers like 0.5,1,2") from None
    if any(v <= 0 for v in values):
        raise VerifyError(f"--lr-scale {text}: factors must be above 0")
    return lr_scales(values)


def _wishes(options: Options, settings: Any = None) -> Any:
    """A session that goes on keeps its plan, which its budget has cut already."""
    from tricklint.verify.conduct import Wishes
    from tricklint.verify.plan import duration

    verify = settings.verify if settings is not None else None
    budget = duration(options.budget) if options.budget else (verify.budget if verify and not options.resume else None)
    return Wishes(
        yes=options.yes,
        budget_s=budget,
        metric=options.metric or (verify.metric if verify else None),
        higher=options.higher if options.higher is not None else (verify.higher_is_better if verify else None),
        margin=options.margin if options.margin is not None else (verify.margin if verify else None),
        timeout_s=duration(options.timeout) if options.timeout else None,
        began=options.began,
        resumed=bool(options.resume),
        kept={name: getattr(options, name) for name in KEPT},
    )


def _engine(
    kind: str,
    options: Options,
    workers: int,
    preload: Sequence[str],
    python: str | None,
    address: str | None = None,
    path: Sequence[str] = (),
    warm: Sequence[tuple[str, dict[str, Any]]] = (),
) -> Engine:
    if kind == "ray":
        try:
            from tricklint.verify.engines.ray import RayEngine
        except ModuleNotFoundError as error:
            raise VerifyError(f"--engine ray needs {error.name}: pip install 'tricklint[cluster]'") from None
        return RayEngine(address, python)
    from tricklint.verify.engines.local import LocalEngine

    return LocalEngine(workers, python, preload, path, warm=warm)


# -- recipes ----------------------------------------------------------------------------------------------------------


def _recipe(name: str, options: Options, folder: Path | None = None) -> None:
    from tricklint.verify.conduct import conduct, new_folder
    from tricklint.verify.devices import Placement, place
    from tricklint.verify.engines.local import cores
    from tricklint.verify.recipe_work import RecipeWork, plan_of
    from tricklint.verify.recipes import load
    from tricklint.verify.stats import DEFAULT_SEEDS

    recipe = load(name)
    console = _console()
    wishes = _wishes(options)
    plan = plan_of(
        recipe, options.seeds or DEFAULT_SEEDS, options.steps, _scales(options.lr_scale), _split(options.select)
    )
    _ask_first(options.yes)
    folder = folder or new_folder(options.output or Path.cwd())
    work = RecipeWork(recipe, folder, options.oom_guard or "accumulate", options.device)
    (folder / "work").mkdir(exist_ok=True)
    recipe.prepare(folder / "work")
    wishes.metrics, wishes.higher = recipe.metrics, recipe.higher_is_better
    wishes.margin = wishes.margin if wishes.margin is not None else recipe.margin
    wishes.about = {"recipe": recipe.name, "training": f"{recipe.title}; batch {recipe.batch}, {plan.steps} steps"}
    console.print(work.memory(), highlight=False)
    workers = options.workers or cores()
    path = [str(Path(__file__).resolve().parents[2])]
    warm = [("tricklint.verify.recipes.base:warm", {"recipe": name, "folder": str(folder / "work")})]
    engine = _engine(options.engine or "local", options, workers, _preload(name), None, options.ray_address, path, warm)

    def after_pilot(run: Any) -> Placement:
        placement = place(run, engine.workers, options.workers, lambda: engine.cards(run))
        if options.engine != "ray" and plan.lr_scales == (1.0,):
            names = [v.name for v in plan.variants]
            steps, seats = plan.steps or recipe.steps, len(placement.seats)
            times = work.choose_engines(names, plan.seeds, steps, seats, compiled="cuda" in run.memory)
            shown = {kind for found in times.values() for kind in found}
            if work.stack:
                console.print(
                    f"  stacked (five timed steps say it is faster): {', '.join(work.stack)}", highlight=False
                )
            elif "stacked" in shown:
                console.print(
                    "  the plain loop: five timed steps show that stacking gains nothing here", highlight=False
                )
        engine.place(placement)
        return placement

    try:
        conduct(folder, plan, work, engine, workers, wishes, console, _confirm(), after_pilot=after_pilot)
    finally:
        engine.close()


def _preload(recipe: str) -> list[str]:
    from tricklint.verify.recipes import CATALOGUE

    return [
        "torch",
        "torch._dynamo",
        "torch.func",
        f"tricklint.verify.recipes.{CATALOGUE[recipe][0]}",
        "tricklint.verify.recipes.stacked",
        "sklearn.datasets",
    ]


# -- scripts ----------------------------------------------------------------------------------------------------------


def _script(options: Options) -> None:
    """The user's script: check the project, then replay with and without the fixes."""
    from tricklint import settings as configuration
    from tricklint.verify.replay import Command

    words = list(options.command)
    scripts = [w for w in words if w.endswith(".py")]
    start = Path(scripts[0]).parent if words and scripts else Path.cwd()
    given: dict[str, Any] = {"select": _split(options.select) or None, "ignore": _split(options.ignore) or None}
    given["python"] = str(options.python) if options.python else None
    settings = configuration.load([start if start.exists() else Path.cwd()], options=given)
    root = existing_root(options.root or project_root(settings))
    if words:
        here = Path.cwd().resolve()
        where = here if here.is_relative_to(root) else root
        if scripts and where != here:
            words = [str(Path(w).resolve()) if w == scripts[0] else w for w in words]
        command = Command.parse(words, root, where)
    elif settings.verify.command:
        command = Command.parse(settings.verify.command, root).with_epochs(settings.verify.epochs)
    else:
        raise VerifyError(
            "what is to be trained? `tricklint verify train.py -- --epochs 3`, --recipe NAME, "
            'or in pyproject.toml: [tool.tricklint.verify] command = "train.py --epochs 3"'
        )
    _ask_first(options.yes)
    from tricklint.check import run
    from tricklint.commands.complaints import complain

    report = run([root], settings)
    complain(report)
    if report.problems and not any(f.fix is not None for f in report.findings):
        raise VerifyError("nothing to verify: no finding with a fix, and what is named above could not be read")
    _replay(report, report.findings, root, command, settings, options)


def project_root(settings: Any) -> Path:
    """The project that check finds. Where nothing marks it (no configuration, no .git), a script is run from the folder
    in which the command was typed, as `python src/train.py` is; not from the home folder, which would be copied."""
    root: Path = settings.root
    here = Path.cwd().resolve()
    marked = settings.config_file is not None or (root / ".git").exists()
    if marked or here in (Path.home(), Path(here.anchor)) or not root.resolve().is_relative_to(here):
        return root
    return here


def existing_root(folder: Path) -> Path:
    """Raises VerifyError where there is no such folder."""
    if not folder.is_dir():
        raise VerifyError(f"--root {folder}: there is no such folder")
    return folder.resolve()


def verify_checked(report: Any, paths: Sequence[Path], settings: Any, yes: bool = False) -> int:
    """`check … --verify`: the findings of the report, with the command of [tool.tricklint.verify]."""
    import tricklint.verify.stats  # noqa: F401  # what is not installed is said first
    from tricklint.settings import SettingsError
    from tricklint.verify.replay import Command

    root = existing_root(settings.root)
    try:
        if not settings.verify.command:
            raise VerifyError(
                '--verify needs a training command: [tool.tricklint.verify] command = "train.py --epochs 3" '
                "in pyproject.toml, or `tricklint verify train.py -- --epochs 3`"
            )
        _ask_first(yes)
        command = Command.parse(settings.verify.command, root)
        findings = [f for f in report.findings if Path(f.path).resolve().is_relative_to(root.resolve())]
        _replay(
            report,
            findings,
            root,
            command.with_epochs(settings.verify.epochs),
            settings,
            Options(yes=yes),
        )
    except (VerifyError, SettingsError) as error:
        click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
        return 2
    except KeyboardInterrupt:
        sys.exit(130)
    except _declined():
        click.echo("nothing was trained")
    return 0


def _declined() -> type[Exception]:
    from tricklint.verify.conduct import Declined

    return Declined


def _replay(report: Any, findings: Sequence[Any], root: Path, command: Any, settings: Any, options: Options) -> None:
    from tricklint.verify import variants as building
    from tricklint.verify.conduct import new_folder
    from tricklint.verify.plan import Plan
    from tricklint.verify.proofs import provable
    from tricklint.verify.stats import seeds_needed
    from tricklint.verify.workspace import Project

    console = _console()
    fixable = [f for f in findings if f.fix is not None]
    loops, memory = provable(findings)
    if not fixable and not memory:
        many = f"{len(findings)} findings, none has a fix" if findings else "no findings"
        console.print(f"nothing to verify: {many}", highlight=False)
        return
    project = Project.scan(root)
    rules = len({f.code for f in fixable})
    if rules:
        many = "1 rule" if rules == 1 else f"{rules} rules"
        console.print(f"making the fixes of {many} in copies of {root.name} …", highlight=False)
    edits_of = building.maker(project, fixable, report.sources)
    made, ladder, notes = building.build(project.root, fixable, edits_of, options.stack)
    unfixed = sorted({f.code for f in findings if f.fix is None} - {f.code for f in (*fixable, *memory)})
    if unfixed:
        notes.append(f"no fix to measure: {', '.join(unfixed)}")
    verify = settings.verify
    scales = _scales(options.lr_scale, verify.lr_scale)
    fixes = sum(v.kind == "alone" for v in made)
    # The stack of all is judged too, where there is more than one fix.
    wanted = options.seeds or max(verify.seeds, seeds_needed(fixes + (options.stack and fixes > 1)))
    plan = Plan(
        f"{root.name}: {command}",
        _own_command(options),
        tuple(made),
        ladder,
        wanted,
        options.steps or verify.steps,
        scales,
        tuple(notes),
    )
    folder = new_folder(options.output or root)
    _replay_plan(folder, project, command, plan, (loops, memory, edits_of), settings, options, console)


def _own_command(options: Options) -> str:
    import shlex

    return shlex.join(["tricklint", *sys.argv[1:]])


def _replay_plan(
    folder: Path,
    project: Any,
    command: Any,
    plan: Any,
    proven: tuple[Sequence[Any], Sequence[Any], Any],
    settings: Any,
    options: Options,
    console: Console,
) -> None:
    from tricklint.verify.conduct import conduct
    from tricklint.verify.devices import Placement, place
    from tricklint.verify.engines.local import cores
    from tricklint.verify.isolation import Watch
    from tricklint.verify.proofs import Proof, prove_loops, prove_memory
    from tricklint.verify.records import Ledger
    from tricklint.verify.replay import ReplayWork

    loops, memory, edits_of = proven  # findings that training cannot judge, and what makes their fixes
    wishes = _wishes(options, settings)
    wishes.about = {
        "training": str(command),
        "project": project.digest(),
        "root": str(project.root),
        "folder": command.folder,
        "proven": sorted({f.code for f in (*loops, *memory)}),
    }
    guard = options.oom_guard or settings.verify.oom_guard or "accumulate"
    if guard == "koila":
        console.print(
            "  koila is for recipes: it wraps a batch that the script makes itself; out of memory, batches are halved",
            highlight=False,
        )
    work = ReplayWork(project, command, folder, wishes.metric, keep=options.keep_copies, oom_guard=guard)
    workers = options.workers or cores()
    kind = options.engine or settings.verify.engine
    python = options.python or (str(settings.python) if settings.python else None)
    address = options.ray_address or settings.verify.ray_address
    engine = _engine(kind, options, workers, ["torch", "torch._dynamo"], python, address)

    def after_pilot(run: Any) -> Placement:
        placement = place(run, engine.workers, options.workers, lambda: engine.cards(run))
        work.ports = int(run.memory.get("processes", 1)) > 1 and len(placement.seats) > 1
        engine.place(placement)
        engine.preload(_harmless(run, project))
        return placement

    def prove() -> list[Proof]:
        found: list[Proof] = []
        if loops:
            console.print(
                f"timing {len(loops)} loop{'s' if len(loops) > 1 else ''} over frames of growing size …",
                highlight=False,
            )
            found += prove_loops(loops, work, engine, edits_of)
        if memory:
            console.print("counting what autograd keeps alive …", highlight=False)
            found += prove_memory(memory, work, engine, edits_of, plan.steps, settings.memory.gpu)
        return found

    watch = Watch.begin(project)
    try:
        counted = len({f.code for f in memory}) + 1 if memory else 0
        runs = counted + bool(loops)
        conduct(folder, plan, work, engine, workers, wishes, console, _confirm(), prove, after_pilot, watch.lines, runs)
    except BaseException:
        for line in watch.lines(Ledger(folder / "results.jsonl").runs.values()):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        raise
    finally:
        engine.close()


def _harmless(run: Any, project: Any) -> list[str]:
    """Packages worth importing before the fork: well-known ones that the baseline imported."""
    known = (
        "torch",
        "numpy",
        "pandas",
        "scipy",
        "sklearn",
        "torchvision",
        "timm",
        "transformers",
        "lightning",
        "pytorch_lightning",
    )
    return [name for name in known if name in run.packages]


# -- resume -----------------------------------------------------------------------------------------------------------


KEPT = ("python", "engine", "ray_address", "workers", "oom_guard", "device", "timeout", "keep_copies")


def _restore(options: Options, saved: dict[str, Any]) -> None:
    """What the session was begun with, where the command line does not say otherwise."""
    usual = Options()
    for name, value in saved.get("wishes", {}).items():
        if name in ("metric", "higher", "margin", *KEPT) and getattr(options, name) == getattr(usual, name):
            setattr(options, name, value)


def _resume(options: Options) -> None:
    """Go on with a session: its own plan and fixes, as they were."""
    import json

    from tricklint import settings as configuration
    from tricklint.verify.conduct import latest_folder
    from tricklint.verify.plan import Plan
    from tricklint.verify.proofs import provable
    from tricklint.verify.replay import Command
    from tricklint.verify.workspace import Project

    if options.resume == "latest":
        folder = latest_folder(options.output or Path.cwd())
    else:
        folder = Path(options.resume or "").resolve()
    try:
        saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        plan = Plan.from_json(saved["plan"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerifyError(f"{folder} holds no session to resume ({error})") from None
    about = saved.get("about", {})
    if "recipe" in about:
        options.seeds, options.steps = plan.seeds, plan.steps
        options.lr_scale = ",".join(f"{s:g}" for s in plan.lr_scales)
        options.select = tuple(v.name for v in plan.variants[1:])
        _restore(options, saved)
        return _recipe(about["recipe"], options, folder)
    import shlex

    root = Path(about["root"])
    project = Project.scan(root)
    if project.digest() != about["project"]:
        raise VerifyError(f"the code of {root} has changed since {folder.name} began; start anew instead of --resume")
    _restore(options, saved)
    _ask_first(options.yes)
    settings = configuration.load([root], options={"python": str(options.python) if options.python else None})
    command = Command.parse(shlex.split(about["training"]), root, within=about.get("folder", "."))
    from tricklint.check import run
    from tricklint.verify import variants as building

    report = run([root], settings)
    asked = about.get("proven", [])
    loops, memory = provable([f for f in report.findings if f.code in asked])
    edits_of = building.maker(project, [*loops, *memory], report.sources)
    proven = (loops, memory, edits_of)
    return _replay_plan(folder, project, command, plan, proven, settings, options, _console())
