"""The process that checks: it takes one message at a time, and lets go of a check when the next one comes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tricklint import wire
from tricklint.report import Report
from tricklint.server import messages
from tricklint.server.desk import Desk, Scope
from tricklint.settings import SettingsError
from tricklint.source.files import skipped
from tricklint.source.screen import with_deep_stack
from tricklint.source.text import Source, SourceError

SLOW = 0.4  # seconds: what takes longer is preceded by a look at the file alone
UNTIDY = 4  # checks that may leave what they made lying while the next one waits


class Stopped(BaseException):
    """Something newer is to be done. Not an Exception: what catches those must not catch this."""


class Inbox:
    """What is still to be done: the newest check takes the place of all before it, fixes wait in line."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._check: messages.Check | None = None
        self._mends: deque[messages.Mend] = deque()
        self._closed = False

    def put(self, message: messages.Check | messages.Mend | None) -> None:
        with self._changed:
            if message is None:
                self._closed = True
            elif isinstance(message, messages.Mend):
                self._mends.append(message)
            else:
                self._check = message
            self._changed.notify()

    def take(self) -> messages.Check | messages.Mend | None:
        with self._changed:
            while not (self._closed or self._check or self._mends):
                self._changed.wait()
            if self._closed:
                return None
            if self._mends:
                return self._mends.popleft()
            check, self._check = self._check, None
            return check

    @property
    def waiting(self) -> bool:
        return self._closed or self._check is not None or bool(self._mends)

    @property
    def newer_check(self) -> bool:
        return self._closed or self._check is not None

    def put_back(self, check: messages.Check) -> None:
        """A check that a fix came before, unless a newer one has come meanwhile."""
        with self._changed:
            self._check = self._check or check


class Worker:
    def __init__(self, send: Callable[[object], None]) -> None:
        self.inbox = Inbox()
        self._send = send
        self._desk = Desk(lambda message: send(messages.Said(message)))
        self._sent_pages: set[str] = set()
        self._seen: set[Path] = set()
        self._untidied = 0

    def serve(self) -> None:
        """Until the server is gone."""
        gc.disable()
        while True:
            message = self.inbox.take()
            if message is None:
                return
            self._desk.trusted = message.trusted
            try:
                if isinstance(message, messages.Mend):
                    self._mend(message)
                else:
                    self._check(message)
            except SettingsError as error:
                self._send(messages.Said(str(error), error=True))
                self._send(messages.Done(message.serial))
            except Exception as error:  # a bug of ours must not end the worker: its trees would be lost
                self._send(messages.Said(f"{type(error).__name__}: {error}; please report", error=True))
                self._send(messages.Done(message.serial))
            self._tidy()

    def _tidy(self) -> None:
        """Programs are circles of objects. What was there before is frozen, so the collector sees only the last runs. It
        takes a tenth of what it cleans up after, so who waits is served first."""
        self._untidied += 1
        if self.inbox.waiting and self._untidied < UNTIDY:
            return
        self._untidied = 0
        self._desk.shelf.trim()
        gc.collect()
        gc.freeze()

    # -- checks --------------------------------------------------------------------------------------------------------

    def _check(self, job: messages.Check) -> None:
        def watch() -> None:
            if self.inbox.waiting:
                raise Stopped

        self._desk.watch = watch
        try:
            self._lay(job.open)
            self._check_all(job)
            self._send(messages.Done(job.serial))
        except Stopped:
            if not self.inbox.newer_check:
                self.inbox.put_back(job)
            self._send(messages.Done(job.serial, stopped=True))

    def _lay(self, open_: Mapping[Path, messages.Document]) -> None:
        sources = {}
        for path, document in open_.items():
            try:
                sources[path] = Source.from_bytes(path, document.data)
            except SourceError:
                continue  # its own check says so
        self._desk.shelf.lay(sources)

    def _check_all(self, job: messages.Check) -> None:
        asked = self._scopes(job, job.asked)
        first = [path for path in job.changed if path in asked] + [
            path for path in asked if path not in job.changed and job.everything
        ]
        for path in first:
            if self._desk.is_long(path):
                self._report(job, self._desk.glance(path), [path], whole=False)
            if path not in self._seen or asked[path].seconds > SLOW:
                self._report(job, self._desk.alone(path, job.since), [path], whole=False)
        others = [path for path in asked if path not in first]
        covered, moved = self._desk.related(job.changed, others)
        done = self._whole(job, [*first, *covered])
        # What the change no longer leads to may have lost a finding; what it leads to now may have got one.
        covered, rest = self._desk.related(job.changed, [path for path in others if path not in done])
        self._whole(job, dict.fromkeys([*covered, *rest, *(path for path in moved if path not in done)]))

    def _scopes(self, job: messages.Check, paths: Iterable[Path]) -> dict[Path, Scope]:
        """The projects of files that are to be checked; the others hear that nothing was found."""
        found: dict[Path, Scope] = {}
        by_folder: dict[Path, Scope] = {}
        for path in sorted(paths):
            try:
                scope = by_folder[path.parent] = by_folder.get(path.parent) or self._desk.scope(path)
                if not skipped(path, scope.settings):
                    found[path] = scope
                else:
                    self._send(messages.Checked(job.serial, path, job.open[path].version))
            except SettingsError as error:
                self._send(messages.Said(str(error), error=True))
                self._send(messages.Checked(job.serial, path, job.open[path].version))
        return found

    def _whole(self, job: messages.Check, paths: Iterable[Path]) -> list[Path]:
        by_scope: dict[int, list[Path]] = {}
        for path in paths:
            by_scope.setdefault(id(self._desk.scope(path)), []).append(path)
        for group in by_scope.values():
            self._report(job, self._desk.whole(group), group, whole=True)
            self._seen.update(group)
        return [path for group in by_scope.values() for path in group]

    def _report(self, job: messages.Check, report: Report, paths: Iterable[Path], *, whole: bool) -> None:
        for path in paths:
            findings = tuple(finding for finding in report.findings if finding.path == path)
            problems = tuple(problem for problem in report.problems if problem.path in (path, None))
            pages = {}
            for finding in findings:
                rule = report.rule(finding.code)
                if rule is not None and rule.code not in self._sent_pages:
                    pages[rule.code] = rule.page
                    self._sent_pages.add(rule.code)
            self._send(messages.Checked(job.serial, path, job.open[path].version, findings, problems, whole, pages))

    # -- fixes ---------------------------------------------------------------------------------------------------------

    def _mend(self, job: messages.Mend) -> None:
        def watch() -> None:
            if self.inbox.newer_check:
                raise Stopped

        self._desk.watch = watch
        data: bytes | None = None
        try:
            self._lay(job.open)
            data = self._desk.mended(job.path).data
        except Stopped:
            pass
        except (SettingsError, SourceError) as error:
            self._send(messages.Said(str(error), error=True))
        self._send(messages.Mended(job.serial, job.path, job.open[job.path].version, data))


def _listen(stream: BinaryIO, inbox: Inbox) -> None:
    while (message := wire.read(stream)) is not None:
        inbox.put(message)
    inbox.put(None)
    time.sleep(2)
    os._exit(0)  # the server is gone, and what is being done does not look up


def main() -> None:
    # Nothing that a rule prints may come between the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: object) -> None:
        data = wire.pack(message)
        with lock, suppress(BrokenPipeError):  # the server is gone: the inbox hears of it too
            out.write(data)
            out.flush()

    worker = Worker(send)
    threading.Thread(target=_listen, args=(sys.stdin.buffer, worker.inbox), daemon=True).start()
    with_deep_stack(worker.serve)
