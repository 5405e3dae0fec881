"""`tricklint watch` from the command line to the findings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .helpers import tricklint, watched, write

LOOP = """
    import argparse

    import torch
    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.05)
    for epoch in range(args.epochs):
        for _ in range(4):
            loss = nn.functional.cross_entropy(net(torch.randn(16, 5)), torch.zeros(16).long())
            loss.backward()
            optimizer.step()
    print("trained", args.epochs)
"""
MODEL, BUILT, BACKWARD = 12, 13, 17


def test_from_the_command_line(tmp_path: Path) -> None:
    """Arguments go to the script, its output to stderr; a module of a package; the record; the merge with `check`."""
    write(tmp_path, "pkg/__init__.py", "")
    write(tmp_path, "pkg/train.py", LOOP)
    words = ("--isolated", "--output-format", "json", "--", "python", "-m", "pkg.train", "--epochs", "2")
    done = tricklint(tmp_path, "watch", *words)
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)
    assert [(one["code"], one["location"]["row"]) for one in findings] == [("TRK501", MODEL), ("TRK601", BUILT), ("TRK701", BACKWARD)]
    assert findings[1]["confirmed"] == (
        "watched: step 1, 2 of 2 norm parameters and 2 of 2 biases in a group with decay 0.05"
    )
    assert "7 of 8 steps of AdamW" in findings[2]["confirmed"]
    assert all(one["fix"] for one in findings)  # reading knows the statements: its fixes are theirs
    assert "trained 2" in done.stderr and "watched python -m pkg.train --epochs 2" in done.stderr
    (folder,) = (one for one in (tmp_path / ".tricklint" / "watch").iterdir() if not one.is_symlink())
    facts = [json.loads(line) for line in next(folder.glob("record-*.jsonl")).read_text().splitlines()]
    assert facts[0]["fact"] == "start" and facts[-1]["fact"] == "end" and facts[-1]["steps"] == 8
    assert (tmp_path / ".tricklint" / ".gitignore").read_text() == "*\n"
    latest = ".tricklint/watch/latest"
    both = tricklint(tmp_path, "check", ".", "--isolated", "--select", "TRK7", "--fix", "--watched", latest)
    assert both.returncode == 0 and "optimizer.zero_grad()" in (tmp_path / "pkg" / "train.py").read_text()


def test_only_the_command_needs_torch(tmp_path: Path) -> None:
    """tricklint itself may stand in an environment of its own that holds nothing of what `--verify` takes."""
    write(tmp_path, "train.py", LOOP)
    without = "import sys; sys.modules.update(dict.fromkeys(('torch', 'numpy', 'scipy', 'pandas'))); "
    start = without + "from tricklint.cli import main; main()"
    words = ("watch", "--isolated", "--python", sys.executable, "--select", "TRK7", "train.py", "--", "--epochs", "1")
    done = subprocess.run([sys.executable, "-c", start, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (done.returncode, "TRK701" in done.stdout) == (1, True), done.stderr


def test_it_ends_after_its_steps(tmp_path: Path) -> None:
    seen = watched(tmp_path, LOOP, steps=10)
    assert seen.places() == [("TRK501", "train.py", MODEL), ("TRK601", "train.py", BUILT), ("TRK701", "train.py", BACKWARD)]
    assert "9 of 10 steps" in seen.findings("TRK701")[0].confirmed
    assert "trained" not in seen.output and "Traceback" not in seen.output


def test_a_script_that_takes_the_end_for_an_error_ends_too(tmp_path: Path) -> None:
    text = LOOP.replace("            optimizer.step()", "            try:\n                optimizer.step()\n            except BaseException:\n                print('again')")
    seen = watched(tmp_path, text, steps=5)
    assert seen.record.steps == 5 and seen.output.count("again") == 1


def test_a_script_that_dies_is_reported_up_to_there(tmp_path: Path) -> None:
    text = LOOP.replace('print("trained", args.epochs)', 'raise RuntimeError("no disk")')
    report = watched(tmp_path, text, "--epochs", "1").report()
    assert [one.code for one in report.findings] == ["TRK501", "TRK601", "TRK701"]
    (problem,) = report.problems
    assert problem.message == "the run died after 4 steps: RuntimeError: no disk" and problem.row == 19
    assert report.exit_code(report.findings[0].severity) == 2


def test_a_process_that_is_killed_is_reported_up_to_there(tmp_path: Path) -> None:
    text = LOOP.replace('print("trained", args.epochs)', "import os\n    os.kill(os.getpid(), 9)")
    report = watched(tmp_path, text, "--epochs", "1").report()
    assert [one.code for one in report.findings] == ["TRK501", "TRK601", "TRK701"]
    assert "the run was killed after" in report.problems[0].message


def test_ignore_comments_hold(tmp_path: Path) -> None:
    text = LOOP.replace("loss.backward()", "loss.backward()  # tricklint: ignore[TRK701]")
    report = watched(tmp_path, text.replace("weight_decay=0.05", "weight_decay=0"), "--epochs", "1").report("TRK6", "TRK7")
    assert not report.findings and report.suppressed == 1


HIDDEN = """
    import torch

    import tools

    net = getattr(tools, "bui" + "ld")()
    optimizer = vars(torch.optim)["Ada" + "mW"](net.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
"""
TOOLS = """
    from torch import nn


    def build():
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
"""


def test_what_reading_cannot_follow_is_seen_in_the_run(tmp_path: Path) -> None:
    seen = watched(tmp_path, HIDDEN, tools=TOOLS)
    (finding,) = seen.findings("TRK601")
    assert (finding.path.name, finding.location.row) == ("train.py", 7) and finding.fix is None
    assert [one.location.row for one in seen.findings("TRK601", only=False)] == [7]


def test_where_they_contradict_the_run_wins(tmp_path: Path) -> None:
    """A decay that a plug-in takes away: reading cannot know, and says what its line shows."""
    text = LOOP.replace("    for epoch", "    exec('optimizer.param_groups[0][\"weight_decay\"] = 0.0')\n    for epoch")
    seen = watched(tmp_path, text, "--epochs", "1")
    report = seen.report("TRK601", only=False)
    assert not report.findings
    (note,) = report.notes
    assert "read as TRK601" in note and "the run is right" in note and "its arguments (--epochs 1)" in note


def test_wrong_input_ends_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, "train.py", LOOP)
    python = write(tmp_path, "python", "#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    for arguments, words in (
        ((), "what is to be watched?"),
        (("nowhere.py",), "there is no"),
        (("train.py", "--python", str(tmp_path / "nothing")), "cannot be started"),
        (("train.py", "--python", str(python)), "has no torch"),
        (("train.py", "--time-limit", "soon"), "is no duration"),
    ):
        done = tricklint(tmp_path, "watch", "--isolated", *arguments)
        assert done.returncode == 2, arguments
        assert words in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    bare = tricklint(tmp_path, "check", "--watched", ".", "--isolated")
    assert bare.returncode == 2 and "holds no record of a watched run" in bare.stderr
