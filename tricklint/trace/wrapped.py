"""What stands round a live model: torch.compile, DDP, FSDP, data parallelism. The rules are about the model inside."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that wrappers were put round, itself when there is none. Its parameters are the very same objects."""
    while True:
        inner = None
        # Asked by name: importing torch._dynamo or torch.distributed only to compare classes costs seconds.
        home = type(model).__module__
        if home.startswith("torch._dynamo"):
            inner = model.__dict__.get("_orig_mod") or model._modules.get("_orig_mod")
        elif home.startswith(("torch.nn.parallel", "torch.distributed.fsdp.fully_sharded")):
            inner = model._modules.get("module") or model._modules.get("_fsdp_wrapped_module")
        if inner is None:
            return model
        model = inner


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor that lies spread over several; asking for all of it would wait for them."""
    local = getattr(tensor, "to_local", None)
    return local().detach() if local is not None else tensor.detach()


def is_sharded(module: nn.Module) -> bool:
    """Whether `torch.distributed.fsdp.fully_shard` took the module in hand: its class is one made for it."""
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)


def copies_of_sharded(model: nn.Module, memo: dict[int, Any]) -> None:
    """Put copies of the modules that FSDP forbids to copy into `memo`, of their own class and without FSDP's hooks."""
    for module in reversed(list(model.modules())):
        if not is_sharded(module):
            continue
        own: type[nn.Module] = next(kind for kind in type(module).__mro__ if "FSDP" not in kind.__name__)
        twin: nn.Module = object.__new__(own)
        memo[id(module)] = twin
        # What torch.distributed keeps in a module it took in hand holds the process group.
        state = {name: value for name, value in vars(module).items() if not name.startswith("__composable")}
        for name in list(state):
            if "_hooks" in name:
                state[name] = type(state[name])()
        twin.__dict__.update(copy.deepcopy(state, memo))


def unseen(model: nn.Module) -> str:
    """Why little can be said about a model, in words; empty when it is a usual one."""
    packed = [name for name, module in model.named_modules() if ".quantized" in type(module).__module__]
    if packed:
        return f"quantised layers ({packed[0] or 'the model'} …) hold packed weights: they do not train, and are not looked at"
    if isinstance(model, torch.jit.ScriptModule):
        return "a TorchScript module cannot be followed: give the module it was made from"
    if any(name.rpartition(".")[2] == "_flat_param" for name, _ in model.named_parameters()):
        return "FSDP's flat parameters hide the layers: use_orig_params=True, fully_shard, or check before wrapping"
    return ""
