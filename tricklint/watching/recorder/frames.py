"""Data frames that are walked row by row, or grown row by row: rows and seconds, by place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from tricklint.watching.recorder.log import Log, Row
from tricklint.watching.recorder.patches import Patches


class Frames:
    def __init__(self, log: Log) -> None:
        self.log = log
        self._last: dict[int, int] = {}  # place → rows of what concat made there last

    def install(self, pandas: Any, patches: Patches) -> None:
        patches.set(pandas.DataFrame, "iterrows", self._iterrows)
        patches.set(pandas, "concat", self._concat)
        patches.set(type(pandas.DataFrame().loc), "__setitem__", self._setitem)

    def _iterrows(self, plain: Any) -> Any:
        def iterrows(frame: Any) -> Iterator[Any]:
            place = self.log.place()
            row = self.log.row("iterrows", place, at=place, loops=0, rows=0, seconds=0.0)
            row["loops"] += 1
            row["columns"] = len(frame.columns)
            return self._timed(plain(frame), row)

        return iterrows

    def _timed(self, rows: Iterator[Any], row: Row) -> Iterator[Any]:
        while True:
            before = time.perf_counter()
            try:
                one = next(rows)
            except StopIteration:
                self.log.touch(row)
                self.log.flush()
                return
            row["seconds"] += time.perf_counter() - before
            row["rows"] += 1
            yield one

    def _concat(self, plain: Any) -> Any:
        def concat(objs: Any, *args: Any, **kwargs: Any) -> Any:
            before = time.perf_counter()
            made = plain(objs, *args, **kwargs)
            with contextlib.suppress(Exception):
                place = self.log.place()
                parts = list(objs.values()) if isinstance(objs, dict) else objs
                # What was made here the last time goes in again, whatever was done to it in between.
                before_it = self._last.get(place)
                grown = isinstance(parts, (list, tuple)) and any(len(one) == before_it for one in parts) and len(made) > (before_it or 0)
                self._last[place] = len(made)
                row = self.log.row("grown", place, at=place, how="concat", count=0, rows=0, seconds=0.0)
                row["count"] += grown
                row["rows"] = max(row["rows"], len(made))
                row["seconds"] += time.perf_counter() - before
            return made

        return concat

    def _setitem(self, plain: Any) -> Any:
        def setitem(indexer: Any, key: Any, value: Any) -> None:
            frame = indexer.obj
            length, before = len(frame), time.perf_counter()
            plain(indexer, key, value)
            if len(indexer.obj) == length + 1:
                with contextlib.suppress(Exception):
                    place = self.log.place()
                    row = self.log.row("grown", place, at=place, how="loc", count=0, rows=0, seconds=0.0)
                    row["count"] += 1
                    row["rows"] = max(row["rows"], length + 1)
                    row["seconds"] += time.perf_counter() - before

        return setitem
