"""Saved weights: what `torch.load` and its kin give, and what other readers of arrays give."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, behaves_below, function, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    CallFacts,
    Dict,
    Instance,
    Ref,
    Sequence,
    Value,
    members,
)
from tricklint.libraries.facts import CheckpointFacts
from tricklint.libraries.tensors import Tensor
from tricklint.libraries.torch_forward import forward
from tricklint.libraries.unknown_freezes import unknown_freeze


@function(
    "torch.load", "torch.hub.load_state_dict_from_url", "torch.utils.model_zoo.load_url",
    "torchvision.models.utils.load_state_dict_from_url", "torchvision._internally_replaced_utils.load_state_dict_from_url",
    "safetensors.torch.load_file",
)  # fmt: skip
def checkpoint(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "checkpoint"
    made.fact(CheckpointFacts).source = name
    return made


# Readers of arrays: weights of other frameworks come in such files, and so does data
ARRAYS = (
    "numpy.load", "pickle.load", "joblib.load", "h5py.File", "scipy.io.loadmat", "numpy.loadtxt", "numpy.fromfile",
    "safetensors.safe_open", "safetensors.numpy.load_file", "gensim.models.KeyedVectors.load_word2vec_format",
    "tensorflow.train.load_checkpoint", "tensorflow.train.load_variable",
)  # fmt: skip


def saved(value: Value | None) -> Instance | None:
    """The file that a value was read from, through conversions: `torch.from_numpy(np.load(path)["kernel"]).t()`."""
    stack: list[Value] = list(members(value))
    seen: set[int] = set()
    while stack and len(seen) < 60:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, Tensor):
            if at.op == "call":
                continue  # what a module computes of it is no longer what was saved
            stack.extend(member for given in at.inputs for member in members(given))
        elif isinstance(at, Instance):
            if at.kind == "checkpoint" or at.library.startswith(ARRAYS):
                return at
            if not at.kind and at.library:
                stack.extend(member for given in (*at.args, *at.kwargs.values()) for member in members(given))
                if at.has(CallFacts) and at.fact(CallFacts).of is not None:
                    stack.append(at.fact(CallFacts).of)  # type: ignore[arg-type]
    return None


@behaves("checkpoint")
@behaves_below(*ARRAYS)
class Saved(Behaviour):
    """A file of arrays: each of them is as good as the file. Or a whole model was pickled."""

    def set_attribute(self, m: Machine, value: Instance, name: str, new: Value, node: cst.CSTNode) -> bool:
        unknown_freeze(m, name, new, node)
        return False

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return value

    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return forward(m, whole_model(value), args, node) if value.kind == "checkpoint" else None


def whole_model(saved: Instance) -> Instance:
    """The one model that a file holds, where what it gives is used as one."""
    known = saved.fact(CheckpointFacts)
    if known.model is None:
        known.model = Instance(Ref("<unknown>.Model"), saved.node, saved.file)
        known.model.kind = "guessed"
    return known.model


@method("checkpoint", "items")
def pairs(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    """Names, and what was saved under them."""
    pair = Sequence("tuple", (UNKNOWN, value), False, node, m.file)
    return Sequence("list", (pair,), True, node, m.file)


@method("checkpoint", "values")
def contents(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return Sequence("list", (value,), True, node, m.file)


@method("checkpoint", "get", "pop", "state_dict", "copy")
def same_checkpoint(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return value


UPDATED = "<updated>"
CHANGED = "<changed>"


@behaves("state_dict")
class StateDict(Behaviour):
    """A module's own weights, by their names: some of them may be replaced by those of a checkpoint."""

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name not in ("keys", "copy"):
            m.write(value.fields, CHANGED, UNKNOWN)  # or its tensors are given out, and may be
        if name != "update":
            return None
        for given in args.positional:
            self.set_item(m, value, UNKNOWN, given, node)
        return NONE

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        m.write(value.fields, CHANGED, UNKNOWN)
        return None

    def set_item(self, m: Machine, value: Instance, index: Value, new: Value, node: cst.CSTNode) -> bool:
        m.write(value.fields, CHANGED, UNKNOWN)
        if (source := checkpoint_in(new)) is not None:
            m.write(value.fields, UPDATED, source)
        return True


def checkpoint_in(weights: Value | None) -> Instance | None:
    """The checkpoint that weights come from, also where they were put into another dict name by name."""
    for member in members(weights):
        if isinstance(member, Instance) and member.kind == "checkpoint":
            return member
        held: list[Value] = []
        if isinstance(member, Dict):
            held = list(member.fields.values())
        elif isinstance(member, Instance) and member.kind == "state_dict":
            held = [value for key, value in member.fields.items() if key == UPDATED]
        for value in held:
            for each in members(value):
                if isinstance(each, Instance) and each.kind == "checkpoint":
                    return each
    return None
