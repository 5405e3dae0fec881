"""Trained models with layers that no explicit initialisation reaches: which classes own them, and where one fix mends all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tricklint.interpreter.classes import kind_of_class
from tricklint.interpreter.events import Building, Event
from tricklint.interpreter.values import Class, Instance, Ref, Value, members
from tricklint.knowledge import frameworks, layers
from tricklint.libraries.events import Forward, OptimizerBuilt, TrainerGiven, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import held, layer_class, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.torch_classes import unknown
from tricklint.program.activations import following
from tricklint.program.foreign import may_be_trained_already
from tricklint.program.idle import idle
from tricklint.program.initialisation import Initialisation, branches_within, holds_pretrained, owned
from tricklint.program.loops import flow, shared_loops
from tricklint.program.program import Program

SMALL_HEAD = 2  # weight layers: a new head on a pretrained net, not a net of its own


@dataclass
class Owner:
    """A module (or a Sequential that no module built) with the weight layers that were made while it was being built.

    above: the modules that hold it, the outermost first.
    """

    module: Instance
    above: tuple[Instance, ...]
    layers: list[Instance] = field(default_factory=list)

    @property
    def key(self) -> int:
        """The same for all instances of a class, and for all that one call of Sequential gives."""
        return id(self.module.cls) if isinstance(self.module.cls, Class) else id(self.module.node)


@dataclass
class Unreached:
    """A trained model with layers that no initialisation reaches.

    place: the outermost of its modules that one fix mends. owners: one of each class (or Sequential) whose layers are not
    reached. missed: kinds of layers that a helper leaves out. beside: it holds a pretrained part, so not all of it is new.
    wholes: the trained models that it is a part of, or one of.
    """

    place: Instance
    event: Event
    owners: list[Owner]
    missed: list[str]
    beside: bool
    wholes: list[Instance]


def unreached_models(program: Program) -> list[Unreached]:
    """One for each place, in the order in which the models are given to optimizers and trainers."""
    init = Initialisation.of(program)
    begins = {id(event.subject): event.seq for event in program.events(Building)}
    found: dict[int, Unreached] = {}
    for model, event in trained_wholes(program, init):
        unreached = _unreached(program, init, begins, model, event)
        if unreached is None:
            continue
        place = unreached.place
        key = id(place.cls) if isinstance(place.cls, Class) else id(place.node)
        if key not in found:
            found[key] = unreached
            continue
        known = {owner.key for owner in found[key].owners}
        found[key].owners += [owner for owner in unreached.owners if owner.key not in known]
        found[key].wholes += unreached.wholes
    return list(found.values())


def trained_wholes(program: Program, init: Initialisation) -> Iterator[tuple[Instance, Event]]:
    """The models that are trained, whole: where parts are given one by one, the module that holds them all."""
    seen: set[tuple[int, int]] = set()
    given: list[tuple[Instance, Event]] = []
    for event in program.events(OptimizerBuilt, TrainerGiven):
        if isinstance(event, TrainerGiven):
            given.append((event.subject, event))
        elif not idle(program, event):
            groups = event.subject.fact(OptimizerFacts).groups
            given += [(root, event) for root in outermost([root for group in groups for root in roots_of(group.params)])]
    parts = {id(child.cls) for root, _ in given for _, child in submodules(root)[1:] if isinstance(child.cls, Class)}
    given += [(root, at) for root, at in program.alternatives if id(root.cls) not in parts]
    for root, at in given:
        part = not isinstance(root.cls, Class) and root.made_in is not None and kind_of_class(root.made_in) == "module"
        around = list(trained_in_parts(program, init, root))
        part = part or bool(around)  # the whole is told of, once
        for whole in (*(() if part else (root,)), *around):
            for model in one_of_several(whole):
                if (id(model), at.seq) not in seen and program.complete(at):
                    seen.add((id(model), at.seq))
                    yield model, at


def outermost(choices: list[Instance]) -> list[Instance]:
    """Of models of which one is trained (any that a module of the program defines, say), those that are no part of another."""
    if len(choices) < 2:
        return choices
    below = {id(child.cls) for root in choices for _, child in submodules(root)[1:] if isinstance(child.cls, Class)}
    return [root for root in choices if id(root.cls) not in below]


def one_of_several(model: Instance) -> list[Instance]:
    """The models that a wrapper may hold, where what it holds is one of several: each is a model of its own. Else the model
    itself."""
    if not isinstance(model.cls, Class):
        return [model]
    held_in = {
        name: [each for each in members(value) if isinstance(each, Instance) and each.kind == "module"]
        for name, value in model.fields.items()
        if isinstance(value, Value)
    }
    below = {
        name: {id(layer) for each in choices for _, layer in _weight_layers(each, (), set())}
        for name, choices in held_in.items()
    }
    for name, choices in held_in.items():
        if len(choices) > 1 and all(found <= below[name] for found in below.values()):  # a moving average of it holds it too
            return choices
    return [model]


def trained_in_parts(program: Program, init: Initialisation, part: Instance) -> Iterator[Instance]:
    """The model around `part` all of whose own layers some optimizer is given, part by part: an actor and its critic."""
    for outer in init.holders(part):
        if outer is part or outer.cls is not part.made_in or program.trained_by(outer):
            continue
        own = isinstance(part.cls, Class)
        if all(program.trained_by(layer) for _, layer in owned(outer)) and (own or not _parts_loaded(program, outer)):
            yield outer


def _parts_loaded(program: Program, module: Instance) -> bool:
    """Whether weights are loaded into something below `module`: what is new beside them is a head."""
    below = {id(child) for _, child in submodules(module)[1:]}
    return any(id(event.subject) in below for event in program.events(WeightsLoaded))


def _unreached(
    program: Program, init: Initialisation, begins: dict[int, int], model: Instance, event: Event
) -> Unreached | None:
    if model.fact(ModuleFacts).loss_class or init.too_late(event) or init.only_tested(model, event):
        return None
    if init.loaded(model, event.entry) and not init.too_late(event):
        return None  # it goes on from a checkpoint
    by_owner = owners(program, begins, model)
    fresh = [layer for owner in by_owner for layer in owner.layers if not init.loaded(layer, event.entry)]
    # parts of it come from a model that was loaded
    around_loaded = any(init.loaded(layer, event.entry) for _, layer in _weight_layers(model, (), set())) or any(
        init.loaded(child.owner, event.entry) for _, child in submodules(model) if child.owner is not child
    )
    if not fresh or _is_head(program, model, fresh, event, around_loaded):
        return None
    by_class: dict[int, list[Owner]] = defaultdict(list)
    for owner in by_owner:
        by_class[owner.key].append(owner)
    left: list[Owner] = []
    missed: set[str] = set()
    for same in by_class.values():
        every = [layer for owner in same for layer in owner.layers if not _tied(layer)]
        kinds: list[str] = []
        if not every:
            continue
        if not _speaks_for_itself(same[0].module) or init.escapes(every[0], harmless) or init.loaded(every[0], event.entry):
            continue
        if init.reaches_any(every):
            kinds = missed_kinds(program, init, every)
            forgotten = {id(layer) for layer in every if not init.reaches_any([layer])}
            picked = all(reached_by_hand(init, layer) for layer in every)
            if not kinds and (2 * len(forgotten) <= len(every) or not picked):
                continue
            if not kinds:  # one or the other was given weights of its own; most were given none
                same = [replace(one, layers=[layer for layer in one.layers if id(layer) in forgotten]) for one in same]
                same = [one for one in same if one.layers]
        missed |= set(kinds)
        left += same
    if not left:
        return None
    if not missed and init.reaches_any(fresh) and all(reached_by_kind(init, layer) for layer in fresh if init.reaches_any([layer])):
        rest = {layer_class(layer) for owner in left for layer in owner.layers}
        reached = {layer_class(layer) for layer in fresh if init.reaches_any([layer])}
        missed = {kind.rpartition(".")[2] for kind in rest - reached} if not rest & reached else set()
    unique = {owner.key: owner for owner in reversed(left)}
    beside = around_loaded or holds_pretrained(model, event.entry)
    return Unreached(_place(left), event, list(reversed(unique.values())), sorted(missed), beside, [model])


def _tied(layer: Instance) -> bool:
    """Its weight is that of another module: `decoder.weight = embedding.weight` says nothing of the layers beside it."""
    return any(
        isinstance(member, ParamSet) and member.elem and member.root is not layer
        for member in members(layer.fields.get("weight"))
    )


def _speaks_for_itself(module: Instance) -> bool:
    """Whether all that may initialise a module's layers is there to be read: its bases are known."""
    cls = module.cls
    if not isinstance(cls, Class):
        return True
    foreign = any(unknown(base) for base in cls.mro()) or any(name.startswith("transformers.") for name in cls.libraries())
    return cls.knows_bases and not foreign and not module.fact(ModuleFacts).loss_class


def owners(program: Program, begins: dict[int, int], model: Instance) -> list[Owner]:
    """Which module of the program built which weight layers below `model`, in the order in which it holds them."""
    found: dict[int, Owner] = {}
    for above, layer in _weight_layers(model, (), set()):
        at = _owner(begins, above, layer)
        if at is None or _only_by_choice(program, above[at], layer):
            continue
        owner = found.setdefault(id(above[at]), Owner(above[at], above[:at]))
        owner.layers.append(layer)
    return list(found.values())


def _weight_layers(
    module: Instance, above: tuple[Instance, ...], seen: set[int]
) -> Iterator[tuple[tuple[Instance, ...], Instance]]:
    """Layers with weights that the code shows, each with the modules that hold it; of a library's own model those that it
    was given when it was made."""
    if id(module) in seen or module.part_of is not None:
        return
    seen.add(id(module))
    if layer_class(module) in layers.WEIGHTED:
        yield above, module
        return
    known = module.fact(ModuleFacts)
    for name, value in list(module.fields.items()):
        if known.external and name not in known.adopted:
            continue
        for child in members(value) if isinstance(value, Value) else ():
            if isinstance(child, Instance) and child.kind == "module":
                yield from _weight_layers(child, (*above, module), seen)
            elif isinstance(child, ParamSet) and child.kind == "module":
                for root in roots_of(child):
                    yield from _weight_layers(root, (*above, module), seen)


def _owner(begins: dict[int, int], above: tuple[Instance, ...], layer: Instance) -> int | None:
    """Which of the modules above a layer built it: the innermost of the program in whose constructor (or by whose method) it
    was made, else the outermost Sequential, which nothing but the code that made the layer built."""
    for at in range(len(above) - 1, -1, -1):
        holder = above[at]
        if not isinstance(holder.cls, Class):
            continue
        within = begins.get(id(holder), holder.seq) < layer.seq < holder.seq
        if within or (layer.made_in is not None and any(layer.made_in is cls for cls in holder.cls.mro())):
            return at
    classes = {id(cls) for holder in above if isinstance(holder.cls, Class) for cls in holder.cls.mro()}
    plain = (
        at
        for at, holder in enumerate(above)
        # one that a module around it made holds what was there before
        if holder.library == "torch.nn.Sequential" and holder.part_of is None and id(holder.made_in) not in classes
    )
    return next(plain, None)


def _only_by_choice(program: Program, module: Instance, layer: Instance) -> bool:
    """A layer on a branch of `__init__` that the defaults do not take: the module mostly goes without it."""
    return any(step.taken is False for step in branches_within(program, module, layer))


def _is_head(program: Program, model: Instance, fresh: list[Instance], event: Event, around_loaded: bool) -> bool:
    """Whether all that is new is a head: a layer or two on a pretrained net, in the model or run beside it; or on a container
    of layers that are not known, which may be one."""
    parts = [child for _, child in submodules(model)]
    others = sum(layer_class(child) in layers.RECURRENT | layers.ATTENTION for child in parts)
    if len(fresh) + others > SMALL_HEAD:
        return False
    if any(part.fact(ModuleFacts).open and len(submodules(part)) == 1 for part in parts):
        return True
    if any(may_be_trained_already(part) for part in parts):
        return True
    return around_loaded or holds_pretrained(model, event.entry) or _runs_beside(program, model, event)


def _runs_beside(program: Program, model: Instance, event: Event) -> bool:
    """Whether the entry runs a net that no optimizer is given and that has loaded weights, or of which no gradient is asked:
    the model is trained on its features. One that is run in the same rounds, and whose output is not what the model is given,
    only stands beside it: a teacher."""
    mine = held(model)
    init = Initialisation.of(program)
    others = [
        forward
        for forward in program.events(Forward)
        if forward.entry == event.entry
        and isinstance(forward.subject, Instance)
        and id(forward.subject) not in mine
        and not program.trained_by(forward.subject)
        and (forward.grad is False or holds_pretrained(forward.subject) or init.loaded(forward.subject))
        and _has_weights(forward.subject)
    ]
    if not others:
        return False
    passes = [forward for forward in program.events(Forward) if forward.subject is model and forward.entry == event.entry]
    given = {id(tensor.module) for forward in passes for tensor in flow(*forward.inputs) if tensor.op == "call"}
    parts = {each for other in others if not other.depth for each in held(other.subject)}
    return any(
        id(other.subject) not in parts  # the model itself runs it
        if other.depth
        else id(other.subject) in given or not any(shared_loops(other, forward) for forward in passes)
        for other in others
    )


def _has_weights(module: Instance) -> bool:
    """A library's model, whose layers are not to be seen, has some."""
    return any(
        layer_class(part) in layers.WEIGHTED or layer_class(part) in layers.RECURRENT or part.fact(ModuleFacts).external
        for _, part in submodules(module)
    )


def missed_kinds(program: Program, init: Initialisation, every: list[Instance]) -> list[str]:
    """Kinds of layers that a helper's tests on layer classes leave out altogether, when they are more than the head."""
    by_kind: dict[str, list[Instance]] = defaultdict(list)
    for layer in every:
        by_kind[layer_class(layer)].append(layer)
    reached = {kind for kind, found in by_kind.items() if init.reaches_any(found)}
    if not all(reached_by_kind(init, layer) for kind in reached for layer in by_kind[kind]):
        return []
    return [
        kind.rpartition(".")[2]
        for kind in sorted(set(by_kind) - reached)
        if any(following(program, layer) not in (None, "none") for layer in by_kind[kind])
    ]


def reached_by_kind(init: Initialisation, layer: Instance) -> bool:
    """Whether what initialises a layer is a loop over modules that picks them by their class."""
    return all(
        isinstance(event.subject, ParamSet)
        and any(
            pred.op in ("isinstance", "classname_contains", "classname") and not pred.negated
            for pred in event.subject.preds
        )
        for event in init.reaching(layer)
    )


def reached_by_hand(init: Initialisation, layer: Instance) -> bool:
    """Whether what initialises a layer, if anything does, is given this very layer and no others."""
    return all(
        not isinstance(event.subject, ParamSet) or (event.subject.root is layer and all(pred.op == "attr" for pred in event.subject.preds))
        for event in init.reaching(layer)
    )


def _place(left: list[Owner]) -> Instance:
    """Where one fix reaches all: the class that owns them, or the innermost module that holds every one of them."""
    if len({owner.key for owner in left}) == 1:
        return left[0].module
    chains = [(*owner.above, owner.module) for owner in left]
    common = [at for at, *others in zip(*chains) if all(other is at for other in others)]
    ours = [at for at in common if isinstance(at.cls, Class)]
    if ours:
        return ours[-1]
    free = [at for at in common if isinstance(at.cls, Ref) and at.library == "torch.nn.Sequential"]
    return free[0] if free else left[0].module


def harmless(to: str) -> bool:
    """Whether code of that dotted name leaves a model that it is given as it is."""
    return to in frameworks.HARMLESS or to.startswith(frameworks.HARMLESS_PREFIXES)


__all__ = ["Owner", "Unreached", "harmless", "unreached_models"]
