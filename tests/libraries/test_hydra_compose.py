"""Configurations are composed as Hydra itself composes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tricklint.interpreter.machine import Frame, Machine
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import Const, Namespace, Sequence
from tricklint.libraries.hydra_compose import Composer
from tricklint.libraries.omegaconf import finished
from tricklint.program import Program
from tricklint.source.text import Source

TREES: dict[str, dict[str, str]] = {
    "plain": {"config": "a: 1\nb: {c: 1e-4, d: [1, x]}\n"},
    "group": {"config": "defaults:\n  - optim: sgd\n  - _self_\nlr: 1\n", "optim/sgd": "lr: 0.1\n"},
    "self first": {"config": "defaults: [_self_, {optim: sgd}]\noptim: {lr: 5}\n", "optim/sgd": "lr: 0.1\nwd: 1\n"},
    "self last": {"config": "defaults: [{optim: sgd}, _self_]\noptim: {lr: 5}\n", "optim/sgd": "lr: 0.1\nwd: 1\n"},
    "no self": {"config": "defaults: [{optim: sgd}]\noptim: {lr: 5}\n", "optim/sgd": "lr: 0.1\nwd: 1\n"},
    "two of a group": {"config": "defaults: [{cb: [a, b]}]\n", "cb/a": "x: 1\n", "cb/b": "y: 2\nx: 3\n"},
    "null option": {"config": "defaults: [{optim: null}]\na: 1\n", "optim/sgd": "lr: 0.1\n"},
    "package": {"config": "defaults: [{optim@opt: sgd}]\n", "optim/sgd": "lr: 0.1\n"},
    "global header": {"config": "defaults: [{exp: one}]\nlr: 1\n", "exp/one": "# @package _global_\nlr: 3\n"},
    "override in experiment": {
        "config": "defaults: [{optim: sgd}, _self_, {exp: one}]\n",
        "optim/sgd": "lr: 0.1\n",
        "optim/adam": "lr: 0.001\nbetas: [1, 2]\n",
        "exp/one": "# @package _global_\ndefaults: [{override /optim: adam}]\noptim: {lr: 7}\n",
    },
    "nested relative": {
        "config": "defaults: [{model: net}]\n",
        "model/net": "defaults: [{head: big}, _self_]\nwidth: 2\n",
        "model/head/big": "size: 5\n",
    },
    "nested absolute": {
        "config": "defaults: [{model: net}]\n",
        "model/net": "defaults: [{/optim: sgd}]\nwidth: 2\n",
        "optim/sgd": "lr: 0.1\n",
    },
    "nested absolute with package": {
        "config": "defaults: [{model: net}]\n",
        "model/net": "defaults: [{/optim@_global_.optimizer: sgd}]\nwidth: 2\n",
        "optim/sgd": "lr: 0.1\n",
    },
    "here": {
        "config": "defaults: [{model: net}]\n",
        "model/net": "defaults: [{/optim@_here_: sgd}]\n",
        "optim/sgd": "lr: 0.1\n",
    },
    "base of the same group": {
        "config": "defaults: [{model: big}]\n",
        "model/big": "defaults: [base]\nwidth: 9\n",
        "model/base": "width: 1\ndepth: 2\n",
    },
    "optional": {"config": "defaults: [{optional optim: none}, _self_]\na: 1\n", "b": "x: 1\n"},
    "deep group": {"config": "defaults: [{a/b: c}]\n", "a/b/c": "x: 1\n"},
    "option from a choice": {
        "config": "defaults: [{data: cifar}, {model: '${data}_net'}]\n",
        "data/cifar": "n: 10\n",
        "model/cifar_net": "w: 1\n",
    },
    "interpolations": {
        "config": "lr: 0.1\nopt: {lr: '${lr}', wd: '${.lr}', name: 'x_${lr}', deep: {up: '${..wd}'}}\n"
        "env: ${oc.env:TRICKLINT_NOT_SET,0.5}\nsame: ${opt.deep}\n",
    },
    "interpolation and override": {
        "config": "defaults: [{optim: sgd}, _self_]\nlr: 2\n",
        "optim/sgd": "lr: ${lr}\nlist: [1, '${lr}']\n",
    },
    "aliases": {"config": "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"},
}  # fmt: skip


def plain(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {key: plain(each) for key, each in value.fields.items()}
    if isinstance(value, Sequence):
        return [plain(each) for each in value.items]
    assert isinstance(value, Const), value
    return value.value


def compositions(folder: Path) -> list[Any]:
    """What main is followed with, one for every option that may be picked."""
    machine, module = machine_in(folder)
    with machine.inside(Frame(None, module, module.names, (), 0)):
        every = Composer(machine, folder / "conf", module.tree.module).compositions("config")
        return [plain(finished(machine, each)) for each in every]


def machine_in(folder: Path) -> tuple[Machine, FileModule]:
    script = folder / "train.py"
    program = Program({script: Source.from_text(script, "x = 1\n")}, [script], [folder], lambda path: None)
    module = program.project.module(script)
    assert module is not None
    return program.interpreter, module


def composed(folder: Path, overrides: list[str]) -> Any:
    machine, module = machine_in(folder)
    with machine.inside(Frame(None, module, module.names, (), 0)):
        raw = Composer(machine, folder / "conf", module.tree.module).config("config", overrides)
        assert raw is not None
        return plain(finished(machine, raw))


@pytest.mark.parametrize("name", TREES)
def test_as_hydra_does(name: str, tmp_path: Path) -> None:
    hydra = pytest.importorskip("hydra")
    omegaconf = pytest.importorskip("omegaconf")
    for path, text in TREES[name].items():
        file = tmp_path / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with hydra.initialize_config_dir(version_base=None, config_dir=str(tmp_path / "conf")):
        wanted = omegaconf.OmegaConf.to_container(hydra.compose("config"), resolve=True)
    assert composed(tmp_path, []) == wanted


def test_overrides_of_compose(tmp_path: Path) -> None:
    hydra = pytest.importorskip("hydra")
    omegaconf = pytest.importorskip("omegaconf")
    for path, text in TREES["override in experiment"].items():
        file = tmp_path / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    overrides = ["optim=adam", "optim.lr=1e-3", "+extra=[1,2]"]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(tmp_path / "conf")):
        wanted = omegaconf.OmegaConf.to_container(hydra.compose("config", overrides), resolve=True)
    assert composed(tmp_path, overrides) == wanted


PICKS: dict[str, tuple[dict[str, str], list[Any]]] = {
    "one of two": (
        {"config": "defaults: [{model: '???'}]\n", "model/a": "width: 1\n", "model/b": "width: 2\n"},
        [{"model": {"width": 1}}, {"model": {"width": 2}}],
    ),
    "an option that is not there": (
        {"config": "defaults: [{model: mnist}, _self_]\nlr: 1\n", "model/a": "width: 1\n"},
        [{"model": {"width": 1}, "lr": 1}],
    ),
    "those of one name go together": (
        {
            "config": "defaults: [{data: '???'}, {model: '???'}]\n",
            "data/a": "size: 1\n",
            "data/c": "size: 3\n",
            "model/b": "width: 2\n",
            "model/c": "width: 3\n",
        },
        [
            {"data": {"size": 3}, "model": {"width": 3}},
            {"data": {"size": 1}, "model": {"width": 2}},
        ],
    ),
    "no more than four": (
        {"config": "defaults: [{model: '???'}]\n", **{f"model/{name}": f"name: {name}\n" for name in "abcdefg"}},
        [{"model": {"name": name}} for name in "abcd"],
    ),
    "none, and optional": (
        {
            "config": "defaults: [{model: null}, {optional local: none}, _self_]\nlr: 1\n",
            "model/a": "x: 1\n",
            "local/b": "x: 1\n",
        },
        [{"lr": 1}],
    ),
    "no such group": ({"config": "defaults: [{model: '???'}, _self_]\nlr: 1\n"}, [{"lr": 1}]),
}


@pytest.mark.parametrize("name", PICKS)
def test_options_that_have_to_be_picked(name: str, tmp_path: Path) -> None:
    files, wanted = PICKS[name]
    for path, text in files.items():
        file = tmp_path / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert compositions(tmp_path) == wanted
