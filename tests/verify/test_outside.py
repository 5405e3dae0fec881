"""Nothing of the user's is touched, whichever way the system allows: overlays, Landlock, or Python's hooks alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.isolation import Watch
from tricklint.verify.plan import BASELINE, Task
from tricklint.verify.records import Run
from tricklint.verify.runner import box
from tricklint.verify.workspace import Project

from .helpers import MODEL, copy_of, session_for

STEP = """
import torch
w = torch.nn.Parameter(torch.ones(1))
o = torch.optim.SGD([w], lr=0.1)
w.sum().backward(); o.step()
"""


def allowed(kind: str) -> bool:
    """Whether this machine has the sandbox, asked of a process of its own."""
    code = (
        "import os, sys, tempfile; from tricklint.verify.runner import box; d = tempfile.mkdtemp(); "
        f"print(box.enter({kind!r}, [d], d)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() == kind


@pytest.fixture(params=box.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if not allowed(request.param):
        pytest.skip(f"no {request.param} on this machine")
    return str(request.param)


def snapshot(*roots: Path) -> dict[str, Any]:
    """Every file's bytes and mode, every folder and link, apart from sessions."""
    found: dict[str, Any] = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            if ".tricklint" not in path.parts:
                what = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
                found[str(path)] = (what, path.lstat().st_mode)
    return found


def run_in(kind: str, root: Path, engine: Any, text: str, runs: int = 1, **options: Any) -> tuple[Any, list[Run]]:
    if not (root / "train.py").exists() or (root / "train.py").read_text() != textwrap.dedent(text) + STEP:
        (root / "train.py").write_text(textwrap.dedent(text) + STEP)
    session = session_for(root, engine, seeds=runs, sandbox=kind, **options)
    session.run([Task(BASELINE, seed) for seed in range(runs)])
    return session, list(session.ledger.runs.values())


ATTEMPTS = """
import os, pathlib, shutil, sqlite3, subprocess, torch

def attempt(name, action):
    try:
        action()
        print("did", name)
    except OSError as error:
        print("refused", name, error)
    except Exception as error:
        print("failed", name, error)

def shell(command):
    subprocess.run(command, shell=True, check=True, capture_output=True)

for top in ({project!r}, {outside!r}):
    attempt("write", lambda: open(f"{{top}}/new.txt", "w").write("x"))
    attempt("append", lambda: open(f"{{top}}/notes.txt", "a").write("more"))
    attempt("folder", lambda: os.makedirs(f"{{top}}/runs/one"))
    attempt("save", lambda: torch.save(torch.zeros(3), f"{{top}}/model.pt"))
    attempt("touch", lambda: pathlib.Path(f"{{top}}/touched").touch())
    attempt("mode", lambda: os.chmod(f"{{top}}/notes.txt", 0o600))
    attempt("times", lambda: os.utime(f"{{top}}/notes.txt", (1, 1)))
    attempt("database", lambda: sqlite3.connect(f"{{top}}/new.db").execute("create table a(b)"))
    attempt("link", lambda: os.symlink("/tmp", f"{{top}}/latest"))
    attempt("move", lambda: os.rename(f"{{top}}/gone.txt", f"{{top}}/moved.txt"))
    attempt("remove", lambda: os.remove(f"{{top}}/notes.txt"))
    attempt("tree", lambda: shutil.rmtree(f"{{top}}/tree"))
    attempt("empty", lambda: os.rmdir(f"{{top}}/empty"))
    attempt("own", lambda: open("own.txt", "w").write("x"))
"""
BY_OTHERS = """
for top in ({project!r}, {outside!r}):
    attempt("shell write", lambda: shell(f"echo x > {{top}}/shell.txt"))
    attempt("shell append", lambda: shell(f"echo x >> {{top}}/notes2.txt"))
    attempt("shell remove", lambda: shell(f"rm {{top}}/notes2.txt"))
    attempt("script", lambda: torch.jit.script(torch.nn.Linear(1, 1)).save(f"{{top}}/scripted.pt"))
attempt("big in place", lambda: shell("printf zz | dd of=big.bin conv=notrunc bs=2 count=1"))
"""


def populated(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("notes.txt", "notes2.txt", "gone.txt"):
        (folder / name).write_text("old\n")
    for name in ("tree", "empty"):
        (folder / name).mkdir()
    (folder / "tree" / "leaf").write_text("leaf")
    return folder


def test_whatever_a_script_tries_outside_of_its_copy(kind: str, project: Path, engine: Any, tmp_path: Path) -> None:
    """New files, changes, modes, links, moves, removals, databases, saves from C++, child processes: the originals stay
    as they were, and every attempt is reported."""
    outside = populated(tmp_path / "outside")
    populated(project)
    (project / "big.bin").write_bytes(b"b" * (2 << 20))
    text = (ATTEMPTS + (BY_OTHERS if kind != "hooks" else "")).format(project=str(project), outside=str(outside))
    (project / "train.py").write_text(textwrap.dedent(text) + STEP)
    before = snapshot(project, outside)
    watch = Watch.begin(Project.scan(project))
    session, (run,) = run_in(kind, project, engine, text)
    assert run.status == "ok", run.message
    assert snapshot(project, outside) == before
    assert run.sandbox == kind
    out = (session.folder / "logs" / "baseline-0-1.out").read_text()
    assert "failed" not in out or kind == "landlock"  # sqlite speaks of a database that cannot be opened
    reported = run.elsewhere + run.refused
    for top in (project, outside):
        names = ["new.txt", "notes.txt", "runs" if kind != "mounts" else "runs/one", "model.pt", "touched", "new.db"]
        for name in [*names, "latest", "tree", "empty"]:
            assert str(top / name) in reported, name
    if kind == "mounts":
        assert "refused" not in out
        assert str(outside / "shell.txt") in reported and str(outside / "notes2.txt") in reported
    lines = watch.lines([run])
    assert any("redirected" in line if kind == "mounts" else "refused" in line for line in lines)
    assert any("not watched here" in line for line in lines) == (kind == "hooks")


def test_what_gets_through_is_reported_new_files_too(project: Path, engine: Any) -> None:
    """Without a sandbox a child process can write into the original: changed, new, and removed files are named."""
    (project / "notes.txt").write_text("old")
    (project / "gone.txt").write_text("old")
    code = f"""
        import subprocess
        for command in ("echo x > new.txt", "mkdir runs", "echo more >> notes.txt", "rm gone.txt", "chmod 600 model.py"):
            subprocess.run(command, shell=True, check=True, cwd={str(project)!r})
    """
    (project / "train.py").write_text(textwrap.dedent(code) + STEP)
    watch = Watch.begin(Project.scan(project))
    run_in("hooks", project, engine, code)
    assert set(watch.project.changed()) == {"gone.txt", "model.py", "new.txt (new)", "notes.txt", "runs (new)"}
    assert watch.lines([])[0].startswith("warning: changed in the project while training ran: ")


RESUMING = """
import os, torch
place = os.path.expanduser({place!r})
if os.path.exists(place):
    print("score:", torch.load(place)["epoch"])
else:
    print("score: 0")
os.makedirs(os.path.dirname(place), exist_ok=True)
torch.save({{"epoch": 1}}, place)
print("back score:", torch.load(place)["epoch"])
"""


def test_runs_do_not_go_on_from_each_others_checkpoints(project: Path, engine: Any, tmp_path: Path) -> None:
    """A checkpoint on a scratch disk: each run finds what was there before, and its own."""
    if not allowed("mounts"):
        pytest.skip("no mount namespaces on this machine")
    place = tmp_path / "scratch" / "last.pt"
    text = RESUMING.format(place=str(place))
    _, runs = run_in("mounts", project, engine, text, runs=2)
    assert [run.series["score"] for run in runs] == [[0.0], [0.0]]
    assert [run.series["back score"] for run in runs] == [[1.0], [1.0]]
    assert not place.parent.exists()
    assert runs[0].elsewhere == [str(place)]


@pytest.mark.parametrize("way", ["landlock", "hooks"])
def test_a_checkpoint_elsewhere_is_refused_with_its_place(way: str, project: Path, engine: Any, tmp_path: Path) -> None:
    place = tmp_path / "scratch.pt"
    _, (run,) = run_in(way, project, engine, f"import torch\ntorch.save({{}}, {str(place)!r})")
    assert run.status == "crashed"
    assert f"the run may not write outside of its copy of the project: {str(place)!r}" in run.message
    assert run.refused == [str(place)]


def test_what_lies_beside_the_project_is_found_and_a_new_neighbour_is_the_runs_own(
    kind: str, tmp_path: Path, engine: Any
) -> None:
    top = tmp_path / "repo"
    code, data = top / "code", top / "data"
    code.mkdir(parents=True)
    data.mkdir()
    (data / "n.txt").write_text("3")
    (tmp_path / "far.txt").write_text("4")
    (code / "model.py").write_text(MODEL)
    text = """
        import os
        print("near score:", open("../data/n.txt").read())
        print("far score:", open("../../far.txt").read())
        os.makedirs("../output", exist_ok=True)
        open("../output/log.txt", "w").write("x")
        print("new score:", len(os.listdir("../output")))
    """
    before = snapshot(tmp_path)
    _, runs = run_in(kind, code, engine, text, runs=2)
    after = snapshot(tmp_path)
    after.pop(str(code / "train.py"))
    assert after == before
    for run in runs:
        assert run.status == "ok", run.message
        assert [run.series[name] for name in ("near score", "far score", "new score")] == [[3.0], [4.0], [1.0]]
        assert run.elsewhere == [str(top / "output" / "log.txt")]


def test_a_run_changes_big_files_of_its_own(kind: str, project: Path, engine: Any) -> None:
    """Big files are shared until the script writes to them: then the run sees its own, and nobody else does."""
    for name in ("big.bin", "weights.pt", "gone.bin", "emptied.bin"):
        (project / name).write_bytes(b"x" * (2 << 20))
    (project / "log.txt").write_text("old\n")
    text = """
        import os, torch
        with open("big.bin", "ab") as f: f.write(b"more")
        with open("big.bin", "r+b") as f: f.truncate(10)
        torch.save(torch.zeros(3), "weights.pt")
        with open("log.txt", "a") as f: f.write("new")
        with open("emptied.bin", "wb") as f: f.write(b"y")
        os.chmod("emptied.bin", 0o600)
        os.remove("gone.bin")
    """
    (project / "train.py").write_text(textwrap.dedent(text) + STEP)
    before = snapshot(project)
    session, (run,) = run_in(kind, project, engine, text, keep=True)
    assert run.status == "ok", run.message
    assert snapshot(project) == before
    assert Project.scan(project).changed() == []
    copy = copy_of(session)
    assert (copy / "big.bin").stat().st_size == 10
    assert (copy / "emptied.bin").read_bytes() == b"y"
    assert not (copy / "gone.bin").exists()
    assert run.elsewhere == run.refused == []


def test_a_folder_of_thousands_of_files_stays_as_it_is(kind: str, project: Path, engine: Any) -> None:
    many = project / "pictures"
    many.mkdir()
    for i in range(2100):
        (many / f"{i}.png").touch()
    text = "open('pictures/0.png', 'w').write('x')\nprint('score:', len(open('pictures/0.png').read()))"
    _, (run,) = run_in(kind, project, engine, text)
    assert (many / "0.png").read_bytes() == b""
    if kind == "mounts":
        assert run.series["score"] == [1.0] and run.elsewhere == [str(many / "0.png")]
    else:
        assert run.status == "crashed" and "may not write into the original project" in run.message


def test_temporary_files_and_moving_them_work(kind: str, project: Path, engine: Any) -> None:
    text = """
        import os, shutil, tempfile
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "a"), "w").write("x")
            os.replace(os.path.join(folder, "a"), "moved.txt")
        handle, name = tempfile.mkstemp()
        os.close(handle)
        shutil.move(name, "moved2.txt")
        os.makedirs("one/two")
        os.rename("one", "three")
        print("score:", int(os.path.exists("moved.txt") and os.path.exists("moved2.txt") and os.path.exists("three/two")))
    """
    _, (run,) = run_in(kind, project, engine, text)
    assert run.message == "" and run.series["score"] == [1.0]
    assert run.elsewhere == run.refused == []
    assert not os.path.exists(project / "moved.txt")


def test_trackers_send_nothing(project: Path, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    monkeypatch.setenv("WANDB_DIR", "/somewhere")
    text = """
        import os
        print(os.environ["WANDB_MODE"], os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("WANDB_DIR"))
        print("score:", int(os.environ["WANDB_MODE"] == "offline" and "MLFLOW_TRACKING_URI" not in os.environ))
    """
    _, (run,) = run_in("hooks", project, engine, text)
    assert run.series["score"] == [1.0]


def test_the_original_put_on_the_path_while_it_runs_is_still_the_copy(project: Path, engine: Any) -> None:
    text = f"""
        import sys
        sys.path.insert(0, {str(project)!r})
        import model
        print("score:", int(".tricklint" in model.__file__))
    """
    _, (run,) = run_in("hooks", project, engine, text)
    assert run.series["score"] == [1.0]


@pytest.mark.parametrize("form", ["--out {}", "--out={}"])
def test_an_output_folder_of_the_command_is_the_runs_own(
    kind: str, form: str, project: Path, engine: Any, tmp_path: Path
) -> None:
    """A path that the command names and that is not there: every run has one of its own, and it is reported."""
    place = tmp_path / "scratch" / "run1"
    text = """
        import argparse, os, torch
        parser = argparse.ArgumentParser()
        parser.add_argument("--out")
        parser.add_argument("--data")
        args = parser.parse_args()
        print("data score:", float(open(args.data).read()))
        print("old score:", int(os.path.exists(args.out)))
        os.makedirs(args.out, exist_ok=True)
        torch.save({}, os.path.join(args.out, "last.pt"))
    """
    (tmp_path / "data.txt").write_text("3")
    command = f"train.py --data {tmp_path / 'data.txt'} {form.format(place)}"
    _, runs = run_in(kind, project, engine, text, runs=2, command=command)
    for run in runs:
        assert (run.status, run.message) == ("ok", "")
        assert (run.series["data score"], run.series["old score"]) == ([3.0], [0.0])
        assert run.elsewhere == [str(place / "last.pt")]
    assert not place.parent.exists()


LONG = {
    "numbers": " ".join(f"{i / 7:.3f}" for i in range(2700)),
    "names and numbers": "loss=0.1 " * 1800,
    "a bar": "\r".join(f"{i}%|###| {i}/100 [00:01<00:02, 3.1it/s, loss=0.3]" for i in range(300)),
    "brackets": "{" + ", ".join(f"'k{i}': 0.1" for i in range(1200)) + "}",
    "spaces": " " * 16_000,
    "one word": "x" * 16_000,
    "ratios": "1/2" * 5300,
}


@pytest.mark.parametrize("line", LONG)
def test_a_line_of_16000_characters_costs_nothing(line: str) -> None:
    """Twice the length takes about twice the time, and both are soon read."""
    import time

    from tricklint.verify.series import read

    def seconds(text: str) -> float:
        began = time.process_time()
        list(read(text))
        return time.process_time() - began

    short = min(seconds(LONG[line][: len(LONG[line]) // 2] + "\n") for _ in range(3))
    whole = min(seconds(LONG[line] + "\n") for _ in range(3))
    assert whole < 0.5
    assert whole < 3 * short + 0.02


TRACKER = """
calls = []
def init(*args, mode=None, **kwargs):
    calls.append((mode, sorted(kwargs)))
def set_tracking_uri(uri):
    calls.append(uri)
"""


def test_a_script_that_asks_a_tracker_to_send_is_kept_from_it(project: Path, engine: Any) -> None:
    """Stand-ins of wandb and mlflow, told in the script itself to go online and to go on with an earlier run."""
    (project / "wandb.py").write_text(TRACKER)
    (project / "mlflow.py").write_text(TRACKER)
    text = """
        import os
        import mlflow, wandb
        wandb.init(project="x", mode="online", id="run7", resume="must")
        wandb.init(mode="disabled")
        mlflow.set_tracking_uri("http://tracking.example")
        mlflow.set_tracking_uri("runs")
        print("wandb score:", int(wandb.calls == [("offline", ["project"]), ("disabled", [])]))
        print("mlflow score:", int(mlflow.calls == [os.path.abspath("mlruns"), "runs"]))
    """
    _, (run,) = run_in("hooks", project, engine, text)
    assert (run.status, run.message) == ("ok", "")
    assert run.series["wandb score"] == run.series["mlflow score"] == [1.0]
