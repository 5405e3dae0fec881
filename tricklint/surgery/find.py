"""Which module is the head: asked of the traced graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tricklint.surgery.changes import SurgeryError

if TYPE_CHECKING:
    from tricklint.trace.live import Example


def the_head(model: nn.Module, example: Example, operation: str) -> str:
    """The path of the one head of `model`. Raises SurgeryError when there is none, or several."""
    from tricklint.trace.live import outline

    seen = outline(model, example)
    heads = seen.heads
    if not heads:
        why = seen.reason or "the output comes from no single last layer"
        raise SurgeryError(f"{operation}: no head was found ({why}); name it with head=…")
    if len(heads) > 1:
        raise SurgeryError(f"{operation}: {len(heads)} heads ({', '.join(heads[:6])}); choose with head=…")
    if not heads[0] and next(model.children(), None) is not None:
        raise SurgeryError(
            f"{operation}: the head is a bare parameter of {type(model).__name__} itself, no layer of its own"
        )
    return heads[0]
