"""The server's end of its worker, without one: when a worker is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tricklint.server import link, messages


class Writer:
    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


class Process:
    def __init__(self) -> None:
        self.stdin = Writer()
        self.killed = False

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize(
    ("times", "killed"),
    [
        ((0, 60), False),  # a long check may take as long as nothing newer is to be done
        ((0, 60, 61, 69), False),  # and has some seconds to let go of it then
        ((0, 60, 61, 71), True),
    ],
)
def test_a_worker_that_does_not_let_go_is_given_up(
    times: tuple[int, ...], killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(times)
    monkeypatch.setattr(link.time, "monotonic", lambda: next(now))
    process: Any = Process()
    one = link.Link(lambda message: None, lambda message: None)
    one._process = process

    async def send_all() -> None:
        for serial in range(len(times)):
            await one.send(messages.Check(serial, {}, (), False, frozenset(), False))

    loop = asyncio.new_event_loop()
    loop.time = lambda: 0.0  # type: ignore[method-assign]
    loop.run_until_complete(send_all())
    loop.close()
    assert process.killed is killed
