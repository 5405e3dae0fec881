"""What keeps runs apart from the user's files and from each other, seen from the side that starts them: each run's
folders, the settings of its environment, and in the end the lines that say what was written where.

The run's own side is `runner.box` (the kernel's part) and `runner.files` (Python's).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricklint.verify.records import Run
from tricklint.verify.runner import box
from tricklint.verify.workspace import Project

# Shared stores of what was downloaded or compiled: (variable that moves it, where it is else, below the home folder).
# A run may write there, else every run would fetch the same weights anew; what is new in them is reported.
CACHES = (
    ("TORCH_HOME", ".cache/torch"),
    ("HF_HOME", ".cache/huggingface"),
    ("TRITON_CACHE_DIR", ".triton"),
    ("TORCH_EXTENSIONS_DIR", ".cache/torch_extensions"),
    ("CUDA_CACHE_PATH", ".nv"),
    ("MPLCONFIGDIR", ".cache/matplotlib"),
)
DOWNLOADS = ("TORCH_HOME", "HF_HOME", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH")  # where there is none yet, the session has one for all runs
# Trackers that send what a run logs somewhere, or keep it in one place for all runs; None: not set.
TRACKERS: dict[str, str | None] = {
    "WANDB_MODE": "offline",
    "WANDB_DIR": None,  # then it is the working folder
    "WANDB_RUN_ID": None,
    "WANDB_RESUME": None,
    "MLFLOW_TRACKING_URI": None,
    "MLFLOW_RUN_ID": None,
    "COMET_START_ONLINE": "0",
    "NEPTUNE_MODE": "offline",
    "CLEARML_OFFLINE_MODE": "1",
    "SWANLAB_MODE": "offline",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
ASIDE = ".aside"  # in a run's folder: where outputs go that the command sends to other places
SHOWN = 5  # paths that one line names
WATCHED = 20_000  # files of a cache that are looked at


@dataclass
class House:
    """The folders of one run below `folder` (…/work/<name>): the copy of the project, beside it links to what lies
    beside the project (`../data` is found), and what it writes elsewhere."""

    folder: Path
    copy: Path
    temporary: Path

    @property
    def store(self) -> Path:
        return self.folder.with_name(self.folder.name + ".elsewhere")

    @classmethod
    def build(cls, folder: Path, project: Project, edits: Mapping[str, str]) -> House:
        clear(folder)
        copy = surroundings(folder, project.root)
        project.copy(copy, edits)
        house = cls(folder, copy, Path(tempfile.mkdtemp(prefix="tl-")))
        house.store.mkdir()
        return house

    def payload(self, session: Path, sandbox: str) -> dict[str, Any]:
        """What the runner has to know."""
        shared = session / "cache"
        environment: dict[str, str | None] = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary))
        environment |= TRACKERS | {"TORCHINDUCTOR_CACHE_DIR": str(shared / "inductor")}
        if os.environ.get("WANDB_MODE") in ("disabled", "dryrun"):
            environment["WANDB_MODE"] = os.environ["WANDB_MODE"]
        caches = []
        for variable, place in cache_folders():
            if place.is_dir():
                caches.append(str(place))
            elif variable in DOWNLOADS:
                environment[variable] = str(shared / variable.lower())
        return {
            "sandbox": sandbox,
            "store": str(self.store),
            "aside": str(self.folder / ASIDE),
            "allowed": [str(session), str(self.temporary), *caches],
            "environment": environment,
            "temporary": str(self.temporary),
        }


def cache_folders() -> list[tuple[str, Path]]:
    """(the variable that moves it, the folder) of each shared cache, whether it is there or not."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    usual = {variable: cache / place[7:] if place.startswith(".cache/") else home / place for variable, place in CACHES}
    return [(variable, Path(os.environ.get(variable) or place)) for variable, place in usual.items()]


def _above(root: Path) -> list[Path]:
    """The folders above the project that a run finds around its copy, the nearest first."""
    return list(root.parents)[:2]


def surroundings(folder: Path, root: Path, most: int = 5000) -> Path:
    """Make `folder` look like what lies around `root`, by links, and return where `root`'s copy belongs."""
    above = _above(root)
    place = folder
    place.mkdir(parents=True)
    for parent, child in zip(reversed(above), [*reversed(above[:-1]), root]):
        try:
            with os.scandir(parent) as entries:
                names = [entry.name for entry in entries]
        except OSError:
            names = []
        for name in names if len(names) <= most else ():
            if name != child.name:
                try:
                    os.symlink(parent / name, place / name)
                except OSError:
                    break
        place = place / child.name
        if child != root:
            place.mkdir()
    return place


def clear(folder: Path, temporary: str | None = None, keep: bool = False) -> None:
    """Remove a run's folders; with `keep` only its folder for temporary files."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        box.discard(str(folder.with_name(folder.name + ".elsewhere")))
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)


def elsewhere(folder: Path, root: Path) -> list[str]:
    """Where a run wrote outside of the project, as the paths that it used: through overlays, and beside its copy."""
    found = box.written(str(folder.with_name(folder.name + ".elsewhere")))
    above = _above(root)
    base = above[-1] if above else root
    copy = str(folder / root.relative_to(base))
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(place, name) != copy]
        for name in names:
            path = Path(place, name)
            inside = path.relative_to(folder)
            if inside.parts[0] == ASIDE:
                found.append(str(Path(root.anchor, *inside.parts[1:])))
            elif not path.is_symlink():
                found.append(str(base / inside))
    return sorted(set(found))


@dataclass
class Watch:
    """The user's folders that runs can reach, as they were before: the project and the shared caches."""

    project: Project
    caches: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def begin(cls, project: Project) -> Watch:
        return cls(project, {str(place): _stamps(place) for _, place in cache_folders() if place.is_dir()})

    def lines(self, runs: Iterable[Run]) -> list[str]:
        """What to say in the end; empty where nothing was written anywhere but in the copies."""
        runs = list(runs)
        found: list[str] = []
        changed = self.project.changed()
        if changed:
            found.append(f"warning: changed in the project while training ran: {_some(changed)}")
        fresh: list[str] = []
        for place, before in self.caches.items():
            names = [name for name, stamp in _stamps(Path(place)).items() if before.get(name) != stamp]
            fresh += [f"{place}/{name}" for name in names] if len(names) < SHOWN else [f"{place} ({len(names)} files)"]
        if fresh:
            found.append(f"written into shared caches while training ran: {_some(fresh)}")
        kept = Counter(path for run in runs for path in run.elsewhere)
        if kept:
            found.append(
                f"written outside of the run's copy, and redirected into the run's own folder (what is there was not "
                f"changed): {_some(list(kept))}"
            )
        refused = Counter(path for run in runs for path in run.refused)
        if refused:
            found.append(f"refused, because it lies outside of the run's copy: writing {_some(list(refused))}")
        ways = {run.sandbox: run.sandbox_why for run in runs if run.sandbox}
        if "hooks" in ways:
            why = f" ({ways['hooks']})" if ways["hooks"] else ""
            found.append(f"not watched here: what C code and child processes write outside of their copy{why}")
        return found


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                stat = os.lstat(path)
            except OSError:
                continue
            found[os.path.relpath(path, folder)] = (stat.st_size, stat.st_mtime_ns)
        if len(found) > WATCHED:
            break
    return found


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more
