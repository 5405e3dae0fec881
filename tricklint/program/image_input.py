"""Where the images that a model is fed come from, and what was done to their values on the way.

Every question is answered with None when a step is not known: an unknown step may have normalised the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.interpreter import BudgetSpent, Frame
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    CallFacts,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Ref,
    Sequence,
    Union,
    Value,
    first,
    join,
    members,
    number,
)
from tricklint.knowledge import images
from tricklint.libraries.facts import BatchFacts, LoaderFacts, ModuleFacts
from tricklint.libraries.images import IMAGE_TRANSFORMS, PixelFacts
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import WRITTEN, Tensor
from tricklint.program.loops import flow
from tricklint.program.program import Program

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule

_DEPTH = 60
_ALBUMENTATIONS_MEAN = (0.485, 0.456, 0.406)
_ALBUMENTATIONS_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Image:
    """An image on its way to a model: its values' range, and the statistics it was normalised with (None: not at all).

    `node` is what a reader should look at: the pipeline's call, or None when the pixels came without one. mean and std
    are those of values in [0, 1] that do the same; `said` are the numbers that the code gives, where those are others.
    `normalize`: the step that has them. `measured`: they are worked out from what a loader of the program gives.
    """

    unit: bool = False  # floats in [0, 1]; else 0 … 255
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    said: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    tensor: bool = False
    node: cst.CSTNode | None = None
    file: FileModule | None = None
    normalize: Instance | None = None
    measured: bool = False


class ImageFlow:
    """Follows the inputs of forwards back through loaders, data sets and transforms of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._samples: dict[int, Value | None] = {}
        self._looked_at: set[int] = set()  # tensors into which parts of themselves may be written

    # -- values --------------------------------------------------------------------------------------------------------

    def of(self, value: Value | None, depth: int = 0) -> Image | None:
        """The image that `value` is, or None when that is not sure."""
        if value is None or depth > _DEPTH:
            return None
        if isinstance(value, Union):
            if value.sure:
                return self.of(value.values[0], depth + 1)
            return _alike([self.of(member, depth + 1) for member in value.values])
        if isinstance(value, Tensor):
            return self._written(value, self._tensor(value, depth + 1), depth + 1)
        if isinstance(value, Sequence):  # torch.stack([image]), a list of images
            return self.of(value.items[0], depth + 1) if value.items else None
        if isinstance(value, Instance):
            return self._instance(value, depth + 1)
        return None

    def _written(self, value: Tensor, image: Image | None, depth: int) -> Image | None:
        """The image, unless something else was written into its tensor: constants (a hole) and parts of an image like it
        (another picture's corner) leave its values in the range that they have."""
        if image is None or not value.attrs.get(WRITTEN) or id(value) in self._looked_at:
            return image
        self._looked_at.add(id(value))
        try:
            new = [self.of(each, depth) for each in value.attrs[WRITTEN] if number(each) is None]
        finally:
            self._looked_at.discard(id(value))
        return _alike([image, *new])

    def _tensor(self, value: Tensor, depth: int) -> Image | None:
        if value.op == "image":
            return self._through(value.attrs["pipeline"], value.inputs, depth)
        if value.op == "pixels":
            return Image(tensor=True)
        if isinstance(given := value.attrs.get("picture"), Image):
            return given
        if value.op == "data":
            loader = value.attrs.get("loader")
            return self._loaded(loader, value.attrs.get("key"), depth) if isinstance(loader, Instance) else None
        if value.op == "unknown":
            name = str(value.attrs.get("name"))
            if not value.inputs or name not in images.CARRIERS | images.TO_UNIT_FUNCTIONS:
                return None
            image = self.of(value.inputs[0], depth)
            if image is None or name in images.CARRIERS:
                return image
            return replace(image, unit=True, tensor=True, node=value.node, file=value.file)
        if value.op in ("divide", "div") and len(value.inputs) == 2:
            return self._scaled(value.inputs[0], number(value.inputs[1]), depth)
        if value.op == "multiply" and len(value.inputs) == 2:
            factor = number(value.inputs[1])
            return self._scaled(value.inputs[0], 1 / factor if factor else None, depth)
        if value.op in images.TENSOR_OPS | images.METHODS and value.inputs:
            return self.of(value.inputs[0], depth)
        return None

    def _scaled(self, value: Value, by: float | None, depth: int) -> Image | None:
        image = self.of(value, depth)
        if image is None or by is None or image.mean is not None or abs(by - 255) > 1.5:
            return None
        return replace(image, mean=(0.0,), std=(by,)) if image.unit else replace(image, unit=True)  # once more

    def _instance(self, value: Instance, depth: int) -> Image | None:
        name = value.library
        if value.kind == "loader_item":
            loader = value.fact(BatchFacts).loader
            return self._loaded(loader, None, depth, whole=True) if isinstance(loader, Instance) else None
        if (
            name not in images.CANVASES
            and value.has(PixelFacts)
            and any(number(each) is None for each in value.fact(PixelFacts).pasted)
        ):
            return None
        if name in images.READERS:
            return Image()
        augments = name.startswith("imgaug.augmenters.") and name.rpartition(".")[2] in images.AUGMENTS
        if (name in images.CARRIERS or augments) and value.args:
            return self.of(value.args[0], depth)
        if name in images.TO_UNIT_ARRAYS and value.args:
            kept = first(value.kwargs.get("preserve_range"))
            image = self.of(value.args[0], depth)
            return image if image is None or (isinstance(kept, Const) and kept.value) else replace(image, unit=True)
        if name.rpartition(".")[2] in images.METHODS and isinstance(value.fact(CallFacts).of, Instance):
            return self.of(value.fact(CallFacts).of, depth)
        if name in images.TO_UNIT_FUNCTIONS and value.args:
            return Image(unit=True, tensor=True, node=value.node, file=value.file)
        if name in ("numpy.divide", "numpy.true_divide") and len(value.args) > 1:
            return self._scaled(value.args[0], number(value.args[1]), depth)
        if name in images.CANVASES and value.has(PixelFacts):
            return _alike([self.of(pasted, depth) for pasted in value.fact(PixelFacts).pasted])
        return None

    def _loaded(self, loader: Instance, key: object, depth: int, whole: bool = False) -> Image | None:
        """An element of a loader's batches, or the batch itself: whichever branch gave it its data set, the same."""
        held = loader.fact(LoaderFacts).dataset
        datasets = (first(held),) if not isinstance(held, Union) or held.sure else held.values
        samples = [self._collated(loader, self.sample(dataset)) for dataset in datasets]
        return _alike([self.of(sample if whole else self.part(sample, key), depth) for sample in samples])

    def _collated(self, loader: Instance, sample: Value | None) -> Value | None:
        """The batch of one sample, as the loader's `collate_fn` makes it; PyTorch's own puts the elements together as they are."""
        given = first(loader.passed(6, "collate_fn"))
        owner: Value | None
        func: object
        if given is None or sample is None or (isinstance(given, Const) and given.value is None):
            return sample
        if isinstance(given, Ref):
            return sample if given.name.rpartition(".")[2] == "default_collate" else None
        if isinstance(given, Instance) and isinstance(given.cls, Class):
            func, owner = given.cls.lookup("__call__"), given
        else:
            func, owner = (given.func, given.self) if isinstance(given, Bound) else (given, None)
        if not isinstance(func, Func):
            return None
        return self._replayed(func, owner, Sequence("list", (sample,), False, loader.node, loader.file))

    # -- transforms ----------------------------------------------------------------------------------------------------

    def _through(self, pipeline: Instance, inputs: tuple[Value, ...], depth: int) -> Image | None:
        steps = flatten(pipeline)
        if steps is None:
            return None
        given = self.of(inputs[0], depth) if inputs else None
        if given is None and not (
            inputs and _may_be_pixels(inputs[0]) and any(_tail(step) in images.TO_TENSOR for step in steps)
        ):
            return None
        made = self._steps(pipeline, given or Image(), depth)
        if made is None:
            return None
        image = made
        if given is not None and image == given and not any(_tail(step) in images.SIZING for step in steps):
            return image  # it augments and no more: it is left out where nothing is trained, and prepares nothing
        return replace(image, node=pipeline.node, file=pipeline.file)

    def _steps(self, pipeline: Value | None, image: Image, depth: int) -> Image | None:
        """What a transform, or all of a pipeline's, make of an image."""
        steps = flatten(pipeline) if isinstance(pipeline, Instance) else [pipeline] if pipeline is not None else None
        at = image if steps is not None else None
        for step in steps or ():
            at = self._step(step, at, depth) if at is not None else None
        return at

    def _step(self, step: Value, image: Image, depth: int) -> Image | None:
        if isinstance(step, Func) or (isinstance(step, Instance) and own_step(step) is not None):
            return self._by_own_code(step, image, depth + 1)
        if not isinstance(step, Instance):
            return None
        tail = _tail(step)
        if tail == "Normalize":
            return self._normalised(step, image)
        if tail == "ToPILImage" and image.tensor:  # bytes again: what was normalised before is lost
            return replace(image, unit=False, mean=None, std=None, said=None, tensor=False, normalize=None, measured=False)
        if tail == "ToTensor":
            return replace(image, unit=True, tensor=True)
        if tail in images.TO_UNIT:
            return replace(image, unit=True)
        if tail == "ToDtype":
            scale = first(step.kwargs.get("scale"))
            return replace(image, unit=True) if isinstance(scale, Const) and scale.value is True else image
        if tail in images.TO_TENSOR:
            return replace(image, tensor=True)
        if tail in images.CHOICES:
            below = first(step.args[0]) if step.args else first(step.kwargs.get("transforms"))
            if not isinstance(below, Sequence):
                return None
            return image if all(self._steps(first(each), image, depth) == image for each in below.items) else None
        if tail == "Lambda":
            given = first(step.args[0] if step.args else step.kwargs.get("lambd"))
            return self._by_own_code(given, image, depth + 1)
        return image if tail in images.NEUTRAL else None

    def _by_own_code(self, step: Value | None, image: Image, depth: int) -> Image | None:
        """What a function of the program, or the step that a class of it is, makes of an image."""
        func = own_step(step) if isinstance(step, Instance) else step
        if not isinstance(func, Func):
            return None
        given = Tensor("input", picture=image)
        return self.of(self._replayed(func, step if isinstance(step, Instance) else None, given), depth)

    def _normalised(self, step: Instance, image: Image) -> Image | None:
        if image.mean is not None:
            return None
        mean = step.passed(0, "mean")
        std = step.passed(1, "std")
        by = 1.0
        if step.library.startswith("albumentations."):
            if step.open_kwargs or "normalization" in step.kwargs:
                return None
            largest = step.kwargs.get("max_pixel_value", step.args[2] if len(step.args) > 2 else None)
            most = number(largest) if largest is not None else 255.0
            if not most:
                return None
            by = most
            means = numbers(mean) if mean is not None else _ALBUMENTATIONS_MEAN
            stds = numbers(std) if std is not None else _ALBUMENTATIONS_STD
        else:
            means, stds = numbers(mean), numbers(std)
        if not means or not stds:
            measured = _of_data(mean) and _of_data(std)
            return replace(image, mean=(), std=(), normalize=step, measured=True) if measured else None
        by /= 1.0 if image.unit else 255.0
        said = None if by == 1.0 else (means, stds)
        means, stds = tuple(each * by for each in means), tuple(each * by for each in stds)
        return replace(image, mean=means, std=stds, said=said, normalize=step)

    # -- data sets -----------------------------------------------------------------------------------------------------

    def part(self, sample: Value | None, key: object) -> Value | None:
        """The element of a sample that stands under `key` of a collated batch."""
        if isinstance(sample, Union) and not sample.sure:  # it returns here or there
            parts = [self.part(each, key) for each in sample.values]
            return None if None in parts else join(*(each for each in parts if each is not None))
        sample = first(sample)
        if isinstance(sample, Sequence) and isinstance(key, int) and not sample.open and key < len(sample.items):
            return sample.items[key]
        if isinstance(sample, Dict) and isinstance(key, str):
            return sample.fields.get(key)
        return None

    def sample(self, dataset: Value | None) -> Value | None:
        """What `dataset[i]` gives, None when it cannot be followed."""
        if not isinstance(dataset, Instance):
            return None
        if id(dataset) not in self._samples:
            self._samples[id(dataset)] = None
            self._samples[id(dataset)] = self._sample(dataset)
        return self._samples[id(dataset)]

    def _sample(self, dataset: Instance) -> Value | None:
        if isinstance(dataset.cls, Class):
            return self._getitem(dataset)
        tail = dataset.library.rpartition(".")[2]
        if dataset.library.startswith("torchvision.datasets."):
            if tail not in images.DATASETS:
                return None
            position = images.DATASETS[tail]
            passed = dataset.fields.get("transform") or dataset.kwargs.get("transform")
            if passed is None and position is not None and position < len(dataset.args):
                passed = dataset.args[position]
            pipeline = first(passed)
            if not isinstance(pipeline, Instance) or not pipeline.library.startswith(IMAGE_TRANSFORMS):
                return None
            source = Instance(dataset.cls, dataset.node, dataset.file)
            source.cls = _OPENED
            image = Tensor("image", (source,), None, dataset.node, dataset.file, pipeline=pipeline)
            return Sequence("tuple", (image, UNKNOWN), False, dataset.node, dataset.file)
        if dataset.library == "torch.utils.data.Subset" and dataset.args:
            return self.sample(first(dataset.args[0]))
        if dataset.library == "torch.utils.data.TensorDataset":
            return Sequence("tuple", dataset.args, False, dataset.node, dataset.file)
        return None

    def _getitem(self, dataset: Instance) -> Value | None:
        assert isinstance(dataset.cls, Class)
        method = dataset.cls.lookup("__getitem__")
        if not isinstance(method, Func):
            return None
        return self._replayed(method, dataset, UNKNOWN)

    def _replayed(self, func: Func, self_value: Value | None, argument: Value) -> Value | None:
        """What a function of the program gives; nothing that it does counts."""
        at = self.program.interpreter
        at.steps, at.silent = 0, at.silent + 1
        frames, path, loops, journal = at.frames, at.path, at.loops, at.journal
        at.frames, at.path, at.loops, at.journal = [], [], [], None
        try:
            with at.inside(Frame(None, func.file, func.file.names, (), 0)):
                return invoke(at, func, self_value, CallArgs([argument]), func.node)
        except (BudgetSpent, RecursionError):
            return None
        finally:
            at.silent -= 1
            at.frames, at.path, at.loops, at.journal = frames, path, loops, journal


def _alike(found: list[Image | None]) -> Image | None:
    """The image that all of them are, wherever each was made what it is: the first."""
    bare = {replace(each, node=None, file=None, normalize=None) if each is not None else None for each in found}
    return found[0] if len(bare) == 1 else None


def _opened() -> Value:
    return Ref("PIL.Image.open")


_OPENED = _opened()


def flatten(pipeline: Instance) -> list[Value] | None:
    """The steps of a (nested) Compose in order, the program's own among them; None when one is not known."""
    tail = _tail(pipeline)
    if tail not in images.LISTS:
        known = pipeline.library.startswith(IMAGE_TRANSFORMS) or isinstance(pipeline.cls, Class)
        return [pipeline] if known else None
    if tail == "Sequential":
        items: tuple[Value, ...] = tuple(value for value in pipeline.fields.values() if isinstance(value, Value))
    else:
        listed = first(pipeline.args[0] if pipeline.args else pipeline.kwargs.get("transforms"))
        if not isinstance(listed, Sequence) or listed.open:
            return None
        items = listed.items
    steps: list[Value] = []
    for item in items:
        at = first(item)
        below = flatten(at) if isinstance(at, Instance) else [at] if isinstance(at, Func) else None
        if below is None:
            return None
        steps.extend(below)
    return steps


def own_step(step: Instance) -> Func | None:
    """The function of the program by which a transform of its own class changes a picture."""
    if not isinstance(step.cls, Class):
        return None
    found = (step.cls.lookup(name) for name in ("__call__", "forward", "apply", "transform", "_transform"))
    return next((func for func in found if isinstance(func, Func)), None)


def numbers(value: Value | None) -> tuple[float, ...] | None:
    """The numbers of a constant list or tuple (one number counts as one channel)."""
    at = first(value)
    single = number(at)
    if single is not None:
        return (float(single),)
    if isinstance(at, Const) and isinstance(at.value, (list, tuple)):
        return tuple(float(item) for item in at.value)
    if not isinstance(at, Sequence) or at.open or not at.items:
        return None
    found = [number(item) for item in at.items]
    return tuple(float(item) for item in found if item is not None) if None not in found else None


def _of_data(value: Value | None) -> bool:
    """Whether a tensor is worked out from batches of the program's own data, whatever it may be."""
    found = members(value)
    return bool(found) and all(
        any(at.op == "data" and isinstance(at.attrs.get("loader"), Instance) for at in flow(each)) for each in found
    )


def _tail(step: Value | None) -> str:
    """The library's name of a transform; of one that the program derives from a library's and leaves to do as that does, too."""
    if not isinstance(step, Instance):
        return ""
    if isinstance(step.cls, Class):
        bases = [name for name in step.cls.libraries() if name.startswith(IMAGE_TRANSFORMS)]
        return bases[0].rpartition(".")[2] if bases and own_step(step) is None else ""
    return step.library.rpartition(".")[2]


def _may_be_pixels(value: Value) -> bool:
    """An image whose origin is not seen: a file's pixels, since `ToTensor` takes nothing else."""
    return value is UNKNOWN or isinstance(value, Instance) or not isinstance(value, (Tensor, Const))


def enters(module: Instance, model: Instance) -> bool:
    """Whether calling `module` feeds the first layer of the pretrained `model`."""
    if module is model:
        return True
    if module.owner is model:
        return str(module.fact(ModuleFacts).path).partition(".")[0] in images.FIRST_STAGES
    if module.library == "torch.nn.Sequential" and module.fields:
        start = next(iter(module.fields.values()))
        if isinstance(start, ParamSet):
            return any(root is model for root in roots_of(start))
        return any(isinstance(member, Instance) and enters(member, model) for member in members(start))
    return False


def fed_unchanged(output: Value | None, model: Instance) -> bool:
    """In the data flow behind `output`, the wrapper's own input reaches the pretrained `model` as it came in."""
    stack, seen = list(members(output)), set()
    while stack:
        at = stack.pop()
        if isinstance(at, Union):
            stack.extend(at.values)
        elif isinstance(at, (Sequence,)):
            stack.extend(at.items)
        elif isinstance(at, Dict):
            stack.extend(value for value in at.fields.values() if isinstance(value, Value))
        elif isinstance(at, Tensor) and id(at) not in seen:
            seen.add(id(at))
            if at.module is not None and at.op == "call" and enters(at.module, model):
                return bool(at.inputs) and _is_input(at.inputs[0])
            stack.extend(at.inputs)
            if at.result is not None:
                stack.append(at.result)
    return False


def _is_input(value: Value) -> bool:
    for _ in range(_DEPTH):
        if isinstance(value, Union) and value.sure:
            value = value.values[0]
        if not isinstance(value, Tensor):
            return False
        if value.op == "input":
            return True
        if value.op not in images.TENSOR_OPS or not value.inputs:
            return False
        value = value.inputs[0]
    return False
