"""Pretrained weights never arrive: the loaders of the usual libraries answer with nothing, the values do not matter."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from tricklint.trace.worker.patch import put

notes: list[str] = []


class Weights(dict):  # type: ignore[type-arg]
    """Stands for a checkpoint: any key gives another, loading it changes nothing."""

    def __missing__(self, key: Any) -> Weights:
        return Weights()

    def __getattr__(self, name: str) -> Weights:
        if name.startswith("__"):
            raise AttributeError(name)
        return Weights()

    def pop(self, *args: Any) -> Any:
        return super().pop(*args) if args and args[0] in self else Weights()


def _nothing(*args: Any, **kwargs: Any) -> Weights:
    return Weights()


def _loaded(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return torch.nn.modules.module._IncompatibleKeys([], [])


def patch_torch() -> None:
    """Once, before other libraries copy these names by `from … import`."""
    put(torch.hub, "load_state_dict_from_url", _nothing)
    put(torch.hub, "download_url_to_file", _nothing)
    try:
        import torch.utils.model_zoo as zoo

        put(zoo, "load_url", _nothing)
    except ImportError:
        pass


def patch_child() -> None:
    """In the child that builds: checkpoints are empty, and loading them is a no-op; then the libraries at hand."""
    put(torch, "load", _nothing)
    put(nn.Module, "load_state_dict", _loaded)
    patch_libraries()


def patch_libraries() -> None:
    """Whatever is imported by now; cheap to call again."""
    modules = sys.modules
    for name, module in list(modules.items()):
        if module is None or not name.startswith(
            ("timm.models._builder", "segmentation_models_pytorch.", "safetensors")
        ):
            continue
        for attribute in ("load_pretrained", "load_custom_pretrained", "hf_hub_download", "load_file"):
            if attribute in vars(module):
                put(module, attribute, _nothing)
    hub = modules.get("transformers.modeling_utils")
    if hub is not None and not getattr(hub.PreTrainedModel.from_pretrained, "_tricklint", False):
        hub.PreTrainedModel.from_pretrained = _transformers(hub.PreTrainedModel)
    auto = modules.get("transformers.models.auto.auto_factory")
    if auto is not None and not getattr(auto._BaseAutoModelClass.from_pretrained, "_tricklint", False):
        auto._BaseAutoModelClass.from_pretrained = _auto(auto)
    configuration = modules.get("transformers.configuration_utils")
    if configuration is not None:
        kind = (
            configuration.PreTrainedConfig
            if hasattr(configuration, "PreTrainedConfig")
            else configuration.PretrainedConfig
        )
        if not getattr(kind.from_pretrained, "_tricklint", False):
            kind.from_pretrained = _config(kind)


_CONFIG_KEYS = ("num_labels", "id2label", "label2id", "problem_type", "output_hidden_states", "output_attentions")


def _configured(default: Any, name: Any, kwargs: dict[str, Any], original: Any = None) -> Any:
    """The checkpoint's configuration when it lies on this machine, else the class's defaults, said in a note."""
    import os

    if original is not None and isinstance(name, (str, os.PathLike)) and os.path.isdir(name):
        return original(name)
    settings = {k: v for k, v in kwargs.items() if k in _CONFIG_KEYS or hasattr(default, k)}
    for key, value in settings.items():
        if key != "label2id":
            setattr(default, key, value)
    notes.append(f"{name}: its configuration is not read, sizes are {type(default).__name__}'s defaults")
    return default


def _transformers(base: Any) -> Any:
    def from_pretrained(cls: type[Any], /, name: Any = None, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        if config is None or not hasattr(config, "to_dict"):
            config = _configured(cls.config_class(), name, kwargs)
        return cls(config)

    from_pretrained._tricklint = True  # type: ignore[attr-defined]
    made = classmethod(from_pretrained)
    del base
    return made


def _config(base: Any) -> Any:
    original = base.from_pretrained.__func__

    def from_pretrained(cls: type[Any], /, name: Any = None, *args: Any, **kwargs: Any) -> Any:
        return _configured(cls(), name, kwargs, lambda where: original(cls, where))

    from_pretrained._tricklint = True  # type: ignore[attr-defined]
    return classmethod(from_pretrained)


def model_type(name: str, known: Any) -> str | None:
    """The architecture a hub name means: the longest known type its last part begins with (or holds)."""
    low = name.lower().split("/")[-1].replace("-", "_")
    types = sorted((kind for kind in known), key=len, reverse=True)
    for kind in types:
        if low.startswith(kind.replace("-", "_")):
            return str(kind)
    return next((str(kind) for kind in types if len(kind) > 3 and kind.replace("-", "_") in low), None)


def _auto(auto: Any) -> Any:
    def from_pretrained(cls: type[Any], /, name: Any = None, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        from transformers import CONFIG_MAPPING

        if config is None or not hasattr(config, "to_dict"):
            kind = model_type(str(name), list(CONFIG_MAPPING.keys()))
            if kind is None:
                raise ValueError(f"{name}: what architecture this is cannot be told without its configuration file")
            config = _configured(CONFIG_MAPPING[kind](), name, kwargs)
        return cls.from_config(config)

    from_pretrained._tricklint = True  # type: ignore[attr-defined]
    return classmethod(from_pretrained)
