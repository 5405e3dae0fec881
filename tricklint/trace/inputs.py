"""What to feed a model: given shapes, the library's own word, else a guess from the first layer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tricklint.trace.ladder import Inputs

BATCH = 2
TOKENS = 16
_SIDES_2D = (224, 32, 28, 64, 96, 128, 256, 299, 227, 384, 512, 48, 16, 84, 160, 112, 320)
_SIDES_1D = (1024, 128, 16000, 4096)
_SIDES_3D = (64, 32, 96, 16)


def from_shapes(shapes: Any, device: str = "meta") -> Inputs:
    """Configured shapes: [[1, 3, 224, 224]], [[1, 16, "int64"]] or {"input_ids": [1, 16, "int64"]}.

    Raises ValueError when they are neither.
    """

    def one(shape: Any) -> torch.Tensor:
        sides = [side for side in shape if not isinstance(side, str)]
        kinds = [side for side in shape if isinstance(side, str)]
        if not all(isinstance(side, int) and side > 0 for side in sides) or len(kinds) > 1:
            raise ValueError(f"an input shape is a list of positive numbers, got {shape!r}")
        dtype = getattr(torch, kinds[0], None) if kinds else torch.float32
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"{kinds[0]!r} is no torch dtype")
        return make(tuple(sides), dtype, device)

    if isinstance(shapes, dict):
        return Inputs((), {str(name): one(shape) for name, shape in shapes.items()}, "configuration")
    if shapes and all(isinstance(side, (int, str)) for side in shapes):
        shapes = [shapes]
    return Inputs(tuple(one(shape) for shape in shapes), {}, "configuration")


def make(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "meta") -> torch.Tensor:
    """A tensor of that shape: empty on meta; on a real device standard normal, or ones for whole numbers."""
    if device == "meta":
        return torch.empty(shape, dtype=dtype, device="meta")
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=dtype, device=device)
    return torch.ones(shape, dtype=dtype, device=device)


def from_example(example: Any) -> Inputs:
    """A user's example: a tensor, a tuple or list of arguments, or a dict of keyword arguments."""
    if isinstance(example, dict):
        return Inputs((), dict(example), "example")
    if isinstance(example, (tuple, list)):
        return Inputs(tuple(example), {}, "example")
    return Inputs((example,), {}, "example")


def like(inputs: Inputs, device: str) -> Inputs:
    """The same shapes and dtypes on another device; real values are standard normal."""

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return make(tuple(value.shape), value.dtype, device)
        if isinstance(value, (tuple, list)):
            return type(value)(move(item) for item in value)
        if isinstance(value, dict):
            return {key: move(item) for key, item in value.items()}
        return value

    return Inputs(tuple(move(v) for v in inputs.args), {k: move(v) for k, v in inputs.kwargs.items()}, inputs.source)


def guesses(model: nn.Module, device: str = "meta") -> Iterator[Inputs]:
    """Inputs worth trying, likeliest first; every one has a batch of two."""
    seen: set[Any] = set()
    for maker in (_transformers, _image_library, _first_layer):
        for inputs in maker(model, device):
            given = (*enumerate(inputs.args), *inputs.kwargs.items())
            key = repr([(name, tuple(getattr(value, "shape", ()))) for name, value in given])
            if key not in seen:
                seen.add(key)
                yield inputs


def _required(model: nn.Module) -> list[str]:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return ["x"]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    return names or [p.name for p in parameters if p.kind in kinds][:1] or ["x"]


def _transformers(model: nn.Module, device: str) -> Iterator[Inputs]:
    config = getattr(model, "config", None)
    main = getattr(model, "main_input_name", None)
    if config is None or not isinstance(main, str) or not hasattr(config, "model_type"):
        return
    accepted = set(inspect.signature(model.forward).parameters)
    kwargs: dict[str, Any] = {}

    def whole(name: str, *shape: int) -> None:
        if name in accepted:
            kwargs[name] = make(shape, torch.int64, device)

    def real(name: str, *shape: int) -> None:
        if name in accepted:
            kwargs[name] = make(shape, torch.float32, device)

    text = getattr(config, "text_config", None) or config
    vision = getattr(config, "vision_config", None) or config
    if "input_ids" in accepted and (main == "input_ids" or "pixel_values" in accepted):
        whole("input_ids", BATCH, TOKENS)
        whole("attention_mask", BATCH, TOKENS)
        if "bbox" in accepted:
            whole("bbox", BATCH, TOKENS, 4)
    if "pixel_values" in accepted:
        side = _first_number(vision, "image_size", "img_size", "crop_size") or 224
        channels = _first_number(vision, "num_channels", "in_channels") or 3
        frames = getattr(vision, "num_frames", None)
        if isinstance(frames, int) and type(model).__name__.startswith(("VideoMAE", "Timesformer", "Vivit")):
            real("pixel_values", BATCH, frames, channels, side, side)
        else:
            real("pixel_values", BATCH, channels, side, side)
    if main == "input_values" or ("input_values" in accepted and not kwargs):
        if hasattr(config, "max_length") and hasattr(config, "num_mel_bins"):
            real("input_values", BATCH, int(config.max_length), int(config.num_mel_bins))
        else:
            real("input_values", BATCH, 16000)
    if main == "input_features" or ("input_features" in accepted and not kwargs):
        bins = _first_number(config, "num_mel_bins", "feature_size", "input_feat_per_channel") or 80
        frames = 2 * int(getattr(config, "max_source_positions", 1500))
        real("input_features", BATCH, bins, frames)
        kwargs.setdefault("input_features", make((BATCH, bins, frames), torch.float32, device))
    encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
    if encoder_decoder or "decoder_input_ids" in accepted:
        whole("decoder_input_ids", BATCH, TOKENS)
    if "past_values" in accepted:
        length = _first_number(config, "context_length", "prediction_length") or 32
        channels = _first_number(config, "num_input_channels", "input_size") or 1
        real("past_values", BATCH, length, channels)
    if "use_cache" in accepted and kwargs:
        kwargs["use_cache"] = False
    del text
    if kwargs:
        yield Inputs((), kwargs, f"{config.model_type} configuration")


def _first_number(holder: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(holder, name, None)
        if isinstance(value, dict):
            value = value.get("height") or value.get("shortest_edge")
        if isinstance(value, (tuple, list)) and value:
            value = value[-1]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return int(value)
    return None


def _image_library(model: nn.Module, device: str) -> Iterator[Inputs]:
    for attribute in ("pretrained_cfg", "default_cfg"):
        configured = getattr(model, attribute, None)
        size = configured.get("input_size") if isinstance(configured, dict) else None
        if isinstance(size, (tuple, list)) and len(size) == 3:
            yield Inputs(
                (make((BATCH, *(int(side) for side in size)), device=device),), {}, "the model's own input_size"
            )


def _first_layer(model: nn.Module, device: str) -> Iterator[Inputs]:
    names = _required(model)
    for shape, dtype, why in first_shapes(model):
        first = make(shape, dtype, device)
        args: list[Any] = [first]
        for name in names[1:]:
            args.append(_companion(name, shape, dtype, device))
        yield Inputs(tuple(args), {}, f"guessed from {why}")


def _companion(name: str, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Any:
    low = name.lower()
    if "len" in low:
        length = shape[1] if len(shape) > 1 else 1
        return torch.full((shape[0],), length, dtype=torch.int64)
    if low in ("t", "time", "timestep", "timesteps", "labels", "label", "y", "target", "targets"):
        return make((shape[0],), torch.int64, device)
    if "edge_index" in low:
        return make((2, 8), torch.int64, device)
    if "mask" in low:
        return make(shape[:2], torch.bool, device)
    return make(shape, dtype, device)


def first_shapes(model: nn.Module) -> Iterator[tuple[tuple[int, ...], torch.dtype, str]]:
    """(shape, dtype, why) from the first layer that has an opinion, batch of two."""
    size = _first_number(model, "img_size", "image_size", "input_size", "input_resolution", "resolution")
    for path, module in model.named_modules():
        label = f"{path} ({type(module).__name__})"
        if isinstance(module, nn.modules.conv._ConvNd):
            dims = len(module.kernel_size)
            sides: tuple[int, ...] = (_SIDES_1D, _SIDES_2D, _SIDES_3D)[dims - 1]
            own = _first_number(module, "img_size") or size
            if own and own > 4 and dims > 1:
                sides = (own, *sides)
            for side in sides:
                yield (BATCH, module.in_channels, *(side,) * dims), torch.float32, label
            return
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            yield (BATCH, TOKENS), torch.int64, label
            yield (TOKENS,), torch.int64, label
            yield (BATCH,), torch.int64, label
            return
        if isinstance(module, nn.RNNBase):
            yield (BATCH, TOKENS, module.input_size), torch.float32, label
            yield (BATCH, module.input_size), torch.float32, label
            return
        if isinstance(module, (nn.RNNCellBase,)):
            yield (BATCH, module.input_size), torch.float32, label
            return
        if isinstance(module, nn.Linear):
            wide = module.in_features
            yield (BATCH, wide), torch.float32, label
            yield (BATCH, TOKENS, wide), torch.float32, label
            side = round(wide**0.5)
            if side * side == wide:
                yield (BATCH, 1, side, side), torch.float32, label
            if wide % 3 == 0 and round((wide / 3) ** 0.5) ** 2 * 3 == wide:
                yield (BATCH, 3, round((wide / 3) ** 0.5), round((wide / 3) ** 0.5)), torch.float32, label
            return
        if isinstance(module, nn.MultiheadAttention):
            yield (TOKENS, BATCH, module.embed_dim), torch.float32, label
            return
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            dims = {"BatchNorm1d": 0, "BatchNorm2d": 2, "BatchNorm3d": 3}.get(type(module).__name__, 2)
            yield (BATCH, module.num_features, *(32,) * dims), torch.float32, label
            return
        if isinstance(module, nn.LayerNorm):
            yield (BATCH, TOKENS, *module.normalized_shape), torch.float32, label
            return
