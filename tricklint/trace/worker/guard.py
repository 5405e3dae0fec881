"""What a build may not do: an audit hook, resource limits and a clock. It stops accidents, not attackers.

The hook is installed after torch was imported and before any fork. What the project's own files try (a write, a
socket, a subprocess) raises `Blocked`, a BaseException, so that `except Exception` does not swallow it; what a library
tries on its own behalf gets a PermissionError, which libraries know how to live with.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, NoReturn

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.copyfile", "shutil.make_archive",
    "tempfile.mkstemp", "tempfile.mkdtemp",
}  # fmt: skip
_PROCESSES = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.forkpty", "os.kill",
    "os.killpg", "subprocess.Popen", "pty.spawn", "webbrowser.open",
}  # fmt: skip
_NETWORK = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request",
    "http.client.connect", "ftplib.connect", "smtplib.connect",
}  # fmt: skip
_FREE = ("/dev/null", "/dev/tty", "/proc/self/")


class Blocked(BaseException):
    """The project's code tried something a trace must not do."""


class OverTime(BaseException):
    """The clock ran out."""


class Guard:
    """One for the process. `mode` is "off", "library" (PermissionError for everything) or "child"."""

    def __init__(self) -> None:
        self.mode = "off"
        self.roots: tuple[str, ...] = ()
        self.first = ""  # what was blocked first, also when the code swallowed it

    def install(self) -> None:
        """For the rest of this process and its children; audit hooks cannot be taken off again."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.mode == "off":
            return
        if event == "open":
            path, mode, flags = (*args, None, None, None)[:3]
            writing = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            writing = writing or (isinstance(flags, int) and mode is None and bool(flags & _WRITE_FLAGS))
            if writing and not isinstance(path, int) and not str(path).startswith(_FREE):
                self._stop(f"writing {path}")
        elif event == "builtins.input":
            self._stop("input()", always=True)
        elif event in _PROCESSES:
            self._stop(f"{event}({_brief(args)})")
        elif event in _NETWORK:
            self._stop(f"the network, {event}({_brief(args)})")
        elif event in _CHANGES:
            self._stop(f"{event}({_brief(args)})")

    def _stop(self, what: str, always: bool = False) -> None:
        frame = self.culprit()
        if self.mode == "child" and (always or frame is not None):
            place = f" ({os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno})" if frame is not None else ""
            self.first = self.first or f"{what}{place}"
            raise Blocked(what)
        raise PermissionError(f"a trace must not do this: {what}")

    def is_user(self, file: str) -> bool:
        """A file of the project: below its roots, which may hold a Python installation, or this package, too."""
        if not self.roots or not file.startswith(self.roots):
            return False
        return "site-packages" not in file and not _standard(file) and not file.startswith(_PACKAGE)

    def culprit(self) -> FrameType | None:
        """The project's frame that asked for it directly (through the standard library), or None for a library's."""
        frame: FrameType | None = sys._getframe(1)
        here = os.path.dirname(os.path.abspath(__file__))
        while frame is not None:
            file = frame.f_code.co_filename
            if self.is_user(file):
                return frame
            if not (file.startswith((here, "<")) or _standard(file)):
                return None
            frame = frame.f_back
        return None


_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))


def _standard(file: str) -> bool:
    return file.startswith(_STANDARD) and "site-packages" not in file


def _brief(args: tuple[Any, ...]) -> str:
    text = ", ".join(repr(arg) for arg in args if arg is not None)
    return text if len(text) <= 80 else text[:79] + "…"


def limit_memory(megabytes: int) -> None:
    """At most that much address space beyond what is in use now; no file grows at all, no core is dumped."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # macOS: no such file, and RLIMIT_AS does not hold there
        return
    wanted = used + megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def start_clock(seconds: float) -> None:
    """Raise OverTime in the main thread after `seconds`, and again every second, should it be swallowed."""
    import signal

    def ring(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise OverTime(f"{seconds:g} s")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)


def stop_clock() -> None:
    import signal

    signal.setitimer(signal.ITIMER_REAL, 0)
