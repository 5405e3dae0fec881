"""The words every room speaks: findings, their evidence, and the edits that mend them.

Rows and columns are 1-based and count characters of the *source text* a rule saw. For a notebook that text is the
concatenation of its code cells; `tricklint.source` maps it back to a cell and a row within it when a finding is shown.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tricklint.about import RULE_PAGES


class Severity(enum.Enum):
    """How much a finding matters; ordered, `ADVICE < WARNING < ERROR`."""

    ADVICE = "advice"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return ("advice", "warning", "error").index(self.value)


class FixLevel(enum.Enum):
    """How far a fix may be trusted: `SAFE` keeps results bit for bit, `RECIPE` changes training exactly as the rule
    says and nothing else, `UNSAFE` wants the author's eye."""

    SAFE = "safe"
    RECIPE = "recipe"
    UNSAFE = "unsafe"

    @property
    def rank(self) -> int:
        return ("safe", "recipe", "unsafe").index(self.value)


@dataclass(frozen=True, order=True)
class Location:
    """A place in a text: 1-based row, 1-based column (in characters)."""

    row: int
    column: int


@dataclass(frozen=True)
class Edit:
    """Replace the text from `location` up to (not including) `end_location` of `path` by `content`."""

    path: Path
    location: Location
    end_location: Location
    content: str


@dataclass(frozen=True)
class Keeps:
    """The post-condition of a fix: what the mended program must have in common with the one before, as far as the code
    can be followed. The default is the strict one; a rule whose fix changes one of these on purpose says so.

    optimised: the parameters that each optimizer is given ("same", "fewer", "more" or "any"). frozen: what is frozen and
    thawed, and the models that backward passes come to. modes: `train()` and `eval()` calls. cleared: `zero_grad()` calls. keys: the `state_dict` keys of the models
    that are trained ("same" or "more").
    Always held: every name that was bound still is, and no rule finds what it did not find before.
    """

    optimised: Literal["same", "fewer", "more", "any"] = "same"
    frozen: Literal["same", "any"] = "same"
    modes: Literal["same", "any"] = "same"
    cleared: Literal["same", "any"] = "same"
    keys: Literal["same", "more", "any"] = "same"


@dataclass(frozen=True)
class Fix:
    """One rewrite, applied whole or not at all. `reason` says why a fix is not safe (empty when it is); `keeps` is proven
    before it is made."""

    level: FixLevel
    message: str
    edits: tuple[Edit, ...]
    reason: str = ""
    keeps: Keeps = Keeps()

    @staticmethod
    def everywhere(fixes: Iterable[Fix | None]) -> Fix | None:
        """One fix for all the places of a finding, in the words of the first; None where one of them has none."""
        each = list(fixes)
        whole = [fix for fix in each if fix is not None]
        if not whole or len(whole) < len(each):
            return None
        return replace(whole[0], edits=tuple(dict.fromkeys(edit for fix in whole for edit in fix.edits)))


@dataclass(frozen=True)
class Evidence:
    """A line that supports a finding: where the model was built, frozen, optimised …"""

    path: Path
    location: Location
    end_location: Location
    message: str


@dataclass(frozen=True)
class Finding:
    """One mistake at one place. `evidence` is ordered as a reader should meet it."""

    code: str
    name: str
    severity: Severity
    message: str
    path: Path
    location: Location
    end_location: Location
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | None = None
    pedantic: bool = False
    confirmed: str = field(default="", compare=False)  # set when a traced model agrees: "traced: …"

    @property
    def url(self) -> str:
        """Its rule's page; empty for a rule that is not tricklint's own."""
        return f"{RULE_PAGES}{self.name}.md" if self.code.startswith("TRK") else ""

    def with_fix(self, fix: Fix | None) -> Finding:
        return replace(self, fix=fix)

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        return (str(self.path), self.location.row, self.location.column, self.code)
