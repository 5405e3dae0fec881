"""Pictures: transforms that are called, and arrays of pixels that are computed with or pasted into others."""

from __future__ import annotations

from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves_below, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    Const,
    Instance,
    Value,
    first,
)
from tricklint.knowledge import images
from tricklint.libraries.tensors import Tensor

IMAGE_TRANSFORMS = ("torchvision.transforms.", "albumentations.", "timm.data.")


@dataclass(slots=True, eq=False)
class PixelFacts:
    """Of an array: what was pasted into it."""

    pasted: list[Value] = field(default_factory=list)


@behaves_below(*IMAGE_TRANSFORMS)
class ImageTransform(Behaviour):
    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return Tensor("image", tuple(args.all()), None, node, m.file, pipeline=value)


@behaves_below("cv2.", "numpy.", "PIL.", "skimage.", "imageio.", "matplotlib.pyplot.imread", "matplotlib.image.")
class Pixels(Behaviour):
    def operate(self, m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value | None:
        """An array and a number: the array, scaled or moved."""
        a, b = first(left), first(right)
        scaled = isinstance(a, Instance) and isinstance(b, Const) and isinstance(b.value, (int, float))
        if not scaled or op not in ("Divide", "Multiply", "Subtract", "Add"):
            return None
        return plain(m, f"numpy.{op.lower()}", CallArgs([left, right]), node)

    def set_item(self, m: Machine, value: Instance, index: Value, new: Value, node: cst.CSTNode) -> bool:
        value.fact(PixelFacts).pasted.append(new)
        return True

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name != "paste" or not args.positional or not value.library.startswith("PIL."):
            return None
        value.fact(PixelFacts).pasted.append(args.positional[0])
        return NONE


@function(*images.TENSOR_READERS)
def read_as_tensor(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Tensor("pixels", (), None, node, m.file)
