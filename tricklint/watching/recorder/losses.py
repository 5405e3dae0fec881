"""What losses are given: probabilities where logits belong, logits that are bounded. Read at the first calls of each
place."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from tricklint.watching.recorder.cosines import product
from tricklint.watching.recorder.forwards import MARK, Forwards
from tricklint.watching.recorder.heads import counts, head
from tricklint.watching.recorder.log import Log, Row
from tricklint.watching.recorder.patches import Patches

LOOKED = 4  # calls of one place whose values are read
SAMPLE = 4096  # rows of logits
_NAMES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


class Losses:
    def __init__(self, log: Log, forwards: Forwards) -> None:
        self.log, self.forwards = log, forwards
        self.inside = False
        self._scripting = 0
        self._counts: dict[tuple[str, int], int] = {}

    def install(self, patches: Patches) -> None:
        functional = torch.nn.functional
        for name in _NAMES:
            patches.set(functional, name, self._loss)
        patches.set(functional, "dropout", self._dropout)
        # TorchScript reads the source of what it compiles: it is given the plain functions.
        watched = {name: getattr(functional, name) for name in (*_NAMES, "dropout")}

        def script(plain: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                self._scripting += 1
                for name, one in watched.items():
                    setattr(functional, name, one.__wrapped__)
                try:
                    return plain(*args, **kwargs)
                finally:
                    self._scripting -= 1
                    if not self._scripting:  # what is compiled leads to more that is compiled
                        for name, one in watched.items():
                            setattr(functional, name, one)

            return call

        patches.set(torch.jit, "script", script)

    def _dropout(self, plain: Any) -> Any:
        compiling = torch.compiler.is_compiling

        def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
            if training and p > 0 and not compiling():
                self.forwards.drops.append(p)
            return plain(input, p, training, inplace)

        return dropout

    def _loss(self, plain: Any) -> Any:
        compiling = torch.compiler.is_compiling
        name = plain.__name__

        def loss(*args: Any, **kwargs: Any) -> Any:
            if not compiling() and not self.inside:
                with contextlib.suppress(Exception):
                    given = args[0] if args else kwargs.get("input")
                    if isinstance(given, torch.Tensor):
                        self._look(name, given, args, kwargs)
            self.inside, before = True, self.inside
            try:
                return plain(*args, **kwargs)
            finally:
                self.inside = before

        return loss

    def _look(self, name: str, given: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        place = self.log.place()
        count = self._counts[(name, place)] = self._counts.get((name, place), 0) + 1
        if count > LOOKED:
            return
        row = self.log.row("loss", name, place, at=place, function=name, count=0, kinds=[], looks=[])
        row["count"] = count
        node: Any = given.grad_fn
        if node is not None:
            row["forward"] = (node.metadata.get(MARK) or (None,))[0]  # the row of the call that gave it as it is
        row["kinds"].append(type(given.grad_fn).__name__ if given.grad_fn is not None else "")
        with torch.no_grad():
            look = _look_of(given)
        if name == "cross_entropy" and count <= 2 and look:
            look["product"] = product(given)
        row["looks"].append(look)
        if given.grad_fn is not None:
            self._targets(row, name, given, args, kwargs)

    def _targets(self, row: Row, name: str, given: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if "head" not in row:
            row["head"] = head(self.forwards.names, given)
        if row["head"] is None:
            return
        found = counts(name, given, args, kwargs)
        if found is not None:
            row.setdefault("targets", []).append(found)


def _look_of(given: torch.Tensor) -> dict[str, Any]:
    """Classes, the least and the greatest value, and how far the classes' values are from adding up to one."""
    x = given.detach()
    classes = x.shape[1] if x.dim() > 1 else (x.shape[0] if x.dim() == 1 else 1)
    if x.dim() > 2:
        x = x.movedim(1, -1).reshape(-1, classes)
    x = x.reshape(-1, classes)[:SAMPLE].double()
    if not x.numel():
        return {}
    least, most = x.min().item(), x.max().item()
    off = (x.sum(1) - 1).abs().max().item()
    off_exp = (x.exp().sum(1) - 1).abs().max().item() if most < 50 else None
    return {"classes": classes, "least": least, "most": most, "off": off, "off_exp": off_exp}
