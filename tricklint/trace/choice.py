"""`select=` and `ignore=` of `check_model`: which rules may speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tricklint.settings import nearest
from tricklint.trace.judge import NAMES


def chosen(select: Iterable[str] | None, ignore: Iterable[str]) -> Callable[[str], bool]:
    """Whether a rule of that code is wanted. Raises ValueError for a selector that names no rule."""
    wanted = None if select is None else [_known(selector) for selector in _listed(select)]
    left_out = [_known(selector) for selector in _listed(ignore)]

    def may(code: str) -> bool:
        kept = wanted is None or any(_matches(selector, code) for selector in wanted)
        return kept and not any(_matches(selector, code) for selector in left_out)

    return may


def _listed(selectors: Iterable[str]) -> list[str]:
    return [selectors] if isinstance(selectors, str) else list(selectors)


def _matches(selector: str, code: str) -> bool:
    return selector == NAMES[code][0] or (selector.isupper() and code.startswith(selector))


def _known(selector: str) -> str:
    if any(_matches(selector, code) for code in NAMES):
        return selector
    from tricklint.rule import discover

    # A rule that looks at source only: it never speaks here, and naming it is no mistake.
    rules = discover()
    if any(selector == rule.name or (selector.isupper() and rule.code.startswith(selector)) for rule in rules):
        return selector
    words = [word for rule in rules for word in (rule.code, rule.name)]
    raise ValueError(f"check_model: no rule is called {selector!r}{nearest(selector, words)}")
