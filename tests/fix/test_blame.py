"""Which fixes are the likely cause where a mended program does not do what it did: those in the files that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tricklint.check import Options, run
from tricklint.finding import Edit, Finding, Fix, FixLevel, Keeps, Location, Severity
from tricklint.fix.engine import Broken, fix_sources
from tricklint.fix.facts import Facts
from tricklint.fix.looks import Looks
from tricklint.fix.proof import Breach, blamed, breaches
from tricklint.inquiry import Found
from tricklint.settings import load
from tricklint.source.text import Source

HERE = Location(1, 1)


def made(name: str, *others: str) -> tuple[Finding, Fix]:
    fix = Fix(FixLevel.SAFE, "mend it", tuple(Edit(Path(one), HERE, HERE, "") for one in (name, *others)))
    return Finding("TRK999", "test-rule", Severity.WARNING, "found", Path(name), HERE, HERE, fix=fix), fix


def whys(before: Facts, after: Facts, fixes: Sequence[tuple[Finding, Fix]]) -> list[str]:
    return [breach.why for breach in breaches(before, after, fixes)]


def test_blamed_are_the_fixes_in_files_that_hold_other_events_now() -> None:
    starts = {"run a": Path("a.py"), "run e": Path("e.py")}
    ran = {Path("a.py"): frozenset([Path("b.py"), Path("c.py")])}
    before = Facts(
        places=Counter({("GradsCleared", Path("a.py")): 2, ("Froze", Path("b.py")): 1}), starts=starts, ran=ran
    )
    places = {("GradsCleared", Path("a.py")): 3, ("Froze", Path("b.py")): 1, ("ModeSet", Path("c.py")): 1}
    after = Facts(places=Counter(places), starts=starts, ran=ran)
    fixes = [made("a.py"), made("b.py"), made("d.py", "c.py"), made("e.py")]
    found = [Breach("other", "run a")]
    assert [found.path.name for found in blamed(before, after, fixes, found)] == ["a.py", "d.py"]
    # nothing is another number of times: any file that the entry runs
    assert [found.path.name for found in blamed(before, before, fixes, found)] == ["a.py", "b.py", "d.py"]
    assert [found.path.name for found in blamed(before, after, fixes, [Breach("other", "run e")])] == ["e.py"]
    assert not blamed(before, after, fixes, [])


def test_an_entry_that_is_too_long_to_be_followed_proves_nothing() -> None:
    """Where it was left depends on how many steps came before: a fix elsewhere moves that."""
    long, short = ("main", ("SGD", 0, "main"), None), ("eval", ("SGD", 0, "eval"), None)
    starts, fixes = {"main": Path("a.py"), "eval": Path("a.py")}, [made("a.py")]

    def facts(cleared: dict[object, int], *incomplete: str) -> Facts:
        return Facts(cleared=Counter(cleared), starts=starts, incomplete=frozenset(incomplete))  # type: ignore[arg-type]

    before, whole = facts({long: 4, short: 1}, "main"), facts({long: 4, short: 1})
    assert not whys(before, facts({long: 3, short: 1}, "main"), fixes)
    assert whys(before, facts({long: 4}, "main"), fixes)
    assert whys(whole, before, fixes) == ["the mended program could not be followed to its end"]
    assert whys(whole, facts({long: 3, short: 1}), fixes)


def test_an_entry_keeps_what_the_fixes_in_its_own_files_promise() -> None:
    """A freeze in one script allows none in another, and what runs no mended file is not asked."""
    starts = {"run a": Path("a.py"), "run b": Path("b.py")}
    ran = {Path("a.py"): frozenset([Path("net.py")])}
    frozen = Counter({("run a", "net", False): 1, ("run b", "net", False): 1})
    before, after = Facts(starts=starts, ran=ran), Facts(starts=starts, ran=ran, frozen=frozen)
    freezes = replace(made("net.py")[1], keeps=Keeps(frozen="any"))
    assert not whys(before, after, [(made("net.py")[0], freezes)])
    found = list(breaches(before, after, [(made("net.py")[0], freezes), made("b.py")]))
    assert [(breach.entry, breach.why) for breach in found] == [("run b", "other parameters would be frozen than before")]


def test_parts_of_a_project_are_known_together() -> None:
    one = Facts(
        optimised={"run a": [("SGD", {})]},
        cleared=Counter({("run a", "net", None): 2}),
        unbound=Counter({("lib.py", "x"): 1}),
        starts={"run a": Path("a.py")},
        ran={Path("lib.py"): frozenset([Path("one.py")])},
        incomplete=frozenset(["run a"]),
    )
    two = Facts(
        unbound=Counter({("lib.py", "x"): 1}),
        starts={"run b": Path("b.py")},
        ran={Path("lib.py"): frozenset([Path("two.py")]), Path("b.py"): frozenset([Path("lib.py")])},
    )
    joined = Facts()
    joined.add(one)
    joined.add(two)
    assert joined.optimised == one.optimised and joined.cleared == one.cleared and joined.incomplete == {"run a"}
    assert joined.unbound == one.unbound and set(joined.starts) == {"run a", "run b"}
    assert joined.reached(["run b"]) == {Path(name) for name in ("b.py", "lib.py", "one.py", "two.py")}
    assert joined.leading_to([Path("two.py")]) == {Path(name) for name in ("two.py", "lib.py", "b.py")}


SCRIPT = """\
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
total = 0
for x, y in [(torch.randn(3, 4), torch.tensor([0, 1, 0]))] * 4:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss
"""


def test_a_program_is_followed_no_more_often_than_the_cause_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of nine fixes would clear gradients otherwise: the proofs are of all, of that one, of the others."""
    from tricklint.fix import facts as known

    for number in range(9):
        (tmp_path / f"train_{number}.py").write_text(SCRIPT)
    odd, proofs = tmp_path / "train_5.py", []
    facts_of = known.facts_of

    def facts(program: object) -> Facts:
        found = facts_of(program)  # type: ignore[arg-type]
        if any(
            "item()" in source.text or "detach()" in source.text
            for path, source in program.sources.items()
            if path == odd
        ):  # type: ignore[attr-defined]
            found.cleared[f"run {odd}", "more", None] += 1
            found.places["GradsCleared", odd] += 1
        return found

    prove = Looks.prove
    monkeypatch.setattr(known, "facts_of", facts)
    monkeypatch.setattr(Looks, "prove", lambda *given: proofs.append(len(given[3])) or prove(*given))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK302"]})
    report = run([tmp_path], settings, Options(fix=True, cache=False))
    assert len(report.fixed) == 8 and [finding.path for finding in report.findings] == [odd]
    assert proofs == [9, 1, 8]


def test_blamed_are_the_fixes_in_the_file_in_which_a_finding_arises(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of nine fixes brings a finding of another rule to light where it stands."""
    paths = [Path(f"net_{number}.py") for number in range(9)]
    odd, proofs = paths[5], []

    def ask(sources: Mapping[Path, Source]) -> Found:
        found = Found()
        for path, source in sources.items():
            if source.text == "x = 1\n":
                edit = Edit(path, Location(1, 5), Location(1, 6), "2")
                fix = Fix(FixLevel.SAFE, "mend it", (edit,))
                found.findings.append(Finding("TRK901", "one", Severity.WARNING, "found", path, HERE, HERE, fix=fix))
            elif path == odd:
                found.findings.append(Finding("TRK902", "two", Severity.ERROR, "arisen", path, HERE, HERE))
        return found

    prove = Looks.prove
    monkeypatch.setattr(Looks, "prove", lambda *given: proofs.append(len(given[3])) or prove(*given))
    looks = Looks(ask)
    sources = {path: Source.from_text(path, "x = 1\n") for path in paths}
    result = fix_sources(sources, lambda now: looks.at(now).findings, FixLevel.SAFE, prove=looks.prove)
    assert set(result.changed) == set(paths) - {odd}
    assert [(finding.path, why) for finding, why in result.reverted] == [(odd, "TRK902 would be found in net_5.py")]
    assert proofs == [9, 1, 8]


def test_no_text_is_looked_at_twice_while_the_cause_is_searched_for() -> None:
    """None of six fixes in one file keeps its word: what was seen of the others is still known when all six are given up."""
    paths = [Path(f"net_{number}.py") for number in range(4)]
    odd = paths[2]
    asked: list[tuple[str, ...]] = []

    def ask(sources: Mapping[Path, Source]) -> Found:
        asked.append(tuple(source.text for source in sources.values()))
        found = Found()
        for path, source in sources.items():
            for row, line in enumerate(source.text.splitlines(), 1):
                if line.endswith("1"):
                    edit = Edit(path, Location(row, len(line)), Location(row, len(line) + 1), "2")
                    fix = Fix(FixLevel.SAFE, "mend it", (edit,))
                    at = Location(row, 1)
                    found.findings.append(Finding("TRK901", "one", Severity.WARNING, "found", path, at, at, fix=fix))
            if path == odd and "2" in source.text:
                found.findings.append(Finding("TRK902", "two", Severity.ERROR, "arisen", path, HERE, HERE))
        return found

    looks = Looks(ask)
    sources = {path: Source.from_text(path, "x = 1\n") for path in paths}
    sources[odd] = Source.from_text(odd, "".join(f"{name} = 1\n" for name in "abcdef"))
    result = fix_sources(sources, lambda now: looks.at(now).findings, FixLevel.SAFE, prove=looks.prove)
    assert set(result.changed) == set(paths) - {odd} and len(result.reverted) == 6
    assert len(asked) == len(set(asked))


def test_what_is_broken_is_looked_at_where_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six scripts one would clear gradients otherwise: the search follows that one, before and after; the rest of the
    program is followed as it was, with every fix, and with those that are left."""
    from tricklint.fix import facts as known

    for number in range(6):
        (tmp_path / f"train_{number}.py").write_text(SCRIPT)
    odd = tmp_path / "train_3.py"
    followed: list[int] = []
    facts_of = known.facts_of

    def facts(program: object) -> Facts:
        found = facts_of(program)  # type: ignore[arg-type]
        followed.append(len({*found.starts.values()}))
        if "detach()" in program.sources[odd].text:  # type: ignore[attr-defined]
            found.cleared[f"run {odd}", "more", None] += 1
            found.places["GradsCleared", odd] += 1
        return found

    monkeypatch.setattr(known, "facts_of", facts)
    settings = load([tmp_path], isolated=True, options={"select": ["TRK302"]})
    report = run([tmp_path], settings, Options(fix=True, cache=False))
    assert [(finding.path, why) for finding, why in report.refused] == [
        (odd, "gradients would be cleared otherwise than before")
    ]
    assert followed == [6, 6, 1, 1, 6]


def test_a_fix_that_leaves_its_finding_is_not_asked_about_again() -> None:
    """It is given up with the first look, beside those that are made; of two in the same words it may be the other."""
    paths = [Path(f"net_{number}.py") for number in range(3)]

    def ask(sources: Mapping[Path, Source], within: frozenset[Path] | None = None) -> Found:
        found = Found()
        for path, source in sources.items():
            for row, line in enumerate(source.text.splitlines(), 1):
                if line[-1] in "13":
                    edit = Edit(path, Location(row, len(line)), Location(row, len(line) + 1), "2" if line[-1] == "1" else "3")
                    fix = Fix(FixLevel.SAFE, "mend it", (edit, replace(edit, location=HERE, end_location=HERE, content="a")))
                    at = Location(row, 1)
                    found.findings.append(Finding("TRK901", "one", Severity.WARNING, "found", path, at, at, fix=fix))
        return found

    proofs: list[int] = []
    looks = Looks(ask)

    def prove(*given: Any) -> Broken | None:
        proofs.append(len(given[2]))
        return looks.prove(*given)

    sources = {path: Source.from_text(path, "x = 1\n") for path in paths}
    sources[paths[1]] = Source.from_text(paths[1], "x = 3\n")
    result = fix_sources(sources, lambda now, within=None: looks.at(now, within).findings, FixLevel.SAFE, prove=prove)
    assert [(finding.path, why) for finding, why in result.reverted] == [(paths[1], "TRK901 would still be found")]
    assert proofs == [3, 2]


@pytest.mark.parametrize(
    ("hidden", "again"),
    [
        ((), []),
        ((2,), [["ENDLESS"]] * 2),
        ((1, 2), [["NONE", "ENDLESS", "ENDLESS"]]),
    ],
    ids=["alike", "in one file", "in most files"],
)
def test_entries_are_followed_alike_before_what_differs_is_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: tuple[int, ...], again: list[list[str]]
) -> None:
    """How deep hangs on how much was followed before, which a fix elsewhere changes. What is found in the end is what a run
    of its own finds; where that differs from the program before, entries are followed as they were then."""
    from tricklint.fix import facts as known
    from tricklint.interpreter import yields

    for number in range(3):
        (tmp_path / f"train_{number}.py").write_text(SCRIPT)
    monkeypatch.setattr(yields, "ENDLESS", 1)
    seen: list[list[str]] = []
    facts_of = known.facts_of

    def facts(program: Any) -> Facts:
        monkeypatch.setattr(yields, "ENDLESS", 10**9)
        seen.append([haste.name for haste in program.haste.values()])
        found = facts_of(program)
        for event in [*found.cleared]:
            if found.haste[event[0]] is yields.Haste.ENDLESS and event[0].endswith(tuple(f"_{at}.py" for at in hidden)):
                del found.cleared[event]  # as if it stood too deep
        return found

    monkeypatch.setattr(known, "facts_of", facts)
    settings = load([tmp_path], isolated=True, options={"select": ["TRK302"]})
    assert len(run([tmp_path], settings, Options(fix=True, cache=False)).fixed) == 3
    assert seen == [["NONE", "ENDLESS", "ENDLESS"], ["NONE"] * 3, *again]


def test_what_is_remembered_serves_where_entries_are_followed_alike() -> None:
    from tricklint.interpreter.yields import Haste

    by_itself = Facts(haste={"run a": Haste.NONE, "run b": Haste.LONG})
    led = replace(by_itself, led=True)
    assert by_itself.fit({}) and not led.fit({})
    for facts in (by_itself, led):
        assert facts.fit({"run a": Haste.NONE}) and not facts.fit({"run b": Haste.NONE})


@pytest.mark.parametrize("more", ["", "x, y = 1, 2\nz = x + y\n" * 20])
def test_where_haste_begins_does_not_hang_on_a_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """It is decided for groups of files: by the steps before each, a mended file would move it to another entry."""
    from tricklint.fix import facts as known
    from tricklint.interpreter import yields
    from tricklint.program.program import TOGETHER

    (tmp_path / "train_00.py").write_text(SCRIPT + more)
    for number in range(1, 3 * TOGETHER):
        (tmp_path / f"train_{number:02}.py").write_text(SCRIPT)
    hasty: list[str] = []
    spent: list[int] = []
    facts_of = known.facts_of

    def facts(program: Any) -> Facts:
        spent.append(program.interpreter.spent)
        hasty.extend(sorted(entry for entry, haste in program.haste.items() if haste is not yields.Haste.NONE))
        return facts_of(program)

    monkeypatch.setattr(known, "facts_of", facts)
    settings = load([tmp_path], isolated=True, options={"select": ["TRK701"]})
    run([tmp_path], settings, Options(diff=True, cache=False))
    monkeypatch.setattr(yields, "LONG", spent[0] // 2)  # half of them: within the second group
    hasty.clear()
    run([tmp_path], settings, Options(diff=True, cache=False))
    assert hasty[0] == f"run {tmp_path}/train_{2 * TOGETHER:02}.py"
