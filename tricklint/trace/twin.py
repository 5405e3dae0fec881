"""A copy of a live model without its data: same tree, same tying, every tensor on meta. The original is not touched."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from tricklint.trace.wrapped import copies_of_sharded

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def meta_twin(model: nn.Module) -> nn.Module:
    """`model` copied to the meta device, users' hooks left out (they might answer, print or save).

    Raises TypeError or RuntimeError when an attribute cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise TypeError("a lazy layer has no shape yet: run one forward first")
        if id(parameter) not in memo:
            # By shape and type: a parameter that lies spread over processes becomes a plain one.
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
            memo[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo.setdefault(id(buffer), torch.empty_like(buffer, device="meta"))
    for module in model.modules():
        for value in list(vars(module).values()):
            if isinstance(value, torch.Tensor):
                memo.setdefault(id(value), torch.empty_like(value, device="meta", requires_grad=False))
    copies_of_sharded(model, memo)
    twin: nn.Module = copy.deepcopy(model, memo)
    strip_hooks(twin)
    return twin


def strip_hooks(model: nn.Module) -> None:
    """Take users' hooks off, in place; torch's own (weight_norm, spectral_norm, pruning) stay, they make the weight."""
    for module in model.modules():
        for registry in _HOOKS:
            hooks = module.__dict__.get(registry) or {}
            for key in [k for k, hook in hooks.items() if not _own_of_torch(hook)]:
                del hooks[key]
                for extra in (f"{registry}_with_kwargs", f"{registry}_always_called"):
                    module.__dict__.get(extra, {}).pop(key, None)


def _own_of_torch(hook: Any) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return str(home).startswith("torch.nn.utils") or type(hook).__module__.startswith("torch.nn.utils")


def to_meta(model: nn.Module) -> nn.Module:
    """Move every tensor a freshly built model holds to meta, in place, keeping parameter identity."""
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.is_meta:
                fresh = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
                for other in model.modules():
                    for key, value in other._parameters.items():
                        if value is parameter:
                            other._parameters[key] = fresh
                del name
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and not buffer.is_meta:
                module._buffers[name] = torch.empty_like(buffer, device="meta")
        for name, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor) and not value.is_meta and value.dim() > 0:
                module.__dict__[name] = torch.empty_like(value, device="meta", requires_grad=False)
    return model
