"""Loaders that are gone through, and whether a DistributedSampler is told of the epoch."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.names import Serials
from tricklint.watching.recorder.patches import Patches


class Samplers:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.samplers, self.loaders = Serials(), Serials()
        self.made: dict[int, int] = {}
        self.current: int | None = None  # the loader that gave the last batch
        self.walks: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # iterator → its loader

    def install(self, patches: Patches) -> None:
        from torch.utils.data import DataLoader
        from torch.utils.data.dataloader import _BaseDataLoaderIter
        from torch.utils.data.distributed import DistributedSampler

        patches.set(DistributedSampler, "__init__", self._init)
        patches.set(DistributedSampler, "__iter__", self._iter)
        patches.set(DataLoader, "__iter__", self._loader)
        patches.set(_BaseDataLoaderIter, "__next__", self._next)

    def _init(self, plain: Any) -> Any:
        def init(sampler: Any, *args: Any, **kwargs: Any) -> None:
            plain(sampler, *args, **kwargs)
            with contextlib.suppress(Exception):
                self.made[self.samplers.of(sampler)] = self.log.place()

        return init

    def _iter(self, plain: Any) -> Any:
        def iterate(sampler: Any) -> Any:
            with contextlib.suppress(Exception):
                number = self.samplers.of(sampler)
                place = self.log.place()
                row = self.log.row("sampled", number, place, at=place, made=self.made.get(number), sampler=number,
                                   shuffle=bool(sampler.shuffle), epochs=[])  # fmt: skip
                row["epochs"] = [*row["epochs"], sampler.epoch][-50:]
            return plain(sampler)

        return iterate

    def _loader(self, plain: Any) -> Any:
        def iterate(loader: Any) -> Any:
            with contextlib.suppress(Exception):
                place = self.log.place()
                number = self.loaders.of(loader)
                row = self.log.row("loader", number, place, at=place, loader=number, count=0, step_at=[])
                row["count"] += 1
                row["batch"] = loader.batch_size
                row["sampler"] = type(loader.sampler).__name__
                with contextlib.suppress(TypeError):
                    row["length"] = len(loader)
                row["step_at"] = [*row["step_at"], self.log.step][-50:]
            walk = plain(loader)
            with contextlib.suppress(TypeError):
                self.walks[walk] = self.loaders.of(loader)
            return walk

        return iterate

    def _next(self, plain: Any) -> Any:
        def following(walk: Any) -> Any:
            self.current = self.walks.get(walk)
            return plain(walk)

        return following
