"""What parts of a big project showed before, in this run and in earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tricklint.source.cache import Cache
from tricklint.source.entries import finding_of, plain_finding, plain_problem, problem_of
from tricklint.source.text import digest_now
from tricklint.units import Answer

_OTHERS = 2_000  # parts that are kept beside those of a run that was asked for some files


class Memory:
    """`Memory()` forgets when the process ends. With a cache, `load` and `store` carry it from run to run: `of` is what
    all parts hang on beside their own files."""

    def __init__(self, cache: Cache | None = None, of: str = "") -> None:
        self._cache, self._of = cache, of
        self._answers: dict[str, Answer] = {}
        self._stored: dict[str, object] = cache.parts(of) if cache else {}
        self._kept: list[str] = []
        self._all = True
        self._changed = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to recall."""
        return not self._answers and not self._stored

    def recall(self, key: str) -> Answer | None:
        if key not in self._answers and key in self._stored:
            answer = _revived(self._stored[key])
            if answer is not None:
                self._answers[key] = answer
            else:
                del self._stored[key]
        return self._answers.get(key)

    def keep(self, key: str, answer: Answer) -> None:
        self._answers[key] = answer
        self._changed = True

    def only(self, keys: Iterable[str], *, every: bool = True) -> None:
        """These are the parts that were asked for. When they are `every` part that there is, what is known of others is of
        an earlier state of the project."""
        self._kept, self._all = list(keys), every

    def store(self) -> None:
        """Remember for the next run what came to an end without a problem of ours."""
        if self._cache and self._changed:
            answers = {key: self._answers[key] for key in self._kept if key in self._answers}
            table = {key: _plain(answer) for key, answer in answers.items() if not answer.problems}
            others = {} if self._all else {key: one for key, one in self._stored.items() if key not in table}
            self._cache.keep_parts(self._of, {**dict(list(others.items())[-_OTHERS:]), **table})
            self._changed = False


def _plain(answer: Answer) -> dict[str, object]:
    return {
        "findings": [plain_finding(finding) for finding in answer.findings],
        "problems": [plain_problem(problem) for problem in answer.problems],
        "spent": answer.spent,
        "beyond": {str(path): digest for path, digest in answer.beyond.items()},
    }


def _revived(stored: object) -> Answer | None:
    """None for what is damaged, or hangs on a file beyond the project that has changed."""
    try:
        if not isinstance(stored, dict):
            return None
        beyond = {Path(path): digest for path, digest in stored["beyond"].items()}
        if any(digest_now(path) != digest for path, digest in beyond.items()):
            return None
        findings = [finding_of(one) for one in stored["findings"]]
        problems = [problem_of(one) for one in stored["problems"]]
        return Answer(findings, problems, [str(one) for one in stored["spent"]], beyond)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
