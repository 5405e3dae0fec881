"""However a run ends: one clear line and the exit code that the pages promise, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.conftest import START, Clone

LONG = "9" * 400


@pytest.mark.parametrize(
    "text",
    [
        "a = [",
        f"a = {'[' * 5000}{']' * 5000}",
        f"a = {'{b=' * 500}1{'}' * 500}",
        "normalize = { p = nan }",
        "normalize = { p = inf }",
        "verify = { margin = -inf }",
        "verify = { lr-scale = [nan] }",
        f"verify = {{ lr-scale = [{LONG}] }}",
        f"verify = {{ seeds = {LONG} }}",
        f"verify = {{ seeds = 0x{'f' * 9000} }}",
        "verify = { budget = nan }",
        f"verify = {{ budget = '{LONG}h' }}",
        'verify = { command = "it\'s" }',
        f"memory = {{ gpu = '{LONG}GB' }}",
        f"transfer = {{ dataset-size = -{LONG} }}",
        f"x = {'1' * 5000}",
        '"\\u001b[31m\\n::error::" = 1',
        'select = ["\\u001b[31m"]',
        'src = ["\\u0000"]',
        'extend = "\\u0000"',
        'extend = "/dev/zero"',
        'extend = "~nosuchuser/x"',
        'baseline = "~nosuchuser/x"',
        'models = { net = { factory = "a:b", input = [[1e3]] } }',
    ],
)
def test_malformed_configuration_is_one_line(clone: Clone, text: str) -> None:
    clone.write({"tricklint.toml": text + "\n"})
    code, out, err = clone.check(".")
    assert code == 2 and len(err.splitlines()) == 1 and "tricklint.toml" in err, err
    assert "Traceback" not in err and "\x1b" not in out + err and len(err) < 400


@pytest.mark.parametrize("data", [b"\xff\xfe", b"tool = 3", b"[tool]\ntricklint = 3", b"\0"])
def test_a_malformed_pyproject(clone: Clone, data: bytes) -> None:
    clone.write({"pyproject.toml": data})
    code, _, err = clone.check(".")
    assert code == 2 and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "coding",
    [
        "idna",
        "punycode",
        "utf-7",
        "hex",
        "rot13",
        "unicode_escape",
        "undefined",
        "mbcs",
        "zlib",
        "utf_16",
        "x" * 300,
        "uu",
    ],
)
@pytest.mark.parametrize("rest", [b"x = 1\n", b"x = '\xe4..\xff'\n"])
def test_coding_cookies(clone: Clone, coding: str, rest: bytes) -> None:
    clone.write({"b.py": b"# coding: " + coding.encode() + b"\n" + rest})
    code, out, err = clone.check(".")
    assert code in (1, 2) and "TRK601" in out and len(err.splitlines()) == (code == 2)


@pytest.mark.parametrize("classes", ["0", "-1", "1e400", "float('nan')", "-1e400", LONG, "True", "2.5"])
def test_numbers_of_classes_that_cannot_be(clone: Clone, classes: str) -> None:
    text = f"""\
import torch, torch.nn as nn, torch.nn.functional as F
class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.f = nn.Linear(8, 16)
        self.w = nn.Parameter(torch.randn(n, 16))
    def forward(self, x):
        return F.linear(F.normalize(self.f(x)), F.normalize(self.w))
net = Net({classes})
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
    opt.step()
"""
    clone.write({"train.py": text})
    code, _, err = clone.check(".", "--fail-on", "advice")
    assert (code, err) == (1, "")


@pytest.mark.parametrize(
    "raised", ["SystemExit", "SystemExit(0)", "RecursionError", "MemoryError", "StopIteration", "KeyError(3)"]
)
@pytest.mark.parametrize("where", ["loading", "checking"])
def test_a_rule_that_ends_the_process(clone: Clone, raised: str, where: str) -> None:
    body = f"raise {raised}"
    rule = f"""\
from tricklint.rule import Rule
from tricklint.finding import Severity
{body if where == "loading" else ""}
class Mine(Rule):
    code, name, summary, severity, triggers = "XYZ101", "mine", "Mine.", Severity.ERROR, ("torch",)
    def check(self, program):
        {body}
"""
    path = clone.root.parent / "rules.py"
    path.write_text(rule)
    code, out, err = clone.check(".", "--rule-path", str(path))
    assert code == 2 and len(err.splitlines()) == 1 and raised.partition("(")[0] in err
    assert ("TRK601" in out) == (where == "checking")  # the other rules still speak


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
@pytest.mark.parametrize("shape", ["text", "json", "github"])
def test_an_output_that_lacks_characters(clone: Clone, encoding: str, shape: str) -> None:
    clone.write({"α.py": clone.root.joinpath("train.py").read_text().replace("net", "νετ")})
    done = clone.run("check", "--no-cache", ".", "--output-format", shape, PYTHONIOENCODING=encoding)
    assert done.returncode == 1 and done.stderr == b"" and "TRK601" in done.stdout.decode(encoding)


def test_a_full_disk_behind_standard_output(clone: Clone) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", START, "check", "--no-cache", "."], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == ["Error: No space left on device"]


def test_a_reader_that_goes_away(clone: Clone) -> None:
    clone.write({f"train{number}.py": (clone.root / "train.py").read_text() for number in range(60)})
    command = f"'{sys.executable}' -c \"{START}\" check --no-cache . | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.stderr == b"" and done.stdout.count(b"\n") == 1


def test_a_working_folder_that_is_gone(clone: Clone, tmp_path: Path) -> None:
    command = f"mkdir '{tmp_path}/gone'; cd '{tmp_path}/gone'; rmdir '{tmp_path}/gone'; '{sys.executable}' -c \"{START}\" check"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == ["Error: the working folder does not exist any more"]


def test_an_error_nobody_thought_of(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tricklint.check._run", lambda *_: {}["what"])
    code, out, err = clone.check(".")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "KeyError: 'what'" in err and "bug" in err


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.3, 0.8, 1.5])
def test_ctrl_c(clone: Clone, wait: float) -> None:
    clone.write({f"train{number}.py": (clone.root / "train.py").read_text() * 3 for number in range(150)})
    process = subprocess.Popen(
        [sys.executable, "-c", START, "check", "--no-cache", "."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    if wait < 0.5 and process.returncode == -signal.SIGINT:
        return  # Python itself was still starting
    assert process.returncode == 130
    assert err.decode().split() == ["Interrupted"] and b"Traceback" not in out


@pytest.mark.parametrize(
    "name", [b"tr\xff.py", b"t\nr.py", b"t\x1b[31mr.py", b"t\xe2\x80\xae.py", b"t r.py", b"d\xff/train.py"]
)
@pytest.mark.parametrize(
    "shape", ["text", "concise", "json", "sarif", "github", "gitlab", "junit", "--diff", "--fix", "cache"]
)
def test_names_that_are_no_text(clone: Clone, name: bytes, shape: str) -> None:
    path = os.path.join(os.fsencode(clone.root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.rename(clone.root / "train.py", path)
    if shape == "cache":
        for _ in range(2):
            done = clone.run("check", ".")
            assert done.returncode == 1 and b"Traceback" not in done.stderr
        return
    options = [shape] if shape.startswith("--") else ["--output-format", shape]
    code, out, err = clone.check(".", *options)
    assert code in (0, 1) and "Traceback" not in err
    assert "\x1b" not in out and not any("\ud800" <= character <= "\udfff" for character in out)
    if shape in ("text", "concise", "--diff"):
        assert not any(line.startswith("r.py") for line in out.splitlines()), "a name ended a line"
