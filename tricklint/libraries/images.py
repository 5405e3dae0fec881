"""Image transforms: an object of these packages, called, gives the picture that a model is fed with."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves_below
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    Instance,
    Value,
)
from tricklint.libraries.tensors import Tensor

IMAGE_TRANSFORMS = ("torchvision.transforms.", "albumentations.", "timm.data.")


@behaves_below(*IMAGE_TRANSFORMS)
class ImageTransform(Behaviour):
    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return Tensor("image", tuple(args.all()), None, node, m.file, pipeline=value)
