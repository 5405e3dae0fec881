"""What a class's own `__new__` gives is its instance."""

from __future__ import annotations

import pytest

from tricklint.interpreter.values import number

ONE = """
class Config:
    _only = None

    def __new__(cls, *args, **kwargs):
        if cls._only is None:
            cls._only = {new}
            cls._only.size = 64
        return cls._only

first, second = Config(), Config()
first.rate = 3
"""


@pytest.mark.parametrize("new", ["super().__new__(cls)", "super(Config, cls).__new__(cls)", "object.__new__(cls)"])
def test_there_is_one_object(program, new):
    names = next(iter(program({"train.py": ONE.format(new=new)}).project.loaded())).names
    assert names["first"] is names["second"]
    assert number(names["second"].fields["size"]) == 64
    assert number(names["second"].fields["rate"]) == 3


def test_init_runs_on_what_new_gives(program):
    text = """
    class Pair:
        def __new__(cls, left, right):
            made = super().__new__(cls)
            made.both = left + right
            return made

        def __init__(self, left, right):
            self.left = left

    pair = Pair(2, 3)
    """
    pair = next(iter(program({"train.py": text}).project.loaded())).names["pair"]
    assert [number(pair.fields[name]) for name in ("both", "left")] == [5, 2]


def test_new_that_gives_something_else_leaves_the_instance(program):
    text = """
    class Net:
        def __new__(cls, kind):
            return REGISTRY[kind]

        def __init__(self, kind):
            self.kind = kind

    net = Net(4)
    """
    net = next(iter(program({"train.py": text}).project.loaded())).names["net"]
    assert number(net.fields["kind"]) == 4
