"""Images that a pretrained network was not trained on: its mean and std are missing.

## What it does
Follows the images of a pretrained vision model from the file through transforms, data set and loader into the model,
and compares what they were normalised with to what the weights expect: ImageNet's mean and std for torchvision and
most of timm, 0.5/0.5 for timm's Inception-style weights. Reported at the transform pipeline, or at the call of the
model when raw pixels reach it. Normalisation inside the model, in the training step, or by a step that cannot be
followed is silent.

## Why it costs
The first convolution and every BatchNorm behind it have learned inputs of mean 0 and variance 1. Images in [0, 1]
arrive with a mean of 2 and a quarter of the spread, raw pixels in 0 … 255 a hundred times too large: frozen features
are wrong, and fine-tuning spends its first epochs on undoing it. At inference the loss is there for good.

## When not to follow it
When the model was trained further on images prepared this very way and only that checkpoint is used, when the network
normalises its input itself (torchvision's detection models, a Normalize layer), or when the first layer was replaced
and is trained anew. Keep training, validation and inference alike when you change it: a head trained on other inputs
is lost.

## Example
```python
import torch
from torch import nn
from torchvision import datasets, models, transforms

transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
loader = torch.utils.data.DataLoader(datasets.FakeData(8, (3, 224, 224), 10, transform=transform), batch_size=4)

model = models.resnet18(weights="DEFAULT")
model.fc = nn.Linear(512, 10)
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)


def train_one_epoch():
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
```

## After the fix
```python
import torch
from torch import nn
from torchvision import datasets, models, transforms

normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), normalize])
loader = torch.utils.data.DataLoader(datasets.FakeData(8, (3, 224, 224), 10, transform=transform), batch_size=4)

model = models.resnet18(weights="DEFAULT")
model.fc = nn.Linear(512, 10)
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)


def train_one_epoch():
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
```

## Fix level
None. Every pipeline that meets these weights has to change together, and checkpoints trained on the old inputs with
it; `weights.transforms()` of torchvision and `timm.data.create_transform` give the right ones.

## Evidence
Known from the weights' own cards: torchvision's accuracies hold for `weights.transforms()` alone.

## References
- https://docs.pytorch.org/vision/stable/models.html (every set of weights has its own preprocessing)
- https://huggingface.co/docs/timm/feature_extraction (`resolve_data_config`)
- He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, 2018, section 2.1
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Severity
from tricklint.interpreter.events import Built, Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    CallFacts,
    Class,
    Const,
    Instance,
    Ref,
    Value,
    first,
    members,
)
from tricklint.knowledge import images
from tricklint.knowledge.backbones import IMAGENET, PUBLISHED, InputStats, input_stats
from tricklint.libraries.events import Forward, HeadReplaced, LearnerBuilt, LoaderBuilt, OptimizerBuilt
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules
from tricklint.program import Program
from tricklint.program.image_input import Image, ImageFlow, enters, fed_unchanged
from tricklint.program.loops import happens_with, surely_with
from tricklint.program.transfer import holds, optimised, published_name
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Fact, Run

TOLERANCE = 0.06  # by which the end of a channel may lie elsewhere in pictures of a run
ROUNDING = 0.005  # of a mean or std that is written with three digits or more; with fewer, half of the last one
LEVELS = 2  # of 255 by which the ends of channels may differ that are the same; ImageNet's own lie 18 and more apart

LIBRARIES = ("torchvision", "timm")


class PretrainedInputStats(Rule):
    code = "TRK203"
    name = "pretrained-input-stats"
    summary = "a pretrained vision model is fed images without the mean and std its weights expect"
    severity = Severity.WARNING
    fix_level = None
    trick = "2 - Normalize"
    triggers = (
        "torchvision",
        "timm",
        "fastai",
        "segmentation_models_pytorch",
        "efficientnet_pytorch",
        "pretrainedmodels",
    )

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """What the first layer of torchvision's or timm's weights got: pictures that were never normalised have no negative
        value, and those whose channels all end at the same two numbers were normalised alike in all of them."""
        for fact in run.facts("stem"):
            stem = run.parameters.get(fact.data["parameter"])
            if stem is None or stem.loader not in LIBRARIES:
                continue
            least = min(look[2] for look in fact.data["looks"])
            most = max(look[3] for look in fact.data["looks"])
            means = ", ".join(f"{value:.2f}" for value in fact.data["looks"][0][0])
            wrong = other_range(fact) if least < 0 else None
            if wrong is not None:
                message = f"the pretrained first layer is fed with pictures that are not normalised by its own mean and std ({wrong})"
                seen = f"each channel of what {stem.name} got reached from {least:.4g} to {most:.4g}, mean {means}"
                yield from run.finding(self, fact.place, message, seen)
                continue
            if least < 0:
                yield Clean(self.code, fact.place, f"its pictures reached from {least:.2g} to {most:.2g}, mean {means}")
                continue
            message = "the pretrained first layer is fed with pictures that are not normalised by its own mean and std"
            seen = f"{stem.name} got values from {least:.2g} to {most:.2g}, mean {means}"
            yield from run.finding(self, fact.place, message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        flow = ImageFlow(program)
        for event, backbone, stats, value in sorted(fed(program), key=measures):
            image = flow.of(value)
            if image is None or not differs(image, stats) or (of_one_channel(backbone) and image.mean is not None):
                continue
            node, file = place(program, image) if image.node is not None else (event.node, event.file)
            told = id(node) if image.node is not None else id(backbone)  # raw pixels: once a model
            if node is None or file is None or told in seen:
                continue
            seen.add(told)
            name = published_name(backbone) or f"this {backbone.fact(ModuleFacts).family} model"
            wanted = f"mean {_show(stats.mean)} and std {_show(stats.std)}" if stats.mean else "mean and std"
            message = f"{name}'s weights expect images normalised with {stats.name} {wanted}, but {what(image)}"
            step = image.normalize if image.normalize is not None and image.normalize.node is not node else None
            evidence = [
                program.evidence(step.file, step.node, "it normalises here") if step is not None else None,
                program.evidence(
                    backbone.file, backbone.node, f"the pretrained {published_name(backbone) or 'model'} is built here"
                ),
                program.evidence(event.file, event.node, "the images reach the model here")
                if event.node is not node and isinstance(event, Forward)
                else None,
            ]
            yield program.finding(self, file, node, message, evidence)
        yield from self.fastai(program)

    def fastai(self, program: Program) -> Iterator[Finding]:
        """fastai v1 normalises only when the data block says `.normalize(…)`; v2 does it by itself."""
        for event in program.events(LearnerBuilt):
            learner = event.subject
            assert isinstance(learner, Instance)
            if learner.library not in ("fastai.vision.create_cnn", "fastai.vision.cnn_learner") or not event.sure:
                continue
            arch = first(learner.kwargs.get("base_arch") or learner.kwargs.get("arch") or _at(learner, 1))
            pretrained = first(learner.kwargs.get("pretrained"))
            if (
                not isinstance(arch, Ref)
                or ".models." not in arch.name
                or (isinstance(pretrained, Const) and not pretrained.value)
            ):
                continue
            steps = data_block(first(learner.kwargs.get("data") or _at(learner, 0)))
            if not steps or any("normalize" in step.fact(CallFacts).methods for step in steps):
                continue
            step = next((step for step in steps if step.library.endswith(".transform")), steps[0])
            node, file = step.node, step.file
            if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
                node = node.func.attr
            if node is None or file is None:
                continue
            name = arch.name.rpartition(".")[2]
            message = (
                f"{name} is pretrained on images with ImageNet's mean and std, but this data block never normalises: "
                "fastai v1 wants .normalize(imagenet_stats)"
            )
            yield program.finding(
                self,
                file,
                node,
                message,
                [program.evidence(event.file, event.node, f"the pretrained {name} is fed here")],
            )


def _at(learner: Instance, position: int) -> Value | None:
    return learner.args[position] if position < len(learner.args) else None


def data_block(value: Value | None) -> list[Instance]:
    """The calls of a fastai v1 data block, last first; empty when it does not start at one of fastai's own classes."""
    steps: list[Instance] = []
    while isinstance(value, Instance):
        steps.append(value)
        if value.fact(CallFacts).of is None:
            break
        value = value.fact(CallFacts).of
    if not steps or not steps[-1].library.startswith("fastai.vision."):
        return []
    start = steps[-1].library[len("fastai.vision.") :].partition(".")[0]
    return steps if start in ("ImageItemList", "ImageList", "ImageDataBunch") else []


def fed(program: Program) -> Iterator[tuple[Event, Instance, InputStats, Value]]:
    """Forwards of pretrained vision models (or of models around one), with the value that reaches its first layer."""
    outer = [event for event in program.events(Forward) if event.depth == 0 and event.possible]
    ran: set[tuple[str, int]] = set()
    for event in outer:
        model = event.subject
        for backbone, stats in backbones(program, model, event):
            ran.add((event.entry, id(backbone)))
            inputs = event.inputs
            if not inputs or not matters(program, event, model, backbone):
                continue
            if enters(model, backbone) or fed_unchanged(model.fact(ModuleFacts).output, backbone):
                yield event, backbone, stats, inputs[0]
    # Scripts whose loop lies elsewhere: the one model that is optimised, and the loaders made beside it
    trained_in: dict[str, list[Instance]] = defaultdict(list)
    for model, events in program.trained.values():
        for entry in {one.entry for one in events}:
            trained_in[entry].append(model)
    for built in program.events(OptimizerBuilt):
        if not built.possible:
            continue
        trained = trained_in[built.entry]
        found = {id(b): (b, stats) for model in trained for b, stats in backbones(program, model, built)}
        if len(found) != 1:
            continue
        backbone, stats = next(iter(found.values()))
        around = [m for m in trained if holds(m, backbone)]
        if (built.entry, id(backbone)) in ran or not any(m.owner is backbone for m in around) or len(around) > 1:
            continue
        for made in program.events(LoaderBuilt):
            loader = made.subject
            if made.entry == built.entry and surely_with(made, built) and isinstance(loader, Instance):
                yield built, backbone, stats, _batch(loader)


def measures(one: tuple[Event, Instance, InputStats, Value]) -> bool:
    """Whether the pass does not train: of several, the one that does is shown."""
    return isinstance(one[0], Forward) and one[0].grad is False


def _batch(loader: Instance) -> Value:
    from tricklint.libraries.tensors import Tensor

    return Tensor("data", (), None, loader.node, loader.file, loader=loader, key=0)


def backbones(program: Program, model: Instance, at: Event) -> Iterator[tuple[Instance, InputStats]]:
    """Pretrained vision models in `model` whose first layer is their own, with what their weights expect: those that may
    be built in a run in which `at` happens."""
    for _, module in submodules(model):
        owner = module.owner
        if owner.fact(ModuleFacts).pretrained is not True or not owner.fact(ModuleFacts).family:
            continue
        if not all(happens_with(made, at) for made in program.made.get(id(owner), ())):
            continue
        stats = input_stats(
            owner.fact(ModuleFacts).family,
            published_name(owner) if owner.fact(ModuleFacts).family != "torchvision" else owner.library,
        )
        if stats is None or not (of_one_channel(owner) or all(channels == 3 for channels in said_channels(owner))):
            continue
        if not any(_first_layer(event, owner) for event in program.events(HeadReplaced)):
            yield owner, stats
            return


def said_channels(model: Instance) -> list[object]:
    """Of how many channels its images are said to be; None for what is not known."""
    said = (first(model.kwargs[key]) for key in ("in_chans", "in_channels") if key in model.kwargs)
    return [at.value if isinstance(at, Const) else None for at in said]


def of_one_channel(model: Instance) -> bool:
    """timm adds up the kernels of its first layer for grey images: they are to be normalised still, and by which numbers
    is not published."""
    return model.fact(ModuleFacts).family == "timm" and said_channels(model) == [1]


def _first_layer(event: HeadReplaced, backbone: Instance) -> bool:
    """The event replaces the first convolution: what it expects is no longer known."""
    attribute = str(event.attribute)
    return any(
        isinstance(member, Instance) and member.owner is backbone and attribute in images.FIRST_LAYERS
        for member in members(event.subject)
    )


def matters(program: Program, event: Event, model: Instance, backbone: Instance) -> bool:
    """The forward is part of training, or runs weights that are used as they are (not a check of shapes)."""
    alone = not event.entry.startswith("run ")  # a function nobody calls: the file's own optimizer speaks for it
    if any(other.entry == event.entry or (alone and other.file is event.file) for other in optimised(program, model)):
        return True
    if (
        model.fact(ModuleFacts).loads or backbone.fact(ModuleFacts).loads
    ):  # what fed the training of those weights counts
        return any(optimised(program, other) for other in same_kind(program, model))
    replaced = any(
        isinstance(member, Instance) and member.owner is backbone
        for other in program.events(HeadReplaced)
        for member in members(other.subject)
    )
    return model is backbone and not replaced and not backbone.fact(ModuleFacts).new_head


def same_kind(program: Program, model: Instance) -> list[Instance]:
    """Models that the program builds as it builds `model`: of the same class, or at the same place."""
    found = []
    for event in program.events(Built):
        made = event.subject
        if isinstance(made, Instance) and made is not model:
            if made.node is model.node if not isinstance(model.cls, Class) else made.cls is model.cls:
                found.append(made)
    return found


def differs(image: Image, stats: InputStats) -> bool:
    if image.measured or image.mean is None or image.std is None:
        return True
    if not stats.mean:  # one of those that are published
        return all(differs(image, each) for each in PUBLISHED)
    means = image.mean * 3 if len(image.mean) == 1 else image.mean
    stds = image.std * 3 if len(image.std) == 1 else image.std
    if len(means) != 3 or len(stds) != 3:
        return False
    wanted = (*stats.mean, *stats.std)
    given = ((*means, *stds), (*reversed(means), *reversed(stds)))  # as RGB, and as BGR, which cv2 reads
    return all(any(not _rounded(a, b) for a, b in zip(each, wanted, strict=True)) for each in given)


def _rounded(given: float, wanted: float) -> bool:
    """Whether a number is the wanted one, but for the digits that it is written with."""
    digits = len(repr(float(given)).partition(".")[2])
    return abs(given - wanted) <= max(ROUNDING, 0.5 * 10.0**-digits) + 1e-9


def place(program: Program, image: Image) -> tuple[cst.CSTNode | None, FileModule | None]:
    """The pipeline, where it shows what it does; where its Normalize was made elsewhere, that one."""
    step = image.normalize
    if step is None or step.node is None or step.file is None or image.file is None:
        return image.node, image.file
    inside = any(up is image.node for up in (step.node, *program.tree(step.file).ancestors(step.node)))
    return (image.node, image.file) if inside else (step.node, step.file)


def what(image: Image) -> str:
    if image.measured:
        return "this pipeline normalises with statistics that are measured on the program's own images"
    if image.said is not None and image.mean is not None and image.std is not None:
        mean, std = image.said
        if image.unit:
            by = image.std[0] / std[0]
            return f"this pipeline divides values in [0, 1] by {by:g} once more before it normalises them"
        return f"this pipeline normalises values in 0 … 255 with mean {_show(mean)} and std {_show(std)}"
    if image.mean is not None and image.std is not None and image.normalize is None and not any(image.mean):
        return f"values in [0, 1] are divided by {image.std[0]:g} once more"
    if image.mean is not None and image.std is not None:
        return f"this pipeline normalises with mean {_show(image.mean)} and std {_show(image.std)}"
    if image.node is None:
        return "raw pixel values reach the model" if not image.unit else "pixels in [0, 1] reach the model"
    return f"this pipeline hands on {'values in [0, 1]' if image.unit else 'pixels in 0 … 255'}"


def _show(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"


def other_range(fact: Fact) -> str | None:
    """How pictures came that reach from one number to another, the same two in all channels, where black and white are
    others by the weights' own mean and std; None where that cannot be told."""
    lows = [one for look in fact.data["looks"] for one in look[4]]
    highs = [one for look in fact.data["looks"] for one in look[5]]
    low, high = min(lows), max(highs)
    same = LEVELS * (high - low) / 255
    if low >= high or max(lows) - low > same or high - min(highs) > same:
        return None
    mean, std = fact.data.get("expected") or (IMAGENET.mean, IMAGENET.std)
    ends = [(-m / s, (1 - m) / s) for m, s in zip(mean, std, strict=True)]
    if any(abs(low - black) < TOLERANCE and abs(high - white) < TOLERANCE for black, white in ends):
        return None
    made = f"mean {-low / (high - low):.3g} and std {1 / (high - low):.3g} make pictures like these; the weights'"
    return f"{made} are {', '.join(f'{one:.3g}' for one in mean)} and {', '.join(f'{one:.3g}' for one in std)}"

