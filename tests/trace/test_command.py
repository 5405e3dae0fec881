"""`tricklint trace`, `check_model`, the cache, and that none of it costs a plain check anything."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tricklint.trace.cli import trace_command
from tricklint.trace.facts import FactsReport, Failure, ModelFacts
from tricklint.trace.targets import TargetError, parse, value

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

MODELS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=16, depth=6):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.spare = nn.Linear(3, 3)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


def optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tricklint.models]\nnet = { factory = "models:Net", optimizer = "models:optimizer", input = [[2, 16]] }\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(trace_command, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_table_and_the_cache(project: Path) -> None:
    code, out, err = run()
    assert code == 0, err
    assert max(len(line) for line in out.splitlines()) <= 100
    for words in ("layers.0", "relu", "default 0.14", "0.05", "head → 4", "AdamW: lr 0.001 decay 0.05", "largest batch",
                  "spare unused",
                  "TRK601", "TRK706", "TRK501", "traced by"):  # fmt: skip
        assert words in out, words
    assert list((project / ".tricklint_cache" / "trace").glob("*.json"))
    assert run()[1] == out  # from the cache, its time included
    (project / "models.py").write_text(MODELS.replace("depth=6", "depth=2"))
    assert "layers.5" not in run()[1]


def test_formats(project: Path) -> None:
    code, out, _ = run("models.py:Net", "--format", "json", "--arg", "depth=3", "--no-cache")
    assert code == 0
    (data,) = json.loads(out)
    facts = ModelFacts.from_dict(data)
    assert [layer.path for layer in facts.layers] == ["layers.0", "layers.1", "layers.2", "head"]
    code, _, _ = run("models.py", "--format", "html", "-o", "page.html")
    page = (project / "page.html").read_text()
    assert code == 0 and page.startswith("<!doctype html>") and "http" not in page.split("</style>")[1]
    ElementTree.fromstring(page[page.index("<body>") : page.index("</body>") + 7])
    code, out, _ = run("models.py", "--format", "dot")  # what was remembered
    assert (
        code == 0
        and out.startswith("digraph")
        and out.count("{") == out.count("}")
        and '"layers.0" -> "layers.1"' in out
    )


def test_mistakes_are_one_line(project: Path) -> None:
    for arguments, words in (
        (("models.py:Nett",), "did you mean Net?"),
        (("gone.py",), "no such file"),
        (("models.py:Net", "--arg", "width"), "NAME=VALUE"),
        (("a b:c",), "no target"),
        (("models.py:Net", "--python", str(project / "nothing")), "cannot be started"),
    ):
        code, out, err = run(*arguments, "--no-cache")
        assert code in (1, 2) and words in err and not out, (arguments, err)


def test_a_thousand_layers_fold(trace) -> None:
    from rich.console import Console

    from tricklint.trace import show

    text = """
        from torch import nn
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, 8)
            def forward(self, x):
                return x + self.fc(self.norm(x)).relu()
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList([Block() for _ in range(1000)])
                self.head = nn.Linear(8, 2)
            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return self.head(x)
    """
    facts = trace({"models.py": text}, "models.py:Net", seconds=60)
    assert isinstance(facts, ModelFacts), facts
    console = Console(width=100, record=True, file=io.StringIO())
    show.text(facts, console)
    out = console.export_text()
    assert "blocks.*.fc ×" in out and len(out.splitlines()) < 60
    show.text(facts, console, full=True)
    assert len(console.export_text().splitlines()) > 2000


def test_findings_of_a_live_model() -> None:
    import tricklint

    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    found = tricklint.check_model(model, torch.optim.AdamW(model.parameters()))
    assert found and found.codes() == ["TRK501", "TRK601"]
    assert "<table>" in found._repr_html_() and "TRK601" in repr(found)
    for layer in (model[0], model[2]):
        nn.init.kaiming_normal_(layer.weight) if layer is model[0] else nn.init.xavier_uniform_(layer.weight)
    clean = tricklint.check_model(model, torch.optim.AdamW(model.parameters(), weight_decay=0.0))
    assert not clean and len(clean) == 0 and "no findings" in repr(clean) and "<table>" not in clean._repr_html_()
    with pytest.raises(TypeError, match=r"nn\.Module"):
        tricklint.check_model("model")
    small = tricklint.check_model(model, batch_size=10**9, gpu="1GB")
    assert "TRK301" in small.codes()


def test_targets() -> None:
    assert parse("pkg.models:Net", Path("/nowhere")).factory == "pkg.models:Net"
    assert parse("pkg.models.Net", Path("/nowhere")).factory == "pkg.models:Net"
    for wrong in ("", "Net", "a-b:c", "gone.py:Net", ":Net"):
        with pytest.raises(TargetError):
            parse(wrong, Path("/nowhere"))
    assert value("[[1, 3]]") == [[1, 3]] and value("None") is None and value("resnet18") == "resnet18"


def test_discovery_takes_what_the_program_knows() -> None:
    from types import SimpleNamespace

    from tricklint.settings import ModelSettings, Settings
    from tricklint.trace.targets import gather

    seen = [
        SimpleNamespace(path=Path("/p/models.py"), qualname="Net", args=(10,), kwargs={"width": 3}, line=4),
        SimpleNamespace(path=Path("/p/models.py"), qualname="Net", args=(10,), kwargs={"width": 3}, line=9),
        SimpleNamespace(path=Path("/p/models.py"), qualname="Odd", args=(object(),), kwargs={}, line=5),
        SimpleNamespace(path=Path("/p/models.py"), qualname="Known", args=(), kwargs={}, line=5),
    ]
    program = SimpleNamespace(trained_models=lambda: seen)
    settings = Settings(root=Path("/p"), models={"mine": ModelSettings("models:Known")})
    targets = gather(program, settings)
    assert [(t.name, t.args, t.kwargs) for t in targets] == [("mine", (), {}), ("models.py:Net", (10,), {"width": 3})]
    assert targets[1].found_at == ("/p/models.py", 4)
    assert gather(None, Settings(root=Path("/p"))) == []


def test_facts_for_a_project(project: Path) -> None:
    from tricklint.settings import load
    from tricklint.trace import facts_for

    report = facts_for(None, load([project]), cache_dir=project / "kept")
    assert isinstance(report, FactsReport) and len(report) == 1 and not report.failures
    assert report.models[0].optimizer is not None and report.models[0].optimizer.site is not None
    assert report.models[0].optimizer.site.path == "models.py" and report.models[0].optimizer.site.row == 20
    assert list((project / "kept").rglob("*.json"))
    settings = load([project], config=["python='/bin/false'"])
    broken = facts_for(None, settings)
    assert not broken.models and isinstance(broken.failures[0], Failure)


def test_unused_parameter_rule(project: Path) -> None:
    from types import SimpleNamespace

    from tricklint.rules.loop.unused_parameter import UnusedParameter

    from tricklint.settings import load
    from tricklint.trace import facts_for, merge

    report = facts_for(None, load([project]))
    (found,) = UnusedParameter().check(SimpleNamespace(facts=report))  # type: ignore[arg-type]
    assert found.code == "TRK706" and found.path == project / "models.py" and found.location.row == 6
    assert "spare" in found.message
    assert list(UnusedParameter().check(SimpleNamespace(facts=None))) == []  # type: ignore[arg-type]
    codes = [f.code for f in merge([found], report)]
    assert codes.count("TRK706") == 1 and "TRK601" in codes


def test_nothing_of_it_imports_torch_here() -> None:
    code = (
        "import sys, tricklint, tricklint.trace, tricklint.trace.facts, tricklint.trace.judge, "
        "tricklint.trace.merging, "
        "tricklint.trace.client, tricklint.trace.targets, tricklint.trace.cli, tricklint.trace.show, "
        "tricklint.rules.loop.unused_parameter\n"
        "bad = {'torch', 'numpy', 'pandas', 'rich', 'libcst'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(bad)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("text", "kept"), [("import os\nx = 1\n", {"x", "os"}), ("model = Net()\n", set())])
def test_strip(text: str, kept: set[str]) -> None:
    from tricklint.trace.worker.strip import strip

    tree, dropped = strip(text, "f.py", lambda name: False)
    space: dict[str, object] = {}
    exec(compile(tree, "f.py", "exec"), space)
    assert kept <= set(space) and ("model" in dropped) is ("model" in text)


CHOSEN = """
from torch import nn, optim

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.first = nn.Linear(64, 256)
        self.act = act
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.act(self.first(x)))


def build():
    return Net(ACTIVATIONS["hnat"[::-1]]())


def train(loader, loss):
    model = build()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
"""


@pytest.mark.parametrize("trace", [False, True])
def test_the_gain_of_a_fix_is_that_of_the_activation_that_really_follows(project: Path, trace: bool) -> None:
    from tricklint.check import Options, run
    from tricklint.settings import load

    (project / "models.py").write_text(CHOSEN)
    (project / "pyproject.toml").write_text(
        '[tool.tricklint.models]\nnet = { factory = "models:build", input = [[2, 64]] }\n'
    )
    report = run([project], load([project], options={"trace": trace}), Options(cache=False))
    assert not report.problems
    fix = next(finding.fix for finding in report.findings if finding.code == "TRK501")
    assert fix
    written = "".join(edit.content for edit in fix.edits)
    assert ('calculate_gain("tanh")' in written) is trace  # the source alone cannot know
