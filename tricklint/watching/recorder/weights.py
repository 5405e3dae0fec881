"""Where weights come from (loaded, drawn), what they are like before the first step, and who may train."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.names import Names, unwrapped
from tricklint.watching.recorder.patches import Patches

SAMPLE = 1 << 20  # elements of a parameter that statistics look at
LOOKED = 2  # batches of pictures that are looked at
_DRAWS = (
    "uniform_ normal_ trunc_normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_ xavier_normal_ kaiming_uniform_"
    " kaiming_normal_ orthogonal_ sparse_"
).split()


class Weights:
    def __init__(self, log: Log, names: Names) -> None:
        self.log, self.names = log, names
        self.loaded: set[int] = set()
        self.trainable: dict[int, bool] = {}
        self.trained: Callable[[], set[int]] = set  # parameters that an optimizer made a step for
        self._loading = 0
        self._drawing = 0
        self._measured: set[int] = set()

    def install(self, patches: Patches) -> None:
        patches.set(nn.Module, "load_state_dict", self._load_state_dict)
        for name in _DRAWS:
            patches.set(nn.init, name, self._init)
        patches.later(register_module_module_registration_hook(self._registered).remove)

    # -- loaded weights

    def _load_state_dict(self, plain: Any) -> Any:
        def load_state_dict(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            self._loading += 1
            try:
                result = plain(module, state_dict, *args, **kwargs)
            finally:
                self._loading -= 1
            if not self._loading:
                with contextlib.suppress(Exception):
                    self.came(module, set(state_dict))
            return result

        return load_state_dict

    def came(self, module: nn.Module, keys: set[str] | None, missing: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Weights of these names were loaded into `module` (None: all but the missing)."""
        inner = unwrapped(module)
        numbers = [
            self.names.parameters.of(p)
            for name, p in inner.named_parameters()
            if (name in keys or f"module.{name}" in keys if keys is not None else name not in missing)
        ]
        new = [number for number in numbers if number not in self.loaded]
        self.loaded.update(numbers)
        if new:
            self.log.write(
                "loaded", at=self.log.place(), by=_caller(), step=self.log.step, type=type(inner).__name__, parameters=new,
                total=sum(1 for _ in inner.parameters()),
            )  # fmt: skip

    def _registered(self, module: nn.Module, name: str, inner: Any) -> None:
        """A layer that is put into a model after an optimizer was built."""
        if self.names.built and isinstance(inner, nn.Module):
            with contextlib.suppress(Exception):
                numbers = [self.names.parameters.of(p) for p in inner.parameters()]
                if numbers:
                    place = self.log.place(sys._getframe(1))
                    self.log.row("registered", place, at=place, name=name, parameters=[])["parameters"] += numbers

    def transformers(self, module: Any) -> None:
        """`from_pretrained` fills parameters without load_state_dict; what it drew anew, it says."""

        def make(plain: Any) -> Any:
            def from_pretrained(kind: Any, *args: Any, **kwargs: Any) -> Any:
                told = kwargs.get("output_loading_info", False)
                made = plain.__func__(kind, *args, **{**kwargs, "output_loading_info": True})
                model, info = made if isinstance(made, tuple) else (made, {})
                with contextlib.suppress(Exception):
                    missing = info.get("missing_keys") or ()
                    changed = [one[0] for one in info.get("mismatched_keys") or ()]
                    self.came(model, None, {*missing, *changed})
                return made if told else model

            return classmethod(from_pretrained)

        kind = module.PreTrainedModel
        plain = kind.__dict__["from_pretrained"]
        kind.from_pretrained = make(plain)

    # -- drawn weights

    def _init(self, plain: Any) -> Any:
        def init(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if self._drawing:
                return plain(tensor, *args, **kwargs)
            self._drawing += 1
            try:
                return plain(tensor, *args, **kwargs)
            finally:
                self._drawing -= 1
                with contextlib.suppress(Exception):
                    self._drawn(plain, tensor, args, kwargs, sys._getframe(1))

        return init

    def _drawn(self, plain: Any, tensor: Any, args: Any, kwargs: Any, frame: Any) -> None:
        name = plain.__name__
        number = self.names.parameters.get(tensor)
        loaded = number is not None and number in self.loaded
        if not loaded and not self.log.mine(frame.f_code.co_filename):
            return  # the layer's own default
        if not isinstance(tensor, nn.Parameter):
            return
        number = self.names.parameters.of(tensor)
        place = self.log.place(frame)
        self.names.initialised[number] = (name, place, _given(plain, tensor, args, kwargs))
        if loaded:
            row = self.log.row("reinit", place, name, at=place, function=name, parameters=[])
            row["parameters"].append(number)
            self.loaded.discard(number)

    # -- what they are like

    def measure(self, module: nn.Module) -> None:
        """The statistics of each parameter, once, before it was trained."""
        if self.log.step and self.names.made(unwrapped(module)) is None:
            return  # a copy, perhaps of one that was trained
        trained = self.trained() if self.log.step else set()
        stats = {}
        if not _compiled(module):
            self._watch_stem(unwrapped(module))
        for p in unwrapped(module).parameters():
            number = self.names.parameters.of(p)
            if number in self._measured or number in trained or isinstance(p, nn.UninitializedParameter) or p.is_meta:
                continue
            self._measured.add(number)
            found = statistics(p)
            if found is not None:
                stats[str(number)] = found
        if stats:
            self.log.write("weights", step=self.log.step, statistics=stats)

    def _watch_stem(self, model: nn.Module) -> None:
        """What the first layer of loaded weights is fed with, where it takes pictures."""
        convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3 and m.groups == 1]
        stem = next((m for m in convs if self.names.parameters.get(m.weight) in self.loaded), None)
        if stem is None:
            return
        number = self.names.parameters.of(stem.weight)
        looks: list[Any] = []
        expected = _expected(model)

        def look(_: nn.Module, given: Any) -> None:
            with contextlib.suppress(Exception):
                x = given[0].detach()[:16].double()
                channels = x.movedim(1, 0).reshape(x.shape[1], -1)
                ends = [channels.amin(1).tolist(), channels.amax(1).tolist()]
                looks.append([channels.mean(1).tolist(), channels.std(1).tolist(), x.min().item(), x.max().item(), *ends])
                self.log.row("stem", number, at=self.log.place(), parameter=number, looks=looks, expected=expected)
            if len(looks) >= LOOKED:
                handle.remove()

        handle = stem.register_forward_pre_hook(look)

    # -- who may train

    def look(self, optimizer: Any) -> None:
        """Before a step: which parameters changed in whether they may train."""
        changed = {}
        plain: Any = torch.Tensor.requires_grad  # the watched one asks it too, and takes longer
        for members in self.names.members.values():
            for ref, number in members:
                p = ref()
                if p is not None and self.trainable.get(number) is not (now := plain.__get__(p)):
                    self.trainable[number] = changed[number] = now
        if changed:
            rates = [group.get("lr") for group in optimizer.param_groups]
            self.log.write("trainable", step=self.log.step, changed=changed, rates=rates, at=self.log.place())


def _compiled(module: nn.Module) -> bool:
    """Whether torch.compile reads the model: a hook would be part of what it compiles."""
    inner = [module, *unwrapped(module).modules()]
    return any("torch._dynamo" in type(m).__module__ or m.__dict__.get("_compiled_call_impl") for m in inner)


def _expected(model: nn.Module) -> list[list[float]] | None:
    """[mean, std] that the weights say they were trained with, as timm keeps them; of torchvision's Inception, which takes
    ImageNet's and makes its own of them before its first layer, those. None where nothing says so."""
    for module in model.modules():
        said = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
        if isinstance(said, dict) and said.get("mean") and said.get("std"):
            return [[float(one) for one in said["mean"]], [float(one) for one in said["std"]]]
        if getattr(module, "transform_input", False) is True:
            return [[0.5] * 3, [0.5] * 3]
    return None


def _given(plain: Any, tensor: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The numbers and names that a draw was told."""
    bound = inspect.signature(plain).bind(tensor, *args, **kwargs).arguments
    return {name: value for name, value in bound.items() if isinstance(value, (int, float, str))}


def _caller() -> str:
    """The package whose code loads the weights."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if name not in ("torch", "tricklint", "functools", "contextlib"):
            return name
        frame = frame.f_back
    return ""


def statistics(p: torch.Tensor) -> list[float] | None:
    """[mean, std, greatest absolute value, least, greatest]; of a part of the elements where there are many."""
    with torch.no_grad():
        flat = p.detach().reshape(-1)
        if not flat.numel() or not flat.is_floating_point():
            return None
        flat = flat[:: -(-flat.numel() // SAMPLE)].double()
        std = flat.std(unbiased=False).item()
        least, most = flat.min().item(), flat.max().item()
        return [flat.mean().item(), std, max(abs(least), abs(most)), least, most]
