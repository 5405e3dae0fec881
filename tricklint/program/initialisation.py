"""Which layers an explicit initialisation reaches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

import libcst as cst

from tricklint.interpreter.events import Building, Built, Escaped, Event, Step
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.statements import raises
from tricklint.interpreter.values import (
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Pred,
    Sequence,
    Value,
    first,
    instances,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.checkpoints import saved
from tricklint.libraries.events import Backward, HeadReplaced, Initialised, TrainerGiven, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import layer_class, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.foreign import may_hold_a_net
from tricklint.program.loops import apart, happens_with, surely_with
from tricklint.program.program import Program

# Bases of torch.nn layers that isinstance tests name
_BASES = {
    "torch.nn.modules.conv._ConvNd": layers.CONV,
    "torch.nn._ConvNd": layers.CONV,
    "torch.nn.modules.conv._ConvTransposeNd": frozenset(n for n in layers.CONV if "Transpose" in n),
    "torch.nn.modules.batchnorm._BatchNorm": layers.BATCH_NORM,
    "torch.nn._BatchNorm": layers.BATCH_NORM,
}


def owned(module: Instance) -> Iterator[tuple[str, Instance]]:
    """Weight layers of `module` itself, with their attribute path: in its attributes and in library containers there,
    not inside other modules of the program."""
    stack: list[tuple[str, Instance]] = [("", module)]
    seen: set[int] = set()
    while stack:
        path, at = stack.pop(0)
        for name, value in list(at.fields.items()):
            for child in members(value) if isinstance(value, Value) else ():
                if not isinstance(child, Instance) or child.kind != "module" or id(child) in seen:
                    continue
                seen.add(id(child))
                below = f"{path}.{name}" if path else str(name)
                if layer_class(child) in layers.WEIGHTED:
                    yield below, child
                elif child.library in layers.CONTAINERS:
                    stack.append((below, child))


def may_hold(pred: Pred, layer: Instance, which: str) -> bool:
    """Whether a test on loop elements may let `layer` (or its parameter `which`) through."""
    hit = _holds(pred, layer, which)
    if hit is None:
        return True
    return hit is not pred.negated


def _holds(pred: Pred, layer: Instance, which: str) -> bool | None:
    if pred.op == "isinstance":
        if None in pred.args:
            return None
        kinds: set[object] = set()
        for kind in pred.args:
            kinds |= _BASES.get(kind, frozenset()) if isinstance(kind, str) else frozenset()
            kinds.add(kind)
        own = isinstance(layer.cls, Class) and any(at in kinds for at in layer.cls.mro() if isinstance(at, Class))
        return own or layer_class(layer) in kinds or "torch.nn.Module" in kinds
    if pred.op in ("classname_contains", "classname"):
        name = layer.label
        return any(
            isinstance(a, str) and (a in name if pred.op == "classname_contains" else a == name) for a in pred.args
        )
    if pred.op == "attr":
        return which in pred.args
    if pred.op == "is":
        return layer in pred.args
    if pred.op == "hasattr":
        return which in pred.args or "weight" in pred.args
    if pred.op in ("and", "or"):
        parts = [may_hold(inner, layer, which) for inner in pred.args]
        return all(parts) if pred.op == "and" else any(parts)
    if pred.op in ("name_contains", "name_endswith", "name_equals"):
        if any(isinstance(a, str) and a.strip(".") in ("weight", "bias") for a in pred.args):
            return any(isinstance(a, str) and a.strip(".") == which for a in pred.args) or None
        return None
    if pred.op == "ndim":
        comparison, number = pred.args
        dims = 2 if layer_class(layer) in layers.LINEAR else 4
        if which == "bias":
            dims = 1
        return {"<": dims < number, "<=": dims <= number, ">": dims > number, ">=": dims >= number, "==": dims == number,
                "!=": dims != number}.get(comparison)  # fmt: skip
    return None


def _never_called(event: Event) -> bool:
    """A method of a module that nothing calls: it was only followed for its own sake."""
    outermost = event.stack[0] if event.stack else None
    owner = outermost.owner if outermost is not None else None
    if owner is None or outermost.name.startswith("__") or not event.entry.endswith(f": {owner.name}"):  # type: ignore[union-attr]
        return False
    return "torch.nn.Module" in owner.libraries()


class Initialisation:
    """Answers, for one program, which init events reach a layer."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @classmethod
    def of(cls, program: Program) -> Initialisation:
        """The one of a program: its indexes are built once."""
        answer: Initialisation = program.remember("initialisation", lambda: cls(program))
        return answer

    @cached_property
    def _by_root(self) -> dict[int, list[Initialised]]:
        found: dict[int, list[Initialised]] = defaultdict(list)
        for event in self.program.events(Initialised):
            if _never_called(event):
                continue
            for root in roots_of(event.subject):
                found[id(root)].append(event)
        return found

    @cached_property
    def _holders(self) -> dict[int, list[Instance]]:
        """Every module that holds a module below it."""
        found: dict[int, list[Instance]] = defaultdict(list)
        for event in self.program.events(Built, Building):
            made = event.subject
            if isinstance(made, Instance) and made.kind in ("module", "loss") and id(made) not in self._built:
                self._built.add(id(made))
                for _, child in submodules(made):
                    found[id(child)].append(made)
        for replaced in self.program.events(HeadReplaced):
            for old in instances(replaced.old, "module"):
                for _, part in submodules(old):
                    found[id(part)] += found.get(id(replaced.subject), [replaced.subject])
        return found

    @cached_property
    def _built(self) -> set[int]:
        return set()

    def holders(self, module: Instance) -> list[Instance]:
        return self._holders.get(id(module), [module])

    def reaching(self, layer: Instance, which: str = "weight") -> Iterator[Initialised]:
        """Init events that set (or may set) the parameter `which` of `layer`."""
        for holder in (layer, *self.holders(layer)):
            for event in self._by_root.get(id(holder), ()):
                subject = event.subject
                if isinstance(subject, ParamSet):
                    if all(may_hold(pred, layer, which) for pred in subject.preds):
                        named = event.which
                        if named is None or named == which:
                            yield event
                else:
                    yield event

    def reaches_any(self, layers: Iterable[Instance]) -> bool:
        """Whether some init event sets (or may set) the weight of one of the layers."""
        return any(True for layer in layers for _ in self.reaching(layer))

    def would_reach(self, func: Func, cls: Class, wanted: Iterable[Instance]) -> bool:
        """Whether a method that nothing calls would set the weights of all these layers, and load none."""

        def of_func(event: Event) -> bool:
            return bool(event.stack) and event.stack[0].node is func.node and _never_called(event)

        if any(map(of_func, self.program.events(WeightsLoaded))):
            return False
        made = [event for event in self.program.events(Initialised) if of_func(event) and event.which in (None, "weight")]
        return bool(made) and all(any(self._would_set(event, cls, layer) for event in made) for layer in wanted)

    def _would_set(self, event: Initialised, cls: Class, layer: Instance) -> bool:
        subject = event.subject
        if not isinstance(subject, ParamSet):
            return layer in roots_of(subject)
        held = {id(holder) for holder in self.holders(layer)}
        over = any(id(root) in held or root.cls is cls for root in roots_of(subject))
        return over and all(may_hold(pred, layer, "weight") for pred in subject.preds)

    def loaded(self, layer: Instance, entry: str | None = None) -> bool:
        """Whether a checkpoint is loaded into a module that holds the layer before it is trained. `entry`: the one that
        trains it, to which it is nothing what another script, or a method that this one never calls, does to a model that
        both import."""
        return any(
            self._loads_surely(event, layer)
            for holder in self.holders(layer)
            for event in self._loads.get(id(holder), ())
            if entry is None or event.entry == entry or event.on_import
        )

    @cached_property
    def _loads(self) -> dict[int, list[WeightsLoaded]]:
        """The checkpoints that are loaded into a module before it is trained, by its id. A file that need not be there may be
        the first run's, which starts from scratch."""
        found: dict[int, list[WeightsLoaded]] = defaultdict(list)
        for event in self.program.events(WeightsLoaded):
            if self._after_training(event) or _never_called(event) or only_tried(event.file, event.node, event.weights):
                continue
            found[id(event.subject)].append(event)
        return found

    def _loads_surely(self, event: Event, layer: Instance) -> bool:
        """Whether weights are loaded by default, or wherever the layer exists at all: a wrapper that is restored on one branch
        does not speak for a net that is trained on the other."""
        return event.sure or any(surely_with(event, made) for made in self.program.made.get(id(layer), ()))

    def too_late(self, event: Event) -> bool:
        """Whether training is over where `event` gives a model to an optimizer: it is built anew, to be loaded and tested."""
        return self._last_backward.get(event.entry, event.seq) < event.seq

    def only_tested(self, module: Instance, event: Event) -> bool:
        """Whether `event` gives a model to an optimizer in a script that loads it and trains nothing."""
        loads = self._loads.get(id(module), ())
        return event.entry not in self._training_begins and any(self._loads_surely(load, module) for load in loads)

    def _after_training(self, event: Event) -> bool:
        """Whether training has begun before an event, and not on another branch alone."""
        if self._training_begins.get(event.entry, event.seq) >= event.seq:
            return False
        if id(event) not in self._after:
            self._after[id(event)] = self._comes_after(event)
        return self._after[id(event)]

    @cached_property
    def _after(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _trainings_of(self) -> dict[str, list[Backward | TrainerGiven]]:
        found: dict[str, list[Backward | TrainerGiven]] = defaultdict(list)
        for step in self._trainings:
            found[step.entry].append(step)
        return found

    def _comes_after(self, event: Event) -> bool:
        trainings = self._trainings_of[event.entry]
        before = [step for step in trainings if step.seq < event.seq]
        if any(happens_with(step, event) for step in before):
            return True
        # training that some flag asks for comes before what stands after it, unless something else is trained then
        return len(before) == len(trainings) and any(not apart(step, event) for step in before)

    @cached_property
    def _trainings(self) -> list[Backward | TrainerGiven]:
        """What trains; a trainer that is made before it is given a model does not yet."""
        steps = self.program.events(Backward, TrainerGiven)
        return [step for step in steps if isinstance(step, Backward) or step.subject is not step.trainer]

    @cached_property
    def _training_begins(self) -> dict[str, int]:
        """The place in time of each entry's first training step."""
        return {step.entry: step.seq for step in reversed(self._trainings)}

    @cached_property
    def _last_backward(self) -> dict[str, int]:
        return {step.entry: step.seq for step in self.program.events(Backward)}

    def escapes(self, layer: Instance, harmless: object) -> bool:
        """Whether code that could not be followed is given a module around the layer before it is trained there."""
        holders = {id(holder) for holder in self.holders(layer)} | {id(layer)}
        for event in self.program.events(Escaped):
            if any(id(root) in holders for root in roots_of(event.subject)) and not harmless(event.to):  # type: ignore[operator]
                if not self._after_training(event):
                    return True
        return False


def branches_within(program: Program, module: Instance, layer: Instance) -> list[Step]:
    """The branches of the module's constructor on which it makes the layer; none where every way through makes it, or that is
    not known."""
    built, holder = program.made.get(id(layer)), program.made.get(id(module))
    if not built or not holder:
        return []
    known = {id(step.node) for step in holder[0].path}
    return [step for step in built[0].path if id(step.node) not in known]


def holds_pretrained(module: Instance, entry: str | None = None) -> bool:
    """Whether some part of a module comes with pretrained weights, or from a library that may have given it some. `entry`: the
    one that trains it, to which it is nothing what another script loads into a model that both import."""
    if entry is not None:
        return any(_comes_with_weights(child, entry) for _, child in submodules(module))
    known = module.fact(ModuleFacts).holds_pretrained
    if known is None:
        known = module.fact(ModuleFacts).holds_pretrained = any(
            _is_pretrained(child) for _, child in submodules(module)
        )
    return bool(known)


def _is_pretrained(child: Instance) -> bool:
    known = child.fact(ModuleFacts).is_pretrained
    if known is None:
        known = child.fact(ModuleFacts).is_pretrained = _comes_with_weights(child)
    return bool(known)


def _comes_with_weights(child: Instance, entry: str | None = None) -> bool:
    root = child.owner
    if root.fact(ModuleFacts).pretrained is not False:
        return True
    # loaded before it was trained, and not only when some flag asks for it or an earlier run left its checkpoint
    for load in root.fact(ModuleFacts).loads:
        path = load.path
        if entry is not None and load.entry != entry and load.entry.startswith("run "):
            continue
        if only_tried(load.file, load.node, load.weights):
            continue
        if all(step.taken is not False and not (step.taken is None and looks_for_a_file(step.node)) for step in path):
            return True
    if isinstance(child.cls, Class) and any(
        name.startswith(("transformers.", "timm.", "torchvision.")) for name in child.cls.libraries()
    ):
        return True
    return any(_asks_for_weights(value) for field in child.fields.values() for value in _values(field))


def only_tried(file: FileModule, node: cst.CSTNode, weights: Value | None) -> bool:
    """Whether weights are loaded, or their file is read, in a `try` after whose handlers the code goes on without them."""
    source = saved(weights)
    places = [(file, node)] if source is None else [(file, node), (source.file, source.node)]
    return any(at is not None and where is not None and _goes_on_without(where, at) for where, at in places)


def _goes_on_without(file: FileModule, node: cst.CSTNode) -> bool:
    below = node
    for up in file.tree.ancestors(node):
        if isinstance(up, (cst.FunctionDef, cst.ClassDef)):
            return False
        if isinstance(up, cst.Try) and below is up.body and any(not raises(handler.body) for handler in up.handlers):
            return True
        below = up
    return False


def looks_for_a_file(node: object) -> bool:
    """`if os.path.isfile(checkpoint):`, `if checkpoint.exists():`"""
    test = getattr(node, "test", None)
    func = test.func if isinstance(test, cst.Call) else None
    name = func.attr.value if isinstance(func, cst.Attribute) else func.value if isinstance(func, cst.Name) else ""
    return name in ("exists", "isfile", "is_file")


def _values(field: object) -> tuple[Value, ...]:
    return members(field) if isinstance(field, Value) else ()


def _asks_for_weights(value: Value) -> bool:
    """A call of a library that nothing is known of, which asks for weights: `geffnet.create_model(…, pretrained=…)`."""
    if not isinstance(value, Instance) or not value.library or not may_hold_a_net(value):
        return False
    if value.library.endswith((".from_pretrained", ".load_model")):
        return True
    for flag in ("pretrained", "weights", "encoder_weights", "pretrain"):
        asked = first(value.kwargs.get(flag))
        if asked is not None and not (isinstance(asked, Const) and not asked.value):
            return True
    return any(isinstance(first(at), Const) and first(at).value is True for at in value.args)  # type: ignore[union-attr]


def deep_and_plain(module: Instance) -> bool:
    """At least eight weight layers in one module tree, with no norm among them and no addition in its forward."""
    from tricklint.libraries.tensors import Tensor

    kinds = [layer_class(child) for _, child in submodules(module)]
    if sum(kind in layers.WEIGHTED for kind in kinds) < 8 or any(kind in layers.NORM for kind in kinds):
        return False
    stack: list[Value] = [v for v in [module.fact(ModuleFacts).output] if isinstance(v, Value)]
    seen: set[int] = set()
    while stack and len(seen) < 500:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        for member in members(at):
            if isinstance(member, Tensor):
                if member.op in ("add", "cat", "add_"):
                    return False
                stack.extend(v for v in member.inputs if isinstance(v, Value))
                if member.result is not None:
                    stack.append(member.result)
            elif isinstance(member, Sequence):
                stack.extend(member.items)
            elif isinstance(member, Dict):
                stack.extend(v for v in member.fields.values() if isinstance(v, Value))
    return len(seen) >= 8  # else the forward could not be followed
