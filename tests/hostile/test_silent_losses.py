"""What used to be lost without a word."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tests.fuzz.oracle import judge
from tests.hostile.conftest import BAD, Clone
from tricklint.cli import main


def cached(*args: str) -> list[str]:
    result = CliRunner().invoke(main, ["check", *args, "--output-format", "concise"], catch_exceptions=False)
    return [line.split()[1] for line in result.stdout.splitlines() if ": TRK" in line]


def test_the_cache_notices_a_file_that_appears_outside(clone: Clone) -> None:
    """`check scripts/`: what its scripts import lies beside the folder, or will."""
    (clone.root / "train.py").unlink()
    script = BAD.replace("weight_decay=5e-4", "weight_decay=DECAY")
    clone.write({"scripts/train.py": script.replace("import torch\n", "import torch\nfrom numbers_of.decay import DECAY\n")})
    assert "TRK601" not in cached("scripts")
    assert "TRK601" not in cached("scripts")
    clone.write({"numbers_of/__init__.py": "", "numbers_of/decay.py": "DECAY = 5e-4\n"})
    assert "TRK601" in cached("scripts") == cached("scripts", "--no-cache")
    (clone.root / "numbers_of/decay.py").unlink()
    assert "TRK601" not in cached("scripts")


def test_a_chain_of_imports(tmp_path: Path) -> None:
    files = {
        "m0.py": b"from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))\n"
    }
    for number in range(1, 40):
        files[f"m{number}.py"] = f"from m{number - 1} import make\n".encode()
    net = BAD.splitlines()[3]
    files["train.py"] = BAD.replace(net, "from m39 import make\nnet = make()").encode()
    assert judge(files, fix=False).codes.get("TRK601") == 1


def test_code_that_runs_below_a_chain_of_imports() -> None:
    """A call in a file that is imported by a file that is imported … is as deep as a call in a script."""
    net = BAD.splitlines()[3]
    files = {"m0.py": f"from torch import nn\ndef make():\n    {net}\n    return net\nNET = make()\n".encode()}
    for number in range(1, 40):
        files[f"m{number}.py"] = f"from m{number - 1} import NET\nNAME = str(NET)\n".encode()
    files["train.py"] = BAD.replace(net, "from m39 import NET as net").encode()
    assert judge(files, fix=False).codes.get("TRK601") == 1


def test_line_ends_of_old_macs() -> None:
    """A comment on the first line does not swallow the file, whatever ends its lines."""
    lines = ["# how it is trained", "from model import net", *BAD.splitlines()[:3], *BAD.splitlines()[4:]]
    model = ["# what is trained", "from torch import nn", BAD.splitlines()[3]]
    for end in ("\n", "\r\n", "\r"):
        files = {"train.py": end.join(lines).encode(), "model.py": end.join(model).encode()}
        assert judge(files, fix=False).codes.get("TRK601") == 1, repr(end)


def test_a_mistaken_path_is_no_later_runs_problem(clone: Clone) -> None:
    def run(*paths: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["check", *paths, "--output-format", "concise"], catch_exceptions=False)
        return result.exit_code, result.stderr

    assert run(".", "nowhere.py")[0] == 2
    code, said = run(".")
    assert code == 1 and "nowhere" not in said
