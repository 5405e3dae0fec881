"""Findings → variants: each fix alone, and the stack in the order in which the tricks are usually taken up.

The fixed texts are made by the fix engine itself, and where two fixes meet by `tricklint check --fix` in a copy of the
project's code: what is measured is what `--fix` writes.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tricklint.finding import Finding, FixLevel
from tricklint.source.text import Source
from tricklint.verify.plan import BASELINE, Variant
from tricklint.verify.records import VerifyError
from tricklint.verify.workspace import Project

LOOPS = ("TRK401", "TRK402")  # proven by timing the loop, not by training
MEMORY = ("TRK301", "TRK302", "TRK303")  # proven by what autograd keeps alive
# Initialisation first, then decay, then transfer: "Baseline → + Xavier → + no bias decay", as the slides go.
ORDER = ("TRK105", "TRK501", "TRK502", "TRK504", "TRK503", "TRK601", "TRK602", "TRK1", "TRK2", "TRK7")


def order_of(code: str) -> tuple[int, str]:
    """Where a code stands in the stack."""
    exact = [i for i, prefix in enumerate(ORDER) if code == prefix]
    family = [i for i, prefix in enumerate(ORDER) if code.startswith(prefix)]
    return (exact or family or [len(ORDER)])[0], code


def mend(project: Project, codes: Sequence[str], extra: Sequence[str] = ()) -> dict[str, str]:
    """What `tricklint check --fix` makes of the project for these codes only: relative name → new text, of changed
    files. Raises VerifyError when it cannot be run."""
    with tempfile.TemporaryDirectory(prefix="tricklint-mend-") as folder:
        copy = Path(folder) / project.root.name
        copy.mkdir()
        code = [n for n in project.stamps if n.endswith((".py", ".ipynb", ".toml", ".gitignore"))]
        for name in code:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project.root / name, copy / name)
        command = [
            sys.executable,
            "-m",
            "tricklint",
            "check",
            ".",
            "--fix",
            "--unsafe-fixes",
            "--exit-zero",
            "--no-cache",
        ]
        command += ["--select", ",".join(codes), "--output-format", "json", *extra]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            if not any((copy / n).read_bytes() != (project.root / n).read_bytes() for n in code):
                raise VerifyError(f"{', '.join(codes)}: the fix could not be made: {last}")
        changed = {}
        for name in code:
            new = (copy / name).read_bytes()
            if new != (project.root / name).read_bytes():
                changed[name] = new.decode("utf-8", errors="surrogateescape")
        return changed


def made_here(project: Project, findings: Sequence[Finding], sources: Mapping[Path, Source]) -> dict[str, str] | None:
    """The findings' own fixes made in memory, all in one pass; None when two of them meet (then `mend` must ask the
    rules again after the first). Names are relative to the project."""
    from tricklint.fix.engine import fix_sources

    asked: list[int] = []

    def findings_of(_: object, within: object = None, /) -> list[Finding]:
        asked.append(1)
        return list(findings) if len(asked) == 1 else []

    result = fix_sources(sources, findings_of, FixLevel.UNSAFE, max_passes=1)
    if result.reverted or len(result.applied) != len(findings):
        return None
    edits = {}
    for path, source in result.changed.items():
        if source.is_notebook:
            return None
        name = path.resolve().relative_to(project.root).as_posix()
        edits[name] = source.data.decode("utf-8", errors="surrogateescape")
    return edits


def diff_of(root: Path, edits: Mapping[str, str]) -> str:
    """The unified diff of edited files against the originals."""
    parts: list[str] = []
    for name, text in sorted(edits.items()):
        old = (root / name).read_bytes().decode("utf-8", errors="surrogateescape") if (root / name).exists() else ""
        parts += difflib.unified_diff(old.splitlines(True), text.splitlines(True), f"a/{name}", f"b/{name}")
    text = "".join(line if line.endswith("\n") else line + "\n" for line in parts)
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def trained(findings: Iterable[Finding]) -> dict[str, Finding]:
    """One finding for each code that has a fix and is judged by training, in the order of the stack."""
    found: dict[str, Finding] = {}
    for finding in findings:
        if finding.fix is not None and finding.code not in LOOPS + MEMORY:
            found.setdefault(finding.code, finding)
    return {code: found[code] for code in sorted(found, key=order_of)}


Maker = Callable[[Sequence[str]], dict[str, str]]


def maker(
    project: Project, findings: Sequence[Finding], sources: Mapping[Path, Source], extra: Sequence[str] = ()
) -> Maker:
    """A function from codes to the files that their fixes change, as new texts. `sources` are the texts that the
    findings stand in; `extra` are options for `tricklint check`."""

    def edits_of(codes: Sequence[str]) -> dict[str, str]:
        mine = [f for f in findings if f.code in codes and f.fix is not None]
        made = made_here(project, mine, sources)
        return made if made is not None else mend(project, codes, extra)

    return edits_of


def build(
    root: Path, findings: Sequence[Finding], edits_of: Maker, stack: bool = True
) -> tuple[list[Variant], tuple[str, ...], list[str]]:
    """(variants with the baseline first, the ladder's names, notes on what could not be built)."""
    variants = [Variant(BASELINE, "Baseline", "baseline")]
    notes: list[str] = []
    ladder = [BASELINE]
    rungs: list[str] = []
    labels: dict[str, str] = {}
    for code, finding in trained(findings).items():
        edits = edits_of([code])
        if not edits:
            notes.append(f"{code} {finding.name}: its fix changed nothing when made alone")
            continue
        assert finding.fix is not None
        level = finding.fix.level.value
        variants.append(Variant(code, f"{code} {finding.name}", "alone", (code,), edits, diff_of(root, edits), level))
        rungs.append(code)
        labels[code] = f"{code} {finding.name}"
    if stack and rungs:
        ladder.append(rungs[0])  # the first rung is the first fix alone
        for end in range(2, len(rungs) + 1):
            codes = rungs[:end]
            name = "+".join(codes)
            edits = edits_of(codes)
            variants.append(Variant(name, f"+ {labels[codes[-1]]}", "stack", tuple(codes), edits, diff_of(root, edits)))
            ladder.append(name)
    return variants, tuple(ladder), notes
