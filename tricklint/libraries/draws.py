"""Some of many, drawn at random: `random.sample(memory, size)`, `torch.randint(len(data), (size,))`, `rng.choice(n, size)`."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves_below, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.picks import picked
from tricklint.interpreter.values import Instance, Value
from tricklint.libraries.builtins import make_range
from tricklint.libraries.strangers import stranger
from tricklint.libraries.torch import tensor_function

# Where the number stands that is drawn, first of all by position
_NUMBERS: dict[str, tuple[tuple[int, ...], str]] = {
    "random.sample": ((1,), "k"),
    "random.choices": ((), "k"),
    "numpy.random.choice": ((1,), "size"),
    "numpy.random.randint": ((2,), "size"),
    "torch.randint": ((1, 2), "size"),
    "torch.multinomial": ((1,), "num_samples"),
}
_OF_A_GENERATOR = {"choice": "numpy.random.choice", "integers": "numpy.random.randint", "randint": "numpy.random.randint"}


def draw(m: Machine, name: str, node: cst.CSTNode) -> None:
    """Emits Picked for a call that says how many it draws: by a number, or by a shape of one."""
    places, keyword = _NUMBERS[name]
    for at, arg in enumerate(node.args if isinstance(node, cst.Call) else ()):
        if arg.star or not (arg.keyword.value == keyword if arg.keyword is not None else at in places):
            continue
        size = arg.value
        shape = isinstance(size, (cst.Tuple, cst.List))
        if isinstance(size, (cst.Tuple, cst.List)):
            if len(size.elements) != 1:
                continue
            size = size.elements[0].value
        if shape or name != "torch.randint":  # which takes shapes alone
            picked(m, size, m.eval(size), node)


@function("random.sample", "random.choices", "numpy.random.choice", "numpy.random.randint")
def drawn(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    draw(m, name, node)
    return stranger(m, name, args, node)


@function("torch.randint", "torch.multinomial")
def drawn_tensor(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    draw(m, name, node)
    return tensor_function(m, name, args, node)


@behaves_below("numpy.random.default_rng", "numpy.random.RandomState", "random.Random")
class Generator(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "sample" and value.library == "random.Random":
            draw(m, "random.sample", node)
        elif name in _OF_A_GENERATOR:
            draw(m, _OF_A_GENERATOR[name], node)
        return None


function("numpy.arange")(make_range)
