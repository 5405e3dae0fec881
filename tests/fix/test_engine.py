"""The engine: whole fixes, to a fixpoint, and no file that stops parsing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricklint.finding import Edit, Finding, Fix, FixLevel, Location, Severity
from tricklint.fix.diff import unified
from tricklint.fix.edits import EditError, Lines, apply_edits, lines_of
from tricklint.fix.engine import Broken, Sources, Wanted, fix_sources
from tricklint.fix.write import FixError, write_source
from tricklint.mend import together
from tricklint.source.text import Source

A, B = Path("a.py"), Path("b.py")


def edit(path: Path, text: str, start: int, end: int, content: str) -> Edit:
    lines = Lines(text)
    return Edit(path, lines.location(start), lines.location(end), content)


def finding(path: Path, text: str, at: int, edits: tuple[Edit, ...], level: FixLevel = FixLevel.SAFE) -> Finding:
    place = Lines(text).location(at)
    fix = Fix(level, "mend it", edits)
    return Finding("TRK999", "test-rule", Severity.WARNING, "found", path, place, place, fix=fix)


def replacing(pattern: str, by: str, level: FixLevel = FixLevel.SAFE) -> Callable[[Sources], list[Finding]]:
    """Finds `pattern` and would put `by` there."""

    def findings_of(sources: Sources) -> list[Finding]:
        return [
            finding(path, s.text, m.start(), (edit(path, s.text, m.start(), m.end(), m.expand(by)),), level)
            for path, s in sources.items()
            for m in re.finditer(pattern, s.text)
        ]

    return findings_of


def sources_of(**texts: str) -> Sources:
    return {Path(f"{name}.py"): Source.from_text(Path(f"{name}.py"), text) for name, text in texts.items()}


def test_every_fix_is_made_and_only_changed_files_come_back() -> None:
    result = fix_sources(sources_of(a="x = old\ny = old\n", b="z = 1\n"), replacing("old", "new"), FixLevel.SAFE)
    assert {path: s.text for path, s in result.changed.items()} == {A: "x = new\ny = new\n"}
    assert len(result.applied) == 2 and not result.remaining and not result.reverted


@pytest.mark.parametrize(
    ("level", "limit", "made"),
    [
        (FixLevel.SAFE, FixLevel.SAFE, True),
        (FixLevel.RECIPE, FixLevel.SAFE, False),
        (FixLevel.RECIPE, FixLevel.RECIPE, True),
        (FixLevel.UNSAFE, FixLevel.RECIPE, False),
        (FixLevel.UNSAFE, FixLevel.UNSAFE, True),
    ],
)
def test_levels(level: FixLevel, limit: FixLevel, made: bool) -> None:
    result = fix_sources(sources_of(a="x = old\n"), replacing("old", "new", level), limit)
    assert bool(result.changed) is made and bool(result.remaining) is not made


def test_touching_fixes_take_turns() -> None:
    # Each pass may double every second `a` only; the fixpoint has none left.
    result = fix_sources(sources_of(a="aaaa\n"), replacing("a", "bb"), FixLevel.SAFE)
    assert result.changed[A].text == "bbbbbbbb\n" and len(result.applied) == 4


def test_passes_end_at_max_passes() -> None:
    result = fix_sources(sources_of(a="x = 1\n"), replacing(r"= (\d+)", r"= 1\1"), FixLevel.SAFE, max_passes=3)
    assert result.changed[A].text == "x = 1111\n" and len(result.remaining) == 1


def test_a_fix_that_is_undone_does_not_go_in_circles() -> None:
    def findings_of(sources: Sources) -> list[Finding]:
        old, new = ("ping", "pong") if "ping" in sources[A].text else ("pong", "ping")
        return replacing(old, new)(sources)

    calls: list[int] = []
    fix_sources(sources_of(a="x = ping\n"), lambda s: (calls.append(1), findings_of(s))[1], FixLevel.SAFE)
    assert len(calls) == 2


def test_a_fix_is_made_in_all_its_files_or_in_none() -> None:
    sources = sources_of(a="x = one\n", b="y = two\n")

    def findings_of(now: Sources) -> list[Finding]:
        if "one" not in now[A].text:
            return []
        first = finding(A, now[A].text, 4, (edit(A, now[A].text, 4, 7, "1"), edit(B, now[B].text, 4, 7, "(")))
        return [first]

    result = fix_sources(sources, findings_of, FixLevel.SAFE)
    assert not result.changed and not result.applied
    assert [why for _, why in result.reverted] == ["the rewritten file would not parse in row 1"]


def test_one_broken_fix_does_not_cost_its_neighbours_theirs() -> None:
    def findings_of(now: Sources) -> list[Finding]:
        return replacing("good", "fine")(now) + replacing("bad", "(((")(now)

    result = fix_sources(sources_of(a="x = good\ny = bad\nz = good\n"), findings_of, FixLevel.SAFE)
    assert result.changed[A].text == "x = fine\ny = bad\nz = fine\n"
    assert len(result.reverted) == 1 and len(result.remaining) == 1


def test_fixes_that_break_a_file_only_together_are_given_up_together() -> None:
    def findings_of(now: Sources) -> list[Finding]:
        text = now[A].text
        return [
            finding(A, text, m.start(), (edit(A, text, m.start(), m.end(), ""),)) for m in re.finditer("pass", text)
        ]

    text = "if x:\n    pass\n    pass\n"
    result = fix_sources(sources_of(a=text), findings_of, FixLevel.SAFE)
    assert not result.changed and len(result.reverted) == 2


@pytest.mark.parametrize("blames", [True, False])
def test_one_fix_that_does_not_keep_its_word_is_told_from_its_neighbours(blames: bool) -> None:
    """Each proof follows the program again: where the cause is known it takes no search by halves."""
    proofs: list[int] = []

    def prove(_: Sources, new: Sources, made: Wanted) -> Broken | None:
        proofs.append(len(made))
        left = [found for found, fix in made if fix.edits[0].content == "worse"]
        return Broken("still bad", left if blames else ()) if "worse" in new[A].text else None

    def findings_of(now: Sources) -> list[Finding]:
        return replacing("good", "fine")(now) + replacing("bad", "worse")(now)

    text = "good\n" * 6 + "bad\n" + "good\n" * 9
    result = fix_sources(sources_of(a=text), findings_of, FixLevel.SAFE, prove=prove)
    assert result.changed[A].text == text.replace("good", "fine")
    assert [why for _, why in result.reverted] == ["still bad"]
    assert (proofs == [16, 1, 15]) is blames


def test_fixes_that_lean_on_what_follows_are_made_and_written_together() -> None:
    """Two freezes in two files, and the norms in a third that only both bring to light."""
    c = Path("c.py")

    def findings_of(now: Sources) -> list[Finding]:
        frozen = [path for path in (A, B) if "freeze" in now[path].text]
        return replacing("whole", "freeze")(now) + (replacing("drift", "still")(now) if frozen else [])

    def prove(_: Sources, new: Sources, made: Wanted) -> Broken | None:
        frozen = any("freeze" in new[path].text for path in (A, B))
        return Broken("norms would drift", arisen=True) if frozen and "drift" in new[c].text else None

    before = sources_of(a="whole\n", b="whole\n", c="drift\n")
    result = fix_sources(before, findings_of, FixLevel.SAFE, prove=prove)
    assert {path: source.text for path, source in result.changed.items()} == {
        A: "freeze\n",
        B: "freeze\n",
        c: "still\n",
    }
    assert [sorted(str(found.path) for found in group) for group in result.together] == [["a.py", "b.py", "c.py"]]
    assert together(result.changed, result.applied, result.together) == [[A, B, c]]


def test_an_edit_outside_the_text_or_of_an_unknown_file_is_refused() -> None:
    def findings_of(now: Sources) -> list[Finding]:
        far = Edit(A, Location(9, 1), Location(9, 2), "x")
        other = Edit(Path("zz.py"), Location(1, 1), Location(1, 1), "x")
        return [finding(A, now[A].text, 0, (far,)), finding(A, now[A].text, 0, (other,))]

    result = fix_sources(sources_of(a="x = 1\n"), findings_of, FixLevel.UNSAFE)
    assert not result.changed
    assert [why for _, why in result.reverted] == [
        "no row 9, column 1 in this text",
        "zz.py is not among the files that were read",
    ]


def test_a_character_that_the_encoding_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes("# coding: latin-1\nx = old\n".encode("latin-1"))
    source = Source.read(path)
    result = fix_sources({path: source}, replacing("old", "'α'"), FixLevel.SAFE)
    assert not result.changed and "cannot be written" in result.reverted[0][1]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads the newer grammar itself")
def test_code_that_only_libcst_can_read_is_mended() -> None:
    result = fix_sources(sources_of(a="type X = old\n"), replacing("old", "int"), FixLevel.SAFE)
    assert result.changed[A].text == "type X = int\n"


def test_edits_that_overlap_inside_one_fix_are_refused() -> None:
    def findings_of(now: Sources) -> list[Finding]:
        text = now[A].text
        return [finding(A, text, 0, (edit(A, text, 0, 5, "y"), edit(A, text, 3, 6, "z")))]

    result = fix_sources(sources_of(a="xxxxxxxx\n"), findings_of, FixLevel.SAFE)
    assert not result.changed and result.reverted[0][1] == "two edits overlap at row 1"


# -- edits ------------------------------------------------------------------------------------------------------------

_TEXTS = st.text(alphabet="ab\n\r\f\u2028é𝛼", max_size=30)


@given(_TEXTS)
def test_lines_and_offsets_agree(text: str) -> None:
    assert "".join(lines_of(text)) == text
    lines = Lines(text)
    for at in range(len(text) + 1):
        assert lines.offset(lines.location(at)) == at
    # Rows are counted as Python's tokenizer does, not as str.splitlines.
    assert lines.location(len(text)).row == len(re.split("\r\n|\r|\n", text))


@settings(max_examples=200)
@given(_TEXTS, st.data())
def test_apply_edits_is_slicing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    contents = [data.draw(st.text(alphabet="xy\n", max_size=3)) for _ in spans]
    expected, at = "", 0
    for (start, end), content in zip(spans, contents, strict=True):
        expected += text[at:start] + content
        at = end
    expected += text[at:]
    edits = [edit(A, text, *span, content) for span, content in zip(spans, contents, strict=True)]
    assert apply_edits(text, reversed(edits)) == expected


def test_an_edit_that_ends_before_it_starts() -> None:
    with pytest.raises(EditError, match="ends before it starts"):
        apply_edits("abc\n", [Edit(A, Location(1, 3), Location(1, 1), "")])


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"x = old\n",
        b"\xef\xbb\xbfx = old\r\ny = 1\r\n",
        "# coding: latin-1\nx = old  # caf\u00e9\n".encode("latin-1"),
        b"\fx = old\n",
        b"x = old",
        b"x = old\ry = 2\r",
    ],
)
def test_writing_changes_only_what_was_mended(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(data)
    path.chmod(0o751)
    source = Source.read(path)
    result = fix_sources({path: source}, replacing("old", "new"), FixLevel.SAFE)
    write_source(source, result.changed[path].text)
    assert path.read_bytes() == data.replace(b"old", b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    source = Source.read(path)
    path.write_text("x = 2\n")
    with pytest.raises(FixError, match=r"a\.py: changed on disk since it was read; not rewritten"):
        write_source(source, "x = 3\n")
    assert path.read_text() == "x = 2\n" and [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_a_file_that_went_away_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    source = Source.read(path)
    path.unlink()
    with pytest.raises(FixError, match=r"a\.py: not rewritten: no such file") as caught:
        write_source(source, "x = 3\n")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    path.chmod(0o444)
    with pytest.raises(FixError, match="permission denied"):
        write_source(Source.read(path), "x = 2\n")


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.py", tmp_path / "a.py"
    target.write_text("x = 1\n")
    link.symlink_to(target)
    write_source(Source.read(link), "x = 2\n")
    assert link.is_symlink() and target.read_text() == "x = 2\n"


def test_a_failed_rename_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    source = Source.read(path)

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FixError, match="no space left"):
        write_source(source, "x = 2\n")
    assert path.read_text() == "x = 1\n" and [p.name for p in tmp_path.iterdir()] == ["a.py"]


# -- diffs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [("a = 1\nb = 2\n", "a = 1\nb = 3\n"), ("a = 1", "a = 2"), ("a = 1\r\nb = 2\r\n", "a = 1\r\nb = 3\r\n")],
)
@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch(1)")
def test_patch_makes_of_the_diff_what_the_fix_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.py"
    path.write_bytes(before.encode())
    diff = unified(Source.read(path), after)
    assert diff.startswith("--- a/a.py\n+++ b/a.py\n")
    subprocess.run(["patch", "-p1", "--binary"], input=diff.encode(), check=True, capture_output=True)
    assert path.read_bytes() == after.encode()


def test_no_change_is_no_diff() -> None:
    assert unified(Source.from_text(A, "x = 1\n"), "x = 1\n") == ""


@pytest.mark.parametrize("blames", [True, False])
def test_what_breaks_a_program_together_is_not_searched_for_without_end(blames: bool) -> None:
    """No three of fifty fixes keep their word together, each alone does: the program is followed some thirty times."""
    proofs: list[int] = []

    def prove(_: Sources, new: Sources, made: Wanted) -> Broken | None:
        proofs.append(len(made))
        found = [each for each, _ in made]
        return Broken("too many", found[2:] if blames else ()) if new[A].text.count("fine") > 2 else None

    text = "".join(f"x{n} = good\n" for n in range(50))
    result = fix_sources(sources_of(a=text), replacing("good", "fine"), FixLevel.SAFE, prove=prove)
    assert result.changed[A].text.count("fine") in (1, 2)
    assert len(result.applied) + len(result.reverted) == 50
    assert len(proofs) <= 30
