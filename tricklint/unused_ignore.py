"""Reports ignore comments that silence nothing, or that name no rule.

## What it does
Finds `# tricklint: ignore[...]` and `# tricklint: ignore-file[...]` comments whose rules report nothing there, that
name a rule which does not exist, or that are misspelt.

## Why it costs
A comment that outlives its mistake hides the next one on that line.

## When not to follow it
When the comment is kept for a rule that only runs elsewhere (with `--trace`, or with another selection): such rules
are not judged in a run that leaves them out, so nothing has to be done.

## Example
```python
lr = 0.1  # tricklint: ignore[TRK601]
```

## After the fix
```python
lr = 0.1
```

## Fix level
safe: only a comment changes.

## Evidence
None needed: the comment has no effect.

## References
- ruff's unused-noqa (RUF100), the same idea: https://docs.astral.sh/ruff/rules/unused-noqa/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Edit, Finding, Fix, FixLevel, Location, Severity
from tricklint.rule import Rule
from tricklint.selection import matches
from tricklint.settings import nearest
from tricklint.source import ignores
from tricklint.source.ignores import Directive, Ignores
from tricklint.source.text import Source

if TYPE_CHECKING:
    from tricklint.program import Program


class UnusedIgnore(Rule):
    """Stands in the table of rules like any other; `Suppressions.unused` does its work, after all others ran."""

    code = "TRK001"
    name = "unused-ignore"
    summary = "This comment silences nothing."
    severity = Severity.WARNING
    fix_level = FixLevel.SAFE
    trick = "upkeep"
    triggers = ("tricklint:",)
    file_alone = True

    def check(self, program: Program) -> Iterable[Finding]:
        return ()


class Suppressions:
    """Takes suppressed findings out, and remembers which comments did so."""

    def __init__(self, known: Sequence[Rule], running: Sequence[Rule]) -> None:
        self._known = known
        self._running = running
        self._ignores: dict[Path, Ignores] = {}
        self._used: set[tuple[Path, Directive, str | None]] = set()

    def _of(self, source: Source) -> Ignores:
        if source.path not in self._ignores:
            self._ignores[source.path] = ignores.read(source)
        return self._ignores[source.path]

    def suppressed(self, finding: Finding, source: Source) -> bool:
        rule = next((rule for rule in self._known if rule.code == finding.code), None)
        about_comments = finding.code == UnusedIgnore.code
        hit = False
        for directive in self._of(source).at(finding.location.row):
            if about_comments and directive.selectors is None:
                continue  # a comment that names no rule would silence what is said about itself
            for selector in directive.selectors or () if directive.selectors is not None else (None,):
                if selector is None or (rule is not None and matches([selector], rule)):
                    self._used.add((source.path, directive, selector))
                    hit = True
        return hit

    def unused(self, source: Source, not_run: Sequence[Rule]) -> Iterator[Finding]:
        """TRK001 for each comment of a file that did nothing. Rules in `not_run` did not speak here, so comments about
        them are not judged."""
        for directive in self._of(source).directives:
            yield from self._judge(source, directive, not_run)

    def _judge(self, source: Source, directive: Directive, not_run: Sequence[Rule]) -> Iterator[Finding]:
        if directive.word not in ignores.WORDS:
            hint = nearest(directive.word, ignores.WORDS) or " (known: ignore[RULE], ignore-file)"
            yield _finding(source, directive, f"'tricklint: {directive.word}' is no comment that is known{hint}", None)
            return
        if directive.selectors is None:
            yield from self._judge_without_rules(source, directive, not_run)
            return
        reasons, kept = [], []
        for selector in directive.selectors:
            reason = self._reason(source, directive, selector, not_run)
            if reason:
                reasons.append(reason)
            else:
                kept.append(selector)
        if reasons or not directive.selectors:
            message = "; ".join(reasons) or f"'{directive.text}' names no rule"
            yield _finding(source, directive, message, tuple(kept))

    def _judge_without_rules(self, source: Source, directive: Directive, not_run: Sequence[Rule]) -> Iterator[Finding]:
        """A comment about all rules; whether it is of use is known only when all of them spoke."""
        after = source.lines[directive.row - 1][directive.end - 1 :].replace(",", " ").split()
        meant = next((word for word in after[:1] if any(matches([word], rule) for rule in self._known)), None)
        if meant:
            message = f"'{directive.text}' silences every rule; for one write ignore[{meant}]"
            yield _finding(source, directive, message, None)
            return
        ran = {rule.code for rule in self._running if rule not in not_run}
        usual = {rule.code for rule in self._known if rule.on_by_default and not rule.needs_trace}
        if usual <= ran and (source.path, directive, None) not in self._used:
            yield _finding(source, directive, f"'{directive.text}' silences nothing", ())

    def _reason(self, source: Source, directive: Directive, selector: str, not_run: Sequence[Rule]) -> str:
        """Why a selector of a comment is of no use; empty when it is, or may be."""
        if (source.path, directive, selector) in self._used:
            return ""
        if not any(matches([selector], rule) for rule in self._known):
            words = [word for rule in self._known for word in (rule.code, rule.name)]
            return f"no rule is called '{selector}'{nearest(selector, words)}"
        running = [rule for rule in self._running if rule not in not_run]
        if any(matches([selector], rule) and rule not in running for rule in self._known):
            return ""
        return f"'{selector}' is reported nowhere {'in this file' if directive.word == 'ignore-file' else 'here'}"


def _finding(source: Source, directive: Directive, message: str, kept: tuple[str, ...] | None) -> Finding:
    """`kept`: the selectors that stay; () when the whole comment can go, None when there is nothing to offer."""
    fix = None
    if kept is not None:
        edit = _without(source, directive) if not kept else _with(source, directive, kept)
        fix = Fix(FixLevel.SAFE, "remove the comment" if not kept else f"keep only {', '.join(kept)}", (edit,))
    rule = UnusedIgnore
    start, end = Location(directive.row, directive.start), Location(directive.row, directive.end)
    return Finding(rule.code, rule.name, rule.severity, message, source.path, start, end, fix=fix)


def _with(source: Source, directive: Directive, kept: tuple[str, ...]) -> Edit:
    start, end = Location(directive.row, directive.start), Location(directive.row, directive.end)
    return Edit(source.path, start, end, ignores.joined(kept, directive.word))


def _without(source: Source, directive: Directive) -> Edit:
    """Take the directive and its explanation out, with the white space before it, or the row when it stood alone."""
    line = source.lines[directive.row - 1]
    before = line[: directive.start - 1]
    next_comment = line.find("#", directive.end - 1)
    after = line[next_comment:] if next_comment >= 0 else ""
    if not after and not before.strip() and directive.row < len(source.lines):
        return Edit(source.path, Location(directive.row, 1), Location(directive.row + 1, 1), "")
    kept = before if after else before.rstrip()
    return Edit(source.path, Location(directive.row, len(kept) + 1), Location(directive.row, len(line) + 1), after)
