"""torchvision's compiled operators, declared by schema where its library cannot be loaded (it is linked against CUDA,
or against another torch). Its Python imports then, and models without those operators run."""

from __future__ import annotations

import torch

_ROI = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_BACK = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_SIZES = "float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_DEFORM = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w,"
    " SymInt groups, SymInt offset_groups, bool use_mask"
)
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_ROI}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward(Tensor grad, Tensor rois, {_SIZES}, {_BACK}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({_ROI}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, {_SIZES}, {_BACK}) -> Tensor",
    f"ps_roi_align({_ROI}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, {_SIZES}, int sampling_ratio, {_BACK})"
    " -> Tensor",
    f"ps_roi_pool({_ROI}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, {_SIZES}, {_BACK}) -> Tensor",
    f"deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_DEFORM}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias,"
    f" {_DEFORM}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "_cuda_version() -> int",
)
_library: torch.library.Library | None = None


def declare() -> bool:
    """Declare the operators when the compiled ones cannot be loaded. True when stand-ins are now in place."""
    global _library
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _library is not None:
        return _library is not None
    folder = Path(spec.origin).parent
    for file in (*folder.glob("_C*.so"), *folder.glob("_C*.dylib"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except Exception:
            continue
    if hasattr(torch.ops.torchvision, "nms"):
        return False
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        _library.define(schema)  # type: ignore[no-untyped-call]
    _library.impl("nms", _nms, "CPU")  # type: ignore[no-untyped-call]
    return True


def allow() -> None:
    """After torchvision's import: its own check for the compiled library would refuse the stand-ins."""
    import sys

    from tricklint.trace.worker.patch import put

    extension = sys.modules.get("torchvision.extension")
    if _library is not None and extension is not None:
        put(extension, "_has_ops", lambda: True)


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression, boxes (N, 4) as x1 y1 x2 y2; indices kept, best first."""
    order = scores.argsort(descending=True).tolist()
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while order and len(kept) < 300:  # enough to see a graph through
        best = order.pop(0)
        kept.append(best)
        rest = torch.tensor(order, dtype=torch.int64)
        if not order:
            break
        corner = torch.maximum(boxes[best, :2], boxes[rest, :2])
        opposite = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        inner = (opposite - corner).clamp(min=0).prod(1)
        order = rest[inner / (areas[best] + areas[rest] - inner) <= iou_threshold].tolist()
    return torch.tensor(kept, dtype=torch.int64)
