"""The user's own training script as the work of a session, and `check --verify`."""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tricklint.verify.engines import Payload
from tricklint.verify.isolation import House, clear, elsewhere
from tricklint.verify.plan import Plan, Task
from tricklint.verify.records import VerifyError
from tricklint.verify.runner import box
from tricklint.verify.session import safe
from tricklint.verify.workspace import Project

# Programs that start a script in several processes → the module that does it.
LAUNCHERS = {("torchrun",): "torch.distributed.run", ("accelerate", "launch"): "accelerate.commands.launch"}


@dataclass(frozen=True)
class Command:
    """A training command: a script (relative to the project's root) or a module, its arguments, and where it runs."""

    script: str | None
    module: str | None
    arguments: tuple[str, ...]
    folder: str = "."  # relative to the root

    @classmethod
    def parse(cls, words: Sequence[str], root: Path, where: Path | None = None, within: str | None = None) -> Command:
        """`python train.py --epochs 3`, `train.py --epochs 3`, `python -m package.train` or `torchrun …`. The script is looked for
        in `where` (default: the root), which is the folder it runs in unless `within` names another of the project.
        Raises VerifyError."""
        rest = list(words)
        where = (where or root).resolve()
        if rest and Path(rest[0]).name.startswith("python"):
            rest = rest[1:]
        while rest and rest[0] in ("-u", "-O", "-B"):
            rest = rest[1:]
        if not rest:
            raise VerifyError("the training command is empty; say `tricklint verify train.py -- --epochs 3`")
        launcher = next((n for n in LAUNCHERS if rest[: len(n)] == list(n)), None)
        if launcher is not None:
            rest = ["-m", LAUNCHERS[launcher], *rest[len(launcher) :]]
        inside = within or ("." if where == root.resolve() else where.relative_to(root.resolve()).as_posix())
        if rest[0] == "-m":
            if len(rest) < 2:
                raise VerifyError(f"`{shlex.join(words)}`: -m needs a module")
            return cls(None, rest[1], tuple(rest[2:]), inside)
        script = where / rest[0]
        if script.suffix != ".py":
            what = "a notebook; export it as a script first" if script.suffix == ".ipynb" else "no Python script"
            raise VerifyError(f"`{shlex.join(words)}`: {rest[0]} is {what}")
        if not script.is_file():
            raise VerifyError(f"`{shlex.join(words)}`: there is no {script}")
        try:
            relative = script.resolve().relative_to(root.resolve())
        except ValueError:
            raise VerifyError(f"{script} is outside the project {root}") from None
        return cls(relative.as_posix(), None, tuple(rest[1:]), inside)

    def __str__(self) -> str:
        return shlex.join(["python", *(("-m", self.module) if self.module else (self.script or "",)), *self.arguments])

    def with_epochs(self, epochs: int | None) -> Command:
        """The same command with `--epochs` set (`[tool.tricklint.verify] epochs`); itself when None."""
        if epochs is None:
            return self
        words = list(self.arguments)
        if "--epochs" in words[:-1]:
            words[words.index("--epochs") + 1] = str(epochs)
        else:
            words = [word for word in words if not word.startswith("--epochs=")] + ["--epochs", str(epochs)]
        return replace(self, arguments=tuple(words))

    def with_seed(self, seed: int) -> list[str]:
        """The arguments, `{seed}` in them replaced by the run's number."""
        return [word.replace("{seed}", str(seed)) for word in self.arguments]


_COUNTER = itertools.count(1)


@dataclass
class ReplayWork:
    """Runs `command` in a fresh copy of `project` for every run."""

    project: Project
    command: Command
    folder: Path  # the session's
    metric_pattern: str | None = None
    mode: str = "plain"
    loops: list[dict[str, Any]] = field(default_factory=list)
    keep: bool = False
    temporary: dict[str, str] = field(default_factory=dict)  # of runs under way
    oom_guard: str = "accumulate"
    sandbox: str = box.KINDS[0]  # where to begin trying
    ports: bool = False  # whether runs side by side meet on ports that the script fixes
    limit: float | None = None  # in mode "memory": bytes of activations above which a run is out of memory

    def groups(self, tasks: Sequence[Task]) -> list[list[Task]]:
        return [[task] for task in tasks]

    def _name(self, task: Task) -> str:
        extra = "" if self.mode == "plain" else f"-{self.mode}"
        return f"{safe(task.variant)}-{task.seed}-{task.lr_scale:g}{extra}"

    def payload(self, tasks: Sequence[Task], plan: Plan, pieces: int) -> Payload:
        task = tasks[0]
        name = self._name(task)
        house = House.build(self.folder / "work" / name, self.project, plan.variant(task.variant).edits)
        copy = house.copy
        self.temporary[name] = str(house.temporary)
        return {
            "id": name,
            "kind": "script",
            "script": str(copy / self.command.script) if self.command.script else None,
            "module": self.command.module,
            "args": self.command.with_seed(task.seed),
            "cwd": str(copy / self.command.folder),
            "root": str(copy),
            "original": str(self.project.root),
            **house.payload(self.folder, self.sandbox),
            "seed": task.seed,
            "inserted": self._inserted(copy, plan.variant(task.variant).edits),
            "steps": plan.steps,
            "lr_scale": task.lr_scale,
            "pieces": pieces,
            "mode": self.mode,
            "limit": self.limit,
            "ports": next(_COUNTER) if self.ports else 0,
            "loops": self.loops,
            "record": str(self.folder / "work" / f"{name}.json"),
            "stdout": str(self.folder / "logs" / f"{name}.out"),
            "stderr": str(self.folder / "logs" / f"{name}.err"),
        }

    def _inserted(self, copy: Path, edits: Mapping[str, str]) -> dict[str, list[tuple[int, int]]]:
        found = {}
        for name, text in edits.items():
            original = self.project.root / name
            before = original.read_bytes().decode("utf-8", errors="surrogateescape") if original.exists() else ""
            found[str(copy / name)] = inserted_lines(before, text)
        return found

    def cleanup(self, tasks: Sequence[Task]) -> list[str]:
        found: list[str] = []
        for task in tasks:
            folder = self.folder / "work" / self._name(task)
            found += elsewhere(folder, self.project.root)
            clear(folder, self.temporary.pop(folder.name, None), keep=self.keep)
        return found


def inserted_lines(before: str, after: str) -> list[tuple[int, int]]:
    """The (first, last) lines of `after` that were put between lines of `before`. Lines that took another's place are
    none of them: what they draw takes the place of what the old ones drew."""
    matcher = difflib.SequenceMatcher(a=before.splitlines(), b=after.splitlines(), autojunk=False)
    return [(b1 + 1, b2) for kind, _, _, b1, b2 in matcher.get_opcodes() if kind == "insert"]
