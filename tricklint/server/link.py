"""The server's end of its worker: starts it, starts it again when it died or no longer listens, passes messages on."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable

from tricklint import wire
from tricklint.server import messages

# The path is given, never found: the folder that the editor was started in may hold modules of any name.
_START = "import sys; sys.path[:] = sys.argv[1:]; from tricklint.server.worker import main; main()"
_PATIENCE = 10.0  # seconds that a worker may take to let go of a check
_RESTARTS = 5  # within a minute


class Link:
    """`receive` gets every message of the worker, in order; `gone` is called with one line when it cannot be kept up."""

    def __init__(self, receive: Callable[[object], None], gone: Callable[[str], None]) -> None:
        self._receive = receive
        self._gone = gone
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starts: list[float] = []
        # Checks without an answer, by serial, with the time of the next one, which tells the worker to let go.
        self._busy: dict[int, float | None] = {}
        self._last: messages.Check | None = None
        self._closing = False

    async def start(self) -> None:
        self._starts = [*(at for at in self._starts if time.monotonic() - at < 60), time.monotonic()]
        self._busy.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _START,
            *[path for path in sys.path if path],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.ensure_future(self._read(self._process))

    async def send(self, message: messages.Check | messages.Mend) -> None:
        if self._process is None or self._closing:
            return
        if isinstance(message, messages.Check):
            now = time.monotonic()
            if any(told is not None and now - told > _PATIENCE for told in self._busy.values()):
                self._process.kill()  # what it reads then is the end, and `_read` starts another
                self._last = message
                return
            self._last = message
            self._busy = {serial: now if told is None else told for serial, told in self._busy.items()}
            self._busy[message.serial] = None
        writer = self._process.stdin
        assert writer is not None
        try:
            writer.write(wire.pack(message))
            await writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it died: `_read` knows

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                header = await process.stdout.readexactly(wire.HEADER)
                message = wire.unpack(await process.stdout.readexactly(wire.length(header)))
                if isinstance(message, messages.Done):
                    self._busy = {serial: told for serial, told in self._busy.items() if serial > message.serial}
                self._receive(message)
        except asyncio.IncompleteReadError:
            pass
        if self._closing:
            return
        if len(self._starts) >= _RESTARTS:
            self._process = None
            self._gone(f"the process that checks ended {_RESTARTS} times within a minute and is not started again")
            return
        await self.start()
        if self._last is not None:
            await self.send(self._last)

    async def close(self) -> None:
        self._closing = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            self._reader.cancel()
