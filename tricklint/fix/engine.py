"""Apply fixes in memory: whole fixes, none that meet, never so that a file stops parsing, again to a fixpoint."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from tricklint.finding import Edit, Finding, Fix, FixLevel
from tricklint.fix.edits import EditError, Lines, apply_edits, meet
from tricklint.source.text import Source, SourceError

Sources = dict[Path, Source]
Wanted = list[tuple[Finding, Fix]]
Refused = list[tuple[Finding, Fix, str]]
# What a fix is, wherever it stands: rows move as other fixes are made, so the text of the flagged line stands for them.
Key = tuple[str, str, str, str, tuple[str, ...]]

SEARCHES = 5  # for what breaks a program together, each of which follows all of it once more


@dataclass(frozen=True)
class Broken:
    """Why fixes do not keep their word together. `by`: the findings whose fixes are known to be the cause, if any are;
    `within`: the files that show it when they alone are followed, if it is known and they are few; `arisen`: the reason is
    that findings arise which were not there as they are; `vain`: those whose fixes leave them as they were, with what to say of it."""

    why: str
    by: Sequence[Finding] = ()
    within: frozenset[Path] | None = None
    arisen: bool = False
    vain: Mapping[int, str] = field(default_factory=dict)  # by id


class Prove(Protocol):
    """Before, after, the fixes made between them; `within`: as far as these files go, when they alone are followed."""

    def __call__(
        self, old: Sources, new: Sources, made: Wanted, within: frozenset[Path] | None = None, /
    ) -> Broken | None: ...


class FindingsOf(Protocol):
    def __call__(self, now: Sources, within: frozenset[Path] | None = None, /) -> list[Finding]: ...


@dataclass
class FixResult:
    """`changed` holds only files whose text differs; `remaining` are the findings of the last pass; `reverted` says of
    each fix that was given up what it broke; `together` are those of `applied` that keep their word in one piece alone."""

    changed: Sources = field(default_factory=dict)
    applied: list[Finding] = field(default_factory=list)
    remaining: list[Finding] = field(default_factory=list)
    reverted: list[tuple[Finding, str]] = field(default_factory=list)
    together: list[list[Finding]] = field(default_factory=list)


def fix_sources(
    sources: Mapping[Path, Source],
    findings_of: FindingsOf,
    max_level: FixLevel,
    max_passes: int = 10,
    prove: Prove | None = None,
) -> FixResult:
    """Mend `sources` with every fix up to `max_level`.

    `findings_of` is asked again after each pass, so a fix that met another one gets its turn, and a finding that a
    fix brings to light is mended too. `prove` says what a set of fixes would break (None when nothing): those that keep
    their word are made, the others are given up. It stops when nothing is left to do, or after `max_passes`.
    """
    now: Sources = dict(sources)
    result = FixResult()
    given_up: set[Key] = set()
    seen = {_state(now, sources)}
    result.remaining = findings_of(now)
    proof = _Proof(prove, findings_of, max_level) if prove is not None else None
    for _ in range(max_passes):
        wanted = [
            (finding, finding.fix)
            for finding in sorted(result.remaining, key=lambda f: f.sort_key)
            if finding.fix is not None
            and finding.fix.level.rank <= max_level.rank
            and _key(now, finding, finding.fix) not in given_up
        ]
        accepted, refused = _choose(now, wanted)
        accepted, broken, texts = _make(now, accepted)
        for finding, fix, why in (*refused, *broken):
            given_up.add(_key(now, finding, fix))
            result.reverted.append((finding, why))
        if not accepted:
            if broken and wanted:
                continue  # others may have stepped back for the fixes that were given up
            break
        before = now
        if proof is not None:
            proven = _proven(now, accepted, texts, proof)
            accepted, now = proven.made, proven.texts
            for finding, fix, why in proven.refused:
                given_up.add(_key(before, finding, fix))
                result.reverted.append((finding, why))
            if not accepted:
                if proven.refused and wanted:
                    continue
                break
            lean = [finding for finding, _ in accepted] if proven.apart else []
        else:
            lean = []
            now = {**now, **texts}
        state = _state(now, sources)
        if state in seen:  # a fix that undoes another, or changes nothing
            now = before
            break
        seen.add(state)
        result.applied += [finding for finding, _fix in accepted]
        result.together += [lean] if lean else []
        result.remaining = findings_of(now)
    result.changed = {path: source for path, source in now.items() if source.text != sources[path].text}
    return result


@dataclass(frozen=True)
class _Proven:
    """made: the fixes that keep their word together, with `texts` as they leave them. apart: some were worked out on mended
    texts, so that they join no others in one pass."""

    made: Wanted
    refused: Refused
    texts: Sources
    apart: bool = False


@dataclass(frozen=True)
class _Split:
    """Of fixes that break something together: kept may keep their word without the refused; apart: what has to stand apart,
    if anything; less: fewer than kept, should it be their sum alone that breaks it."""

    kept: Wanted
    refused: Refused
    less: Wanted
    apart: _Proven | None = None


@dataclass(frozen=True)
class _Proof:
    """`within`: the files that alone are followed; None: all of the program. `broken`: how often that did not keep its word."""

    ask: Prove
    asked: FindingsOf
    max_level: FixLevel
    within: frozenset[Path] | None = None
    broken: list[str] = field(default_factory=list)

    def prove(self, now: Sources, after: Sources, made: Wanted) -> Broken | None:
        if self.within is not None:
            return self.ask(now, after, made, self.within)
        found = self.ask(now, after, made)
        if found is not None and len(made) > 1:
            self.broken.append(found.why)
        return found

    def findings_of(self, now: Sources) -> list[Finding]:
        return self.asked(now) if self.within is None else self.asked(now, self.within)

    def with_what_follows(self, now: Sources, after: Sources, accepted: Wanted) -> _Proven | None:
        """Fixes that bring findings to light, together with the fixes of those: a freeze, and the norms that would drift in
        it. None where that does not keep its word either."""
        known = set(map(words, self.findings_of(now)))
        following = [
            (finding, finding.fix)
            for finding in self.findings_of(after)
            if finding.fix is not None
            and finding.fix.level.rank <= self.max_level.rank
            and words(finding) not in known
        ]
        chosen, _ = _choose(after, following)
        made, _, texts = _make(after, chosen)
        last = {**after, **texts}
        both = [*accepted, *made]
        return _Proven(both, [], last, apart=True) if made and not self.prove(now, last, both) else None


def _proven(now: Sources, accepted: Wanted, texts: Sources, proof: _Proof) -> _Proven:
    """Those of the accepted fixes that keep their word together, those that do not, and the texts with the former."""
    after = {**now, **texts}
    broken = proof.prove(now, after, accepted)
    if broken is None:
        return _Proven(accepted, [], after)
    both = proof.with_what_follows(now, after, accepted) if broken.arisen else None
    if both is not None:
        return both
    if len(accepted) == 1:
        finding, fix = accepted[0]
        return _Proven([], [(finding, fix, broken.why)], now)
    if len(proof.broken) > SEARCHES:
        split = _cut_short(accepted, broken, soon=len(proof.broken) > 2 * SEARCHES)
    else:
        split = _searched(now, accepted, broken, proof)
    kept, refused, apart = split.kept, split.refused, split.apart
    if not kept:  # what has to stand apart has a pass of its own
        if apart is None:
            return _Proven([], refused, now)
        wrong = proof.prove(now, apart.texts, apart.made)
        if wrong is None:
            return _Proven(apart.made, refused, apart.texts, apart=True)
        return _Proven([], [*refused, *((finding, fix, wrong.why) for finding, fix in apart.made)], now)
    together, problem = _texts(now, [fix for _, fix in kept])
    if problem is not None or len(kept) == len(accepted):  # each part keeps its word, their sum does not
        kept = split.less  # the others are asked of the next pass
        together, problem = _texts(now, [fix for _, fix in kept])
        if problem is not None:
            return _Proven([], refused, now)
    rest = _proven(now, kept, together, proof)
    return replace(rest, refused=[*refused, *rest.refused])


def _cut_short(accepted: Wanted, broken: Broken, *, soon: bool) -> _Split:
    """As `_searched`, without a search: the program was followed often enough. All that may be the cause is given up, with
    more that may not be where an end is to come `soon`."""
    by = {*map(id, broken.by), *broken.vain}
    kept = [pair for pair in accepted if id(pair[0]) not in by]
    if soon or len(kept) == len(accepted):
        kept = kept[: len(kept) // 2]
    kept = kept or accepted[: len(accepted) // 2]
    left = {id(finding) for finding, _ in kept}
    refused = [(finding, fix, broken.why) for finding, fix in accepted if id(finding) not in left]
    return _Split(kept, refused, less=kept)


def _searched(now: Sources, accepted: Wanted, broken: Broken, proof: _Proof) -> _Split:
    """What is broken is looked at where it shows, as far as that is known."""
    vain, by = broken.vain, set(map(id, broken.by))
    refused: Refused = [(finding, fix, vain[id(finding)]) for finding, fix in accepted if id(finding) in vain]
    suspects = [pair for pair in accepted if id(pair[0]) in by and id(pair[0]) not in vain]
    kept = [pair for pair in accepted if id(pair[0]) not in by and id(pair[0]) not in vain]
    if refused or (suspects and kept):
        parts = [suspects] if suspects else []
    else:
        kept, half = [], len(accepted) // 2
        parts = [accepted[:half], accepted[half:]]
    less = list(kept) or parts[0] if parts else kept
    if broken.within and (proof.within is None or broken.within < proof.within):
        proof = replace(proof, within=broken.within)
    apart: _Proven | None = None
    for part in parts:
        alone, problem = _texts(now, [fix for _, fix in part])
        if problem is not None:
            continue
        found = _proven(now, part, alone, proof)
        refused += found.refused
        if not found.apart:
            kept += found.made
        elif apart is None:
            apart = found
    order = {id(finding): at for at, (finding, _) in enumerate(accepted)}
    return _Split(sorted(kept, key=lambda pair: order[id(pair[0])]), refused, less, apart)


def words(finding: Finding) -> tuple[str, Path, str]:
    """What a finding says, wherever in its file: rows move as fixes are made."""
    return finding.code, finding.path, finding.message


def _state(now: Sources, sources: Mapping[Path, Source]) -> int:
    return hash(tuple((path, source.text) for path, source in now.items() if source.text != sources[path].text))


def _key(now: Sources, finding: Finding, fix: Fix) -> Key:
    source = now.get(finding.path)
    line = Lines(source.text).line(finding.location.row).strip() if source is not None else ""
    return (finding.code, str(finding.path), line, fix.message, tuple(edit.content for edit in fix.edits))


def _choose(now: Sources, wanted: Wanted) -> tuple[Wanted, Refused]:
    """The fixes of one pass: in order, each whole, none that meets an accepted one in any file."""
    taken: dict[Path, list[tuple[int, int]]] = {}
    lines: dict[Path, Lines] = {}
    accepted: Wanted = []
    refused: Refused = []
    for finding, fix in wanted:
        spans: list[tuple[Path, tuple[int, int]]] = []
        why = "" if fix.edits else "the fix holds no edit"
        for edit in fix.edits:
            source = now.get(edit.path)
            if source is None:
                why = f"{edit.path} is not among the files that were read"
                break
            lines.setdefault(edit.path, Lines(source.text))
            try:
                span = lines[edit.path].span(edit)
            except EditError as error:
                why = str(error)
                break
            if _crosses_cells(source, edit.location.row, edit.end_location.row):
                why = "the rewrite would cross the border of a notebook cell"
                break
            spans.append((edit.path, span))
        if why:
            refused.append((finding, fix, why))
        elif not any(meet(span, other) for path, span in spans for other in taken.get(path, ())):
            for path, span in spans:
                taken.setdefault(path, []).append(span)
            accepted.append((finding, fix))
    return accepted, refused


def _crosses_cells(source: Source, row: int, end_row: int) -> bool:
    return source.is_notebook and not any(
        cell.first_row <= row and end_row < cell.first_row + cell.rows for cell in source.cells
    )


def _make(now: Sources, accepted: Wanted) -> tuple[Wanted, Refused, Sources]:
    """Make the edits. A fix after which a file no longer parses is given up, with its edits in other files."""
    broken: Refused = []
    while True:
        texts, problem = _texts(now, [fix for _, fix in accepted])
        if problem is None:
            return accepted, broken, texts
        path, why = problem
        touching = [(finding, fix) for finding, fix in accepted if any(edit.path == path for edit in fix.edits)]
        # One bad fix must not cost its neighbours: those that are fine alone stay, unless only their sum is wrong.
        bad = [(finding, fix) for finding, fix in touching if _texts(now, [fix])[1] is not None] or touching
        broken += [(finding, fix, why) for finding, fix in bad]
        accepted = [pair for pair in accepted if not any(pair[0] is finding for finding, _ in bad)]


def _texts(now: Sources, fixes: Iterable[Fix]) -> tuple[Sources, tuple[Path, str] | None]:
    """The files that `fixes` touch with their new texts, or the first of them that breaks and how."""
    edits: dict[Path, list[Edit]] = {}
    for fix in fixes:
        for edit in fix.edits:
            edits.setdefault(edit.path, []).append(edit)
    changed: Sources = {}
    for path, mine in edits.items():
        old = now[path]
        try:
            new = apply_edits(old.text, mine)
        except EditError as error:
            return changed, (path, str(error))
        why = syntax_problem(old.text, new)
        if why:
            return changed, (path, why)
        try:
            changed[path] = old.with_text(new)
        except SourceError as error:  # a character that the file's encoding lacks, a lost border between cells
            return changed, (path, error.message)
    return changed, None


def syntax_problem(old: str, new: str) -> str:
    """Why `new` must not take the place of `old`: libcst cannot parse it, or Python no longer can (empty: it may)."""
    import libcst

    from tricklint.source.tree import parse

    try:
        parse(new)
    except Exception as error:  # libcst raises more than ParserSyntaxError, such as RecursionError
        where = f" in row {error.raw_line}" if isinstance(error, libcst.ParserSyntaxError) else ""
        return f"the rewritten file would not parse{where}"
    try:
        _compile(new)
    except (SyntaxError, ValueError, RecursionError) as error:
        try:
            _compile(old)
        except (SyntaxError, ValueError, RecursionError):
            return ""  # this Python could not read the original either: it knows another grammar
        return f"the rewritten file would not parse in row {getattr(error, 'lineno', '?')}"
    return ""


def _compile(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning and DeprecationWarning of the user's own strings
        ast.parse(text)
