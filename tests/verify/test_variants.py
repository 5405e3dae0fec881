"""Findings become variants: the fix engine's own texts, alone and stacked."""

from __future__ import annotations

from pathlib import Path

from tricklint.finding import Edit, Finding, Fix, FixLevel, Location, Severity
from tricklint.source.text import Source
from tricklint.verify import variants
from tricklint.verify.workspace import Project

from .helpers import MODEL


def finding(path: Path, code: str, row: int, content: str) -> Finding:
    at = Location(row, 1)
    fix = Fix(FixLevel.RECIPE, "do it", (Edit(path, at, at, content),), "changes training")
    return Finding(code, code.lower(), Severity.ADVICE, "m", path, at, at, fix=fix)


def test_alone_and_stacked_in_the_order_of_the_tricks(project: Path) -> None:
    path = project / "model.py"
    found = [
        finding(path, "TRK601", 2, "# decay\n"),
        finding(path, "TRK501", 4, "# init\n"),
        finding(path, "TRK401", 6, "# loop\n"),
    ]
    made = variants.maker(Project.scan(project), found, {path: Source.read(path)})
    built, ladder, notes = variants.build(project, found, made)
    assert [v.name for v in built] == ["baseline", "TRK501", "TRK601", "TRK501+TRK601"]
    assert ladder == ("baseline", "TRK501", "TRK501+TRK601")
    assert notes == []
    both = built[-1].edits["model.py"]
    assert "# decay" in both and "# init" in both and "# loop" not in both
    assert built[1].edits["model.py"].replace("# init\n", "") == MODEL
    assert "+# init" in built[1].diff
    assert path.read_text() == MODEL  # the original is as it was


def test_a_file_in_another_encoding_keeps_its_bytes(project: Path, tmp_path: Path) -> None:
    path = project / "model.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\r\n" + MODEL.encode())
    found = [finding(path, "TRK501", 4, "# init\n")]
    scanned = Project.scan(project)
    edits = variants.maker(scanned, found, {path: Source.read(path)})(["TRK501"])
    copy = scanned.copy(tmp_path / "copy", edits)
    assert (copy / "model.py").read_bytes().replace(b"# init\n", b"") == path.read_bytes()


def test_order_is_that_of_the_slides() -> None:
    codes = ["TRK701", "TRK101", "TRK601", "TRK503", "TRK501"]
    assert sorted(codes, key=variants.order_of) == ["TRK501", "TRK503", "TRK601", "TRK101", "TRK701"]
