"""The pages: up to date, built without a warning, and true: their links lead somewhere, their code does what they say."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tricklint import about
from tricklint.cli import main
from tricklint.settings.read import check, loads
from tricklint.testing import check_fixtures

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench/results/README.md"]
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w+-]*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^ *```$", re.M | re.S
)
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """(language, title, text) of every block of code."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        indent = match["indent"]
        text = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        yield match["language"], match["title"] or "", text


def titled(page: str) -> dict[str, str]:
    return {title: text for _, title, text in blocks(ROOT / "docs" / page) if title}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_made_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "docs/make_pages.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python docs/make_pages.py"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    built = (tmp_path / "rules/decay-on-bias-norm.html").read_text()
    assert "decay-on-bias-norm (TRK601)" in built
    assert (tmp_path / "outside/bench/results/vgg-digits.svg").exists()
    html = [page.read_text() for page in tmp_path.rglob("*.html")]
    fetched = {
        url
        for text in html
        for url in re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\"\s>]+)", text)
    }
    assert fetched <= {url for url in fetched if url.startswith(about.REPOSITORY)}, "a page fetches from elsewhere"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://", "#", "mailto:")):
            continue
        target = (page.parent / link.partition("#")[0]).resolve()
        assert target.exists(), f"{name(page)}: {link}"
        anchor = link.partition("#")[2]
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{name(page)}: {link}"


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_own_addresses_are_the_repositorys(page: Path) -> None:
    for url in re.findall(r"https?://[^\s)>\"`]*tricklint[^\s)>\"`]*", page.read_text(encoding="utf-8")):
        assert url.startswith(about.REPOSITORY), f"{name(page)}: {url}"


def test_the_address_is_said_in_one_way() -> None:
    project = loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Homepage"] == about.REPOSITORY
    assert project["urls"]["Documentation"] == f"{about.PAGES}index.md"
    for url in project["urls"].values():
        path = url.removeprefix(about.REPOSITORY).removeprefix("/blob/main/").strip("/")
        assert (ROOT / path).exists(), url
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text())["repo_url"] == about.REPOSITORY


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_code_are_well_formed(page: Path) -> None:
    for language, _, text in blocks(page):
        if language == "python":
            ast.parse(text)
        elif language == "json":
            json.loads(text)
        elif language in ("yaml", "yml"):
            yaml.safe_load(text)
        elif language == "toml":
            _check_toml(page, loads(text))
        elif language in ("console", "sh", "bash"):
            for line in text.splitlines():
                _check_command(page, line)


def _check_toml(page: Path, table: dict[str, Any]) -> None:
    ours = table.get("tool", {}).get("tricklint")
    if ours is not None:
        check(ours, ROOT, name(page))


def _check_command(page: Path, line: str) -> None:
    """A line that starts tricklint names a command and options that there are."""
    import shlex

    words = shlex.split(line.partition("  #")[0].removeprefix("$ "))
    if words[:1] != ["tricklint"] or len(words) < 2 or words[1].startswith("-"):
        return
    command = main.get_command(click.Context(main), words[1])
    assert command is not None, f"{name(page)}: {line}"
    try:
        command.make_context(words[1], [word for word in words[2:] if word != "…"], resilient_parsing=True)
    except click.UsageError as error:
        raise AssertionError(f"{name(page)}: {line}: {error.message}") from None


# -- the JSON schema --------------------------------------------------------------------------------------------------


def test_the_schema_takes_what_the_tool_takes() -> None:
    import jsonschema

    schema = json.loads((ROOT / "docs/tricklint.schema.json").read_text())
    validator = jsonschema.Draft7Validator
    validator.check_schema(schema)
    seen = 0
    for language, _, text in blocks(ROOT / "docs/configuration.md"):
        if language == "toml" and not text.startswith("#"):
            seen += 1
            name_of, value = next(iter(loads(text).items()))
            holders = [schema, *(one for one in schema["properties"].values() if "properties" in one)]
            holders.append(schema["properties"]["models"]["additionalProperties"])
            homes = [one["properties"][name_of] for one in holders if name_of in one["properties"]]
            assert any(not list(validator(home).iter_errors(value)) for home in homes), text
    assert seen > 35
    full = {
        "select": ["TRK1"],
        "models": {"net": {"factory": "a:b"}},
        "verify": {"budget": "10m"},
        "memory": {"gpu": "24GB"},
    }
    validator(schema).validate(full)
    for wrong in (
        {"selct": []},
        {"fail-on": "never"},
        {"models": {"net": {}}},
        {"verify": {"seeds": 0}},
        {"memory": {"gpu": 24}},
    ):
        assert list(validator(schema).iter_errors(wrong)), wrong


def test_the_schema_keeps_to_schemastores_conventions() -> None:
    schema = json.loads((ROOT / "docs/tricklint.schema.json").read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema["$id"].startswith(about.REPOSITORY)

    def walk(node: dict[str, Any]) -> None:
        for key, one in node.get("properties", {}).items():
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*", key)
            assert one["description"], key
            assert "type" in one or "anyOf" in one, key
            walk(one)

    assert schema["type"] == "object" and schema["additionalProperties"] is False
    walk(schema)


@pytest.mark.parametrize(("text", "good"), [('select = ["TRK1"]\n', True), ("selct = []\n", False)])
def test_taplo_reads_the_schema(text: str, good: bool, tmp_path: Path) -> None:
    (tmp_path / "tricklint.toml").write_text(text)
    schema = (ROOT / "docs/tricklint.schema.json").as_uri()
    distribution = importlib.metadata.distribution("taplo")
    command = next(
        file for file in distribution.files or () if file.stem == "taplo" and "bin" in file.parts[-2].lower()
    )
    done = subprocess.run(
        [str(distribution.locate_file(command)), "check", "--schema", schema, "tricklint.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is good, done.stderr


# -- what the pages show, done ----------------------------------------------------------------------------------------


def _write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_the_rule_of_the_page_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = titled("write-a-rule.md")
    _write(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    code = files["lint_rules/sgd_without_momentum.py"]
    names: dict[str, Any] = {"__name__": "sgd_without_momentum"}
    exec(compile(code, "sgd_without_momentum.py", "exec"), names)
    check_fixtures(names["SgdWithoutMomentum"], "fixtures/sgd-without-momentum")
    done = subprocess.run(
        [sys.executable, "-m", "tricklint", "check", "--rule-path", "lint_rules", "--select", "LAB", "fixtures"],
        capture_output=True,
        text=True,
    )
    assert "bad_plain.py:4:13: LAB101 sgd-without-momentum: SGD is built without momentum" in done.stdout, done.stderr


def test_the_fix_of_the_page_runs_as_printed(tmp_path: Path) -> None:
    files = titled("write-a-rule.md")
    (body,) = (
        text for language, title, text in blocks(ROOT / "docs/write-a-rule.md") if language == "python" and not title
    )
    imports = "import libcst as cst\nfrom tricklint.finding import Fix, FixLevel\nfrom tricklint.fix.build import set_argument\n"
    head, _, _ = files["lint_rules/sgd_without_momentum.py"].partition("    def check")
    _, _, body = body.partition("as above\n")
    names: dict[str, Any] = {"__name__": "sgd_with_fix"}
    exec(compile(imports + head + body, "sgd_with_fix.py", "exec"), names)
    bad = files["fixtures/sgd-without-momentum/bad_plain.py"]
    _write(tmp_path, {name: text for name, text in files.items() if name.startswith("fixtures")})
    folder = tmp_path / "fixtures/sgd-without-momentum"
    (folder / "bad_plain.fixed.py").write_text(bad)
    with pytest.raises(AssertionError, match=r"the fix makes something else:\n(.|\n)*\+.*momentum=0.9"):
        check_fixtures(names["SgdWithoutMomentum"], folder)
    (folder / "bad_plain.fixed.py").write_text(bad.replace("lr=0.1)", "lr=0.1, momentum=0.9)"))
    check_fixtures(names["SgdWithoutMomentum"], folder)


def test_the_rule_of_contributing_runs_as_printed(tmp_path: Path) -> None:
    (code,) = (text for language, _, text in blocks(ROOT / "CONTRIBUTING.md") if language == "python")
    train = "import torch\nnet = torch.nn.Linear(2, 2)\nopt = torch.optim.AdamW(net.parameters())\n"
    _write(tmp_path, {"rules/my_rule.py": code, "train.py": train})
    options = ["--rule-path", "rules", "--select", "TRK999", "--output-format", "concise", "train.py"]
    done = subprocess.run(
        [sys.executable, "-m", "tricklint", "check", *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert "train.py:3:7: TRK999 my-rule: no learning rate is given" in done.stdout, done.stderr


def test_the_library_model_of_the_page_runs_as_printed(tmp_path: Path) -> None:
    files = titled("library-model.md")
    _write(tmp_path, files)
    check_it = "from tricklint.cli import main; main(['check', 'train.py', '--output-format', 'concise', '--no-cache'])"
    for before, found in (
        ("", False),
        ("from tricklint.libraries import load; load(); import mylab_tricklint; ", True),
    ):
        done = subprocess.run(
            [sys.executable, "-c", before + check_it],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        assert ("TRK601 decay-on-bias-norm" in done.stdout) is found, done.stdout + done.stderr
