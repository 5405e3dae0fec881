"""How the command ends, whatever happens: a clean line and the exit code that the pages promise, never a traceback."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import os
import sys
from collections.abc import Callable

import click

FAILED = 2
INTERRUPTED = 130  # as shells say of a process that SIGINT ended

alone = False  # whether the process was started for one command, and ends with it
_leaves = False


def leave_behind() -> None:
    """What the command makes from now on is not taken apart when it ends, object by object: the system takes it whole."""
    global _leaves
    if alone:
        gc.disable()
        _leaves = True


def left_behind(end: SystemExit) -> None:
    """End the process, where the command said that it leaves everything behind."""
    if _leaves and isinstance(end.code, int):
        atexit._run_exitfuncs()
        if not _flushed():
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(end.code)


def ended(command: Callable[[], object]) -> int:
    """Run a click command that is not standalone, and give the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that is no text, or a character that the terminal's encoding lacks, is shown escaped.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _code_of(command)
    except KeyboardInterrupt:
        return _interrupted()
    return max(code, _flushed())


def _code_of(command: Callable[[], object]) -> int:
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except SystemExit as error:
        return _exit_code(error)
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
            return _interrupted()
        _say("aborted")
        return FAILED
    except click.ClickException as error:
        _say_click(error)
        return FAILED
    except BrokenPipeError:
        _silence(sys.stdout)
        return FAILED
    except OSError as error:
        if error.errno == errno.EPIPE:
            _silence(sys.stdout)
            return FAILED
        if os.environ.get("TRICKLINT_TRACEBACK"):
            raise
        _say(_os_words(error))
        return FAILED
    except Exception as error:
        if os.environ.get("TRICKLINT_TRACEBACK"):
            raise
        _say(f"{_words(error)}; this is a bug of tricklint, please report it (TRICKLINT_TRACEBACK=1 shows where)")
        return FAILED


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    _say(str(error.code))
    return FAILED


def _os_words(error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is None and not _working_folder():
        return "the working folder does not exist any more"
    named = f"{error.filename}: " if error.filename is not None else ""
    return f"{named}{error.strerror or error}"


def _working_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _words(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def _say(message: str) -> None:
    from tricklint.output.printable import one_line

    with contextlib.suppress(OSError, ValueError):
        click.echo(f"Error: {one_line(message)}", err=True)


def _say_click(error: click.ClickException) -> None:
    from tricklint.output.printable import one_line

    if isinstance(error, click.UsageError):
        with contextlib.suppress(OSError, ValueError):
            click.UsageError(one_line(error.format_message()), error.ctx).show()
        return
    _say(error.format_message())


def _interrupted() -> int:
    """What is being written is written to its end first: files that one fix touches change together."""
    if "tricklint.fix.write" in sys.modules:
        from tricklint.fix.write import finished

        with contextlib.suppress(KeyboardInterrupt):
            finished()
    _silence(sys.stdout)
    with contextlib.suppress(OSError, ValueError):
        click.echo("\nInterrupted", err=True)
    return INTERRUPTED


def _flushed() -> int:
    """0 when all that was printed has arrived; else says so. The interpreter's own flush would end with a traceback."""
    try:
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        _silence(sys.stdout)
        return FAILED
    except (OSError, ValueError) as error:
        _say(f"standard output: {getattr(error, 'strerror', None) or error}")
        _silence(sys.stdout)
        return FAILED


def _silence(stream: object) -> None:
    """Let the rest of what is buffered go nowhere."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return
