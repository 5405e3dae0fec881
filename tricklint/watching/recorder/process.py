"""Begin to watch a process: its hooks go in when it imports torch and pandas, and it ends after its share of steps."""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
from typing import Any

from tricklint.verify.runner.logged import on_import
from tricklint.watching.recorder.log import Log

FIRST = "TRICKLINT_WATCH_FIRST"  # the process that the command itself is


class Watched:
    """One process of a watched run."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.first = os.environ.setdefault(FIRST, str(os.getpid())) == str(os.getpid())
        self.log = Log(os.path.join(job["folder"], f"record-{os.getpid()}.jsonl"), job["root"])
        self.recorder: Any = None
        self.ended = False
        self.asked = 0
        self.plain: Any = sys.excepthook
        self.hooks = {"torch": self.hook, "pandas": self.pandas, "transformers.modeling_utils": self.transformers}

    def hook(self, _: Any) -> None:
        """torch is there."""
        if os.getpid() != self.log.pid:
            return
        from tricklint.watching.recorder.recorder import Recorder

        rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) or 0)
        self.log.write("start", root=self.job["root"], argv=sys.argv, pid=os.getpid(), first=self.first, rank=rank)
        self.recorder = Recorder(self.log, self.job.get("steps"), self.stop)
        self.recorder.install()

    def pandas(self, module: Any) -> None:
        if os.getpid() != self.log.pid:
            return
        from tricklint.watching.recorder.frames import Frames
        from tricklint.watching.recorder.patches import Patches

        Frames(self.log).install(module, Patches())

    def transformers(self, module: Any) -> None:
        if self.recorder is not None:
            self.recorder.weights.transformers(module)

    def stop(self) -> None:
        """The steps that were asked for are made."""
        from tricklint.verify.runner.record import StopTraining

        self.asked += 1
        self.end("steps", f"ended after {self.log.step} steps")
        if not self.first or self.asked > 1:  # something took the exception for an error and went on
            if not self.first:
                from tricklint.verify.runner.children import together

                together()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        raise StopTraining

    def end(self, status: str, message: str = "", place: int | None = None) -> None:
        if self.ended or os.getpid() != self.log.pid:
            return
        self.ended = True
        if self.recorder is not None:
            self.recorder.end(status, message, place)
        else:
            self.log.flush(now=True)
            self.log.write("end", status=status, message=message, at=place, steps=0, memory={}, step_s=None, torch="",
                           files=self.log.files())  # fmt: skip

    def died(self, kind: Any, error: BaseException, trace: Any) -> None:
        """An exception that nobody caught. Ours is not shown."""
        if kind.__name__ == "StopTraining":
            return
        frames = [frame for frame, _ in traceback.walk_tb(trace)]
        place = self.log.place(frames[-1]) if frames else None
        lines = str(error).splitlines() or [""]
        if kind is KeyboardInterrupt:
            self.end("interrupted", "interrupted", place)
        else:
            self.end("crashed", f"{kind.__name__}: {lines[0]}"[:300], place)
        self.plain(kind, error, trace)

    def begin(self) -> None:
        # Imported now: where the process' hooks are put in, tricklint is no longer on its path.
        from tricklint.verify.runner import children, record

        self.needed = (children, record)

        sys.excepthook = self.died
        atexit.register(lambda: self.end("ended"))
        on_import(self.hooks)


def begin(path: str) -> None:
    """Watch this process as the job in `path` says."""
    with open(path, encoding="utf-8") as file:
        Watched(json.load(file)).begin()
