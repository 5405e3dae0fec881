"""Which rules run: selectors (code, prefix or name) against the rules there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tricklint.rule import Rule
from tricklint.settings import Selection, Settings, SettingsError, nearest
from tricklint.source.files import Globs

_EVERYTHING = "ALL"


def _weight(selector: str, rule: Rule) -> int:
    """How exactly a selector names a rule: 0 not at all, longer prefixes more, the full code or the name most."""
    if selector in (rule.name, rule.code):
        return 100
    if selector == _EVERYTHING:
        return 1
    return len(selector) if selector.isupper() and rule.code.startswith(selector) else 0


def _best(selectors: Iterable[str], rule: Rule) -> int:
    return max((_weight(selector, rule) for selector in selectors), default=0)


def matches(selectors: Iterable[str], rule: Rule) -> bool:
    return _best(selectors, rule) > 0


def _known(selector: str, rules: Sequence[Rule], where: str) -> None:
    if not any(_weight(selector, rule) for rule in rules):
        words = [word for rule in rules for word in (rule.code, rule.name)]
        raise SettingsError(f"{where}: no rule is called '{selector}'{nearest(selector, words)}")


def _apply(layer: Selection, rules: Sequence[Rule], chosen: set[str]) -> set[str]:
    for key, selectors in (
        ("select", layer.select or ()),
        ("extend-select", layer.extend_select),
        ("ignore", layer.ignore),
    ):
        for selector in selectors:
            _known(selector, rules, f"{layer.origin}: {key}")
    result = set()
    for rule in rules:
        wanted = max(_best(layer.select or (), rule), _best(layer.extend_select, rule))
        if wanted < 100 and not rule.on_by_default:
            wanted = 0  # a rule that is off by default is never meant by a prefix
        kept = layer.select is None and rule.code in chosen
        if wanted > _best(layer.ignore, rule) or (kept and not _best(layer.ignore, rule)):
            result.add(rule.code)
    return result


def select(rules: Sequence[Rule], settings: Settings) -> list[Rule]:
    """The rules that run, in order. Raises SettingsError for a selector that names none."""
    chosen = {rule.code for rule in rules if rule.on_by_default}
    for layer in settings.selections:
        chosen = _apply(layer, rules, chosen)
    for pattern, selectors in settings.per_file_ignores:
        for selector in selectors:
            _known(selector, rules, f"per-file-ignores '{pattern}'")
    return [rule for rule in rules if rule.code in chosen]


def idle(known: Sequence[Rule], settings: Settings, paths: Iterable[Path], asked: Collection[Path]) -> list[str]:
    """What the configuration says in vain, a line each: rules that were called by name and cannot run, and patterns
    that match no file of a project that is checked whole."""
    named = {word for layer in settings.selections for word in (*(layer.select or ()), *layer.extend_select)}
    notes = [
        f"{rule.code} ({rule.name}) was selected and did not run: it needs --trace"
        for rule in known
        if rule.needs_trace and not settings.trace and named & {rule.code, rule.name}
    ]
    if asked and any(settings.root.is_relative_to(path.absolute()) for path in paths):
        for pattern, _ in settings.per_file_ignores:
            globs = Globs(settings.root, [pattern.removeprefix("!")])
            if not any(globs.verdict(str(path)) for path in asked):
                notes.append(f"per-file-ignores '{pattern}': no file matches")
    return notes


def find(word: str, rules: Sequence[Rule]) -> Rule | None:
    """The rule with this code (in any case) or name."""
    return next((rule for rule in rules if word.upper() == rule.code or word == rule.name), None)
