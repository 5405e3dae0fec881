"""Where a decay is configured, in a file or on a command line, TRK601 knows its default, and names the file it stands in.

Each program is the same but for how it is configured: `decay` says what is handed to SGD, `load` what `main` does first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent

import pytest

from tricklint.check import Options, run
from tricklint.settings import load

NET = """
import torch
from torch import nn
{imports}
{before}
{decorator}
def main({param}):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
{load}
    optimizer = {optimizer}
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(1, 3, 8, 8)).mean().backward()
        optimizer.step()


if __name__ == "__main__":
{start}
"""
SGD = "torch.optim.SGD(model.parameters(), lr=0.1, weight_decay={})"
PARSER = "parser = argparse.ArgumentParser()\n"


@dataclass
class Case:
    decay: str = ""
    imports: str = ""
    param: str = ""
    load: str = ""
    before: str = ""
    decorator: str = ""
    start: str = "main()"
    optimizer: str = ""
    script: str = "train.py"
    files: dict[str, str] = field(default_factory=dict)
    place: str = ""  # where the evidence says that the decay stands; "-": nothing is found

    @property
    def text(self) -> str:
        return NET.format(
            imports=self.imports,
            before=self.before,
            decorator=self.decorator,
            param=self.param,
            load=indent(self.load, "    "),
            optimizer=self.optimizer or SGD.format(self.decay),
            start=indent(self.start, "    "),
        )


def hydra(decay: str, place: str, files: dict[str, str], path: str = "conf", name: str = "config", **more: str) -> Case:
    imports = "import hydra\n" + more.pop("imports", "")
    decorator = f'@hydra.main(version_base=None, config_path="{path}", config_name="{name}")'
    return Case(decay, imports, "cfg", decorator=decorator, files=files, place=place, **more)  # type: ignore[arg-type]


def experiment(option: str, place: str) -> Case:
    files = {
        "configs/train.yaml": f"defaults:\n  - _self_\n  - optim: {'plain' if option == 'decayed' else 'decayed'}\n  - experiment: long\n",
        "configs/optim/plain.yaml": "weight_decay: 0.0\n",
        "configs/optim/decayed.yaml": "weight_decay: 5e-4\n",
        "configs/experiment/long.yaml": f"# @package _global_\ndefaults:\n  - override /optim: {option}\n",
    }
    return hydra("cfg.optim.weight_decay", place, files, "../configs", "train.yaml", script="src/train.py")


STORED = """
@dataclass
class Sgd:
    decay: float = 0.01


@dataclass
class Config:
    defaults: list = field(default_factory=lambda: ["_self_", {"optim": "sgd"}])


store = ConfigStore.instance()
store.store(group="optim", name="sgd", node=Sgd)
store.store(name="base", node=Config)
"""
HELPER = """
from importlib import import_module


def build(spec, **given):
    {found}
    made = {{**given}}
    for key in spec["args"]:
        value = spec["args"][key]
        made[key] = build(value) if type(value) is dict else value
    return cls(**made)
"""
OUTSIDE = PARSER + 'parser.add_argument("--config", required=True)\nmain(parser.parse_args())'


def helper(found: str) -> Case:
    """A helper finds a class that a file names, and makes it of what the file says and of what it is handed."""
    files = {
        "tools.py": HELPER.format(found=found),
        "run.json": '{"optim": {"class": "torch.optim.SGD", "args": {\n "weight_decay": 0.01, "lr": 0.1}}}',
    }
    return Case(
        imports="import json\nfrom tools import build", load='config = json.load(open("run.json"))', place="run.json:2",
        files=files, optimizer='build(config["optim"], params=model.parameters())')  # fmt: skip


CASES = {
    # Hydra
    "an experiment overrides a group": experiment("decayed", "configs/optim/decayed.yaml:1"),
    "an experiment overrides a group with none": experiment("plain", "-"),
    "an interpolation": hydra("cfg.optim.wd", "conf/config.yaml:1", {"conf/config.yaml": "decay: 0.01\noptim: {wd: '${decay}'}\n"}),
    "a value to be given": hydra("cfg.optim.wd", "-", {"conf/config.yaml": "optim:\n  wd: ???\n"}),
    "no such file": hydra("cfg.optim.wd", "-", {"conf/other.yaml": "optim:\n  wd: 0.1\n"}),
    "a group of the experiment that is not there": hydra("cfg.optim.wd", "-", {"conf/config.yaml": "defaults: [{optim: lost}]\n"}),
    "instantiate, partial": hydra(
        "", "conf/config.yaml:5", {"conf/config.yaml": "optim:\n  _target_: torch.optim.AdamW\n  _partial_: true\n  lr: 0.1\n  weight_decay: 0.1\n"},
        optimizer="hydra.utils.instantiate(cfg.optim)(model.parameters())"),
    "instantiate": hydra(
        "", "conf/optim/adamw.yaml:2",
        {"conf/config.yaml": "defaults: [{optim: adamw}]\n", "conf/optim/adamw.yaml": "_target_: torch.optim.AdamW\nweight_decay: 0.1\n"},
        optimizer="hydra.utils.instantiate(cfg.optim, params=model.parameters())"),
    "instantiate, a default of the target": hydra(
        "", "", {"conf/config.yaml": "optim:\n  _target_: torch.optim.AdamW\n"},
        optimizer="hydra.utils.instantiate(cfg.optim, model.parameters())"),
    "the config store": hydra("cfg.optim.decay", "", {}, name="base", before=STORED,
                              imports="from dataclasses import dataclass, field\nfrom hydra.core.config_store import ConfigStore\n"),
    "a node over the config store": hydra(
        "cfg.optim.decay", "-", {"conf/main.yaml": "defaults: [base, _self_]\noptim: {decay: 0.0}\n"}, name="main", before=STORED,
        imports="from dataclasses import dataclass, field\nfrom hydra.core.config_store import ConfigStore\n"),
    "compose": Case(
        "cfg.wd", "from hydra import compose, initialize", files={"conf/config.yaml": "wd: 0.0\n"},
        load='with initialize(version_base=None, config_path="conf"):\n    cfg = compose("config", overrides=["wd=0.1"])'),
    # OmegaConf
    "merged": Case(
        "cfg.decay", "from omegaconf import OmegaConf", files={"base.yaml": "wd: 0.0\ndecay: ${wd}\n", "run.yaml": "wd: 0.1\n"},
        load='cfg = OmegaConf.merge(OmegaConf.load("base.yaml"), OmegaConf.load("run.yaml"), OmegaConf.from_cli())', place="run.yaml:1"),
    "structured": Case(
        "cfg.wd", "from dataclasses import dataclass\nfrom omegaconf import OmegaConf", before="@dataclass\nclass C:\n    wd: float = 0.1\n",
        load="cfg = OmegaConf.structured(C)"),
    "endless interpolation": Case(
        "cfg.a", "from omegaconf import OmegaConf", load='cfg = OmegaConf.load("a.yaml")', files={"a.yaml": "a: ${b}\nb: ${a}\n"}, place="-"),
    # files that the program reads
    "beside the script": Case(
        'config["train"]["wd"]', "from pathlib import Path\nimport yaml", script="src/train.py",
        load='config = yaml.safe_load((Path(__file__).resolve().parent.parent / "configs" / "base.yml").read_text())',
        files={"configs/base.yml": "defaults: &d {wd: 0.05}\ntrain:\n  <<: *d\n"}, place="configs/base.yml:1"),
    "joined": Case(
        'config["wd"]', "import os\nimport yaml",
        load='with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "conf", "a.yaml")) as f:\n    config = yaml.safe_load(f)',
        files={"conf/a.yaml": "wd: 0.05\n"}, place="conf/a.yaml:1"),
    "YAML's text for a number": Case('config["wd"]', "import yaml", load='config = yaml.safe_load(open("a.yaml"))', files={"a.yaml": "wd: 1e-4\n"}, place="-"),
    "into a namespace": Case(
        "float(config.wd)", "import argparse\nimport types\nimport yaml", "args",
        load="config = types.SimpleNamespace(**yaml.load(open(args.config), Loader=yaml.FullLoader))",
        start=PARSER + 'parser.add_argument("--config", default="a.yaml")\nmain(parser.parse_args())',
        files={"a.yaml": "wd: 1e-4\n"}, place="a.yaml:1"),
    "two could be meant": Case(
        'config["wd"]', "import yaml", load='config = yaml.safe_load(open("a.yaml"))', script="src/train.py",
        files={"a.yaml": "wd: 0.1\n", "src/a.yaml": "wd: 0.0\n"}, place="-"),
    "outside of the project": Case('config["wd"]', "import yaml", load='config = yaml.safe_load(open("../../a.yaml"))', place="-"),
    "TOML, unpacked": Case(
        imports="import tomllib", load='with open("run.toml", "rb") as file:\n    options = tomllib.load(file)["optim"] | {"lr": 0.1}',
        optimizer="torch.optim.SGD(model.parameters(), **options)", files={"run.toml": "[optim]\nweight_decay = 0.01\n"}, place="run.toml:2"),
    "JSON": Case('c["optim"]["wd"]', "import json", load='c = json.loads(open("a.json").read())',
                 files={"a.json": '{"lr": 1,\n "optim": {"wd": 1e-4}}'}, place="a.json:2"),
    "JSON, read without a loader of ours": Case('c["wd"]', "import json", load='c = json.load(open("a.bin"))', files={"a.bin": '{"wd": 1}'}, place="-"),
    "into the parser": Case(
        "args.wd", "import argparse\nimport json", "args", files={"run.json": '{"wd": 0.01}\n'}, place="run.json:1",
        start=PARSER + 'parser.add_argument("--wd", type=float, default=0.0)\nparser.set_defaults(**json.load(open("run.json")))\nmain(parser.parse_args())'),
    "yacs, merged": Case(
        "_C.WD", "from yacs.config import CfgNode as CN", before="_C = CN()\n_C.WD = 0.0\n", load='_C.merge_from_file("a.yaml")',
        files={"a.yaml": "WD: 1e-2\n"}, place="a.yaml:1"),
    "dacite": Case(
        "c.optim.wd", "import dacite\nimport yaml\nfrom dataclasses import dataclass",
        before="@dataclass\nclass Optim:\n    wd: float = 0.0\n\n@dataclass\nclass C:\n    optim: Optim\n",
        load='c = dacite.from_dict(C, yaml.safe_load(open("a.yaml")))', files={"a.yaml": "optim: {wd: 0.5}\n"}, place="a.yaml:1"),
    "INI": Case(
        'float(config["train"]["wd"])', "import configparser", files={"run.ini": "[data]\nwd = 0\n\n[train]\nlr = 0.1\nWD: 0.01\n"}, place="run.ini:6",
        load='config = configparser.ConfigParser()\nconfig.read("run.ini")'),
    "INI, asked for a number": Case(
        'config.getfloat("train", "wd")', "import argparse\nfrom configparser import ConfigParser", "args", place="conf/run.cfg:3",
        load="config = ConfigParser()\nconfig.read(args.config)", files={"conf/run.cfg": "[DEFAULT]\nlr = 0.1\nwd = 1e-2\n[train]\nepochs = 3\n"},
        start=PARSER + 'parser.add_argument("--config", default="conf/run.cfg")\nmain(parser.parse_args())'),
    "INI, not in it": Case(
        'config["train"].getfloat("wd", 0.01)', "import configparser", files={"run.ini": "[train]\nlr = 0.1\n"},
        load='config = configparser.ConfigParser()\nconfig.read("run.ini")'),
    "INI, refers to another": Case(
        'config.getfloat("train", "wd")', "import configparser", files={"run.ini": "[train]\nbase = 0.01\nwd = %(base)s\n"}, place="-",
        load='config = configparser.ConfigParser()\nconfig.read("run.ini")'),
    # command lines
    "absl, the flag itself": Case(
        "_WD.value", "from absl import app, flags", "_", before='_WD = flags.DEFINE_float("wd", 0.05, "decay")', start="app.run(main)"),
    "absl, in another file": Case("FLAGS.wd", "from absl.flags import FLAGS\nimport options", files={
        "options.py": 'from absl import flags\nflags.DEFINE_float("wd", 0.05, "decay")\n'}),
    "absl, no such flag": Case("FLAGS.wd", "from absl.flags import FLAGS", place="-"),
    "ml_collections": Case(
        "FLAGS.config.optim.wd", "from absl import app, flags\nfrom ml_collections import config_flags", "_", start="app.run(main)",
        before='FLAGS = flags.FLAGS\nconfig_flags.DEFINE_config_file("config", "configs/default.py")',
        files={"configs/default.py": "import ml_collections\ndef get_config():\n    c = ml_collections.ConfigDict()\n    c.optim = ml_collections.ConfigDict()\n    c.optim.wd = 0.1\n    return c\n"}),
    "optparse": Case(
        "opts.wd", "from optparse import OptionParser", "opts",
        start='parser = OptionParser()\nparser.add_option("--wd", dest="wd", type="float", default=0.01)\n(options, _) = parser.parse_args()\nmain(options)'),
    "jsonargparse, a class": Case(
        "options.wd", "from jsonargparse import ArgumentParser", "options",
        before="class Options:\n    def __init__(self, wd: float = 0.01):\n        self.wd = wd\n",
        start='parser = ArgumentParser()\nparser.add_class_arguments(Options, "options")\nmain(parser.parse_args().options)'),
    "jsonargparse, a default file": Case(
        "args.optim.wd", "from jsonargparse import ArgumentParser", "args", files={"a.yaml": "optim:\n  wd: 0.1\n"}, place="a.yaml:2",
        start='parser = ArgumentParser(default_config_files=["a.yaml"])\nparser.add_argument("--optim.wd", default=0.0)\nmain(parser.parse_args())'),
    "tyro, nested": Case(
        "config.optim.wd", "from dataclasses import dataclass, field\nimport tyro", "config",
        before="@dataclass\nclass Optim:\n    wd: float = 0.01\n\n@dataclass\nclass Config:\n    optim: Optim = field(default_factory=Optim)\n",
        start="main(tyro.cli(Config))"),
    "tyro, a function of a dataclass": Case(
        "config.wd", "from dataclasses import dataclass\nimport tyro", "config: Config",
        before="@dataclass\nclass Config:\n    wd: float = 0.01\n", start="tyro.cli(main)"),
    "pyrallis": Case(
        "config.wd", "from dataclasses import dataclass\nimport pyrallis", "config: Config", decorator="@pyrallis.wrap()",
        before="@dataclass\nclass Config:\n    wd: float = 0.01\n"),
    "fire": Case("wd", "import fire", "wd=0.01", start="fire.Fire(main)"),
    "docopt": Case(
        'float(args["--wd"])', "from docopt import docopt", "args", start="main(docopt(USAGE))",
        before='USAGE = """Train.\n\nUsage: train.py [--wd=<wd>]\n\nOptions:\n  --wd=<wd>  Decay of the weights [default: 0.05].\n"""'),
    "sacred": Case("wd", "import sacred", "wd", before="ex = sacred.Experiment()\n\n@ex.config\ndef config():\n    lr = 0.1\n    wd = lr * 0.1\n",
                   decorator="@ex.automain", start="pass"),
    # what the program takes where nobody tells it otherwise
    "no argument is given": Case(
        'config["wd"]', "import json\nimport sys", files={"base.json": '{"wd": 0.01}'}, place="base.json:1",
        load='name = "base"\nif len(sys.argv) > 1:\n    name = sys.argv[1]\nconfig = json.load(open(f"{name}.json"))'),
    "no argument is given, in one expression": Case(
        'config["wd"]', "import yaml\nfrom sys import argv", files={"a.yaml": "wd: 0.01\n"}, place="a.yaml:1",
        load='path = argv[1] if len(argv) == 2 else "a.yaml"\nwith open(path) as file:\n    config = yaml.safe_load(file)'),
    "an argument must be given": Case(
        'config["wd"]', "import json\nimport sys", files={"base.json": '{"wd": 0.01}'}, place="-",
        load='if len(sys.argv) < 2:\n    sys.exit("usage: train.py NAME")\nconfig = json.load(open(sys.argv[1]))'),
    "beside the key": Case('config.get("wd", 0.01)', "import argparse\nimport json", "args", load="config = json.load(open(args.config))", start=OUTSIDE),
    "beside the key, below another": Case(
        'float(config["optim"].pop("wd", 0.01))', "import argparse\nimport yaml", "args", load="config = yaml.safe_load(open(args.config))", start=OUTSIDE),
    "beside the key, none": Case('config.get("wd", 0.0)', "import argparse\nimport json", "args", place="-", load="config = json.load(open(args.config))", start=OUTSIDE),
    "beside the key of what is unpacked": Case(
        'options.get("wd", 0.01)', "import argparse\nimport json", "**options", start=OUTSIDE.replace("main(parser.parse_args())", "main(**json.load(open(parser.parse_args().config)))")),
    "nothing beside the key": Case('config.get("wd")', "import argparse\nimport json", "args", place="-", load="config = json.load(open(args.config))", start=OUTSIDE),
    "the file beside the code, where there is none in the folder": Case(
        'config["wd"]', "import argparse\nimport yaml\nfrom pathlib import Path", "args", script="src/train.py",
        load='path = Path(args.config)\nif not path.is_absolute():\n    here = (Path.cwd() / path).resolve()\n    path = here if here.exists() else (ROOT / path).resolve()\n'
        "config = yaml.safe_load(path.read_text())", before="ROOT = Path(__file__).resolve().parents[1]\n",
        start=PARSER + 'parser.add_argument("--config", default=str(ROOT / "conf" / "a.yaml"))\nmain(parser.parse_args())',
        files={"conf/a.yaml": "wd: 0.01\n"}, place="conf/a.yaml:1"),
    "a file that must be there": Case(
        'config["wd"]', "import json\nimport os", files={"a.json": '{"wd": 0.01}'}, place="a.json:1",
        load='config = {}\nif os.path.isfile("a.json"):\n    config = json.load(open("a.json"))\nelse:\n    config["wd"] = 0.0'),
    "a class that a file names": helper('module, _, name = spec["class"].rpartition(".")\n    cls = getattr(import_module(module), name)'),
    "a class that a file names, cut by hand": helper(
        'dotted = spec["class"]\n    cls = getattr(import_module(dotted[: dotted.rfind(".")]), dotted[dotted.rfind(".") + 1 :])'),
    # elsewhere
    "wandb": Case("wandb.config.wd", "import wandb", load='wandb.init(project="p", config={"wd": 0.01})'),
    "a sweep of one value": Case(
        "run.config.wd", "import wandb", load='run = wandb.init(config={"wd": 0.01})', place="-",
        start='sweep = wandb.sweep({"method": "grid", "parameters": {"wd": {"value": 0.0}}})\nwandb.agent(sweep, function=main)'),
    "a named tuple": Case("config.wd", "from collections import namedtuple", before='Config = namedtuple("Config", "lr wd", defaults=[0.01])', load="config = Config(0.1)"),
    "the environment's default": Case('float(os.getenv("WD", "0.01"))', "import os"),
    "the environment": Case('float(os.environ["WD"])', "import os", place="-"),
    "asdict": Case(
        "", "from dataclasses import asdict, dataclass", before="@dataclass\nclass C:\n    lr: float = 0.1\n    weight_decay: float = 0.1\n",
        optimizer="torch.optim.SGD(model.parameters(), **asdict(C()))"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_decay_is_known(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    check(tmp_path, case.script, {case.script: case.text, **case.files}, case.place)


def check(tmp_path: Path, script: str, files: dict[str, str], place: str) -> None:
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / ".git").mkdir()
    report = run([tmp_path], load([tmp_path], isolated=True, options={"select": ["TRK601"]}), Options(cache=False))
    assert not report.problems
    if place == "-":
        assert not report.findings
        return
    (finding,) = report.findings
    assert finding.path == tmp_path / script
    told = [
        f"{each.path.relative_to(tmp_path)}:{each.location.row}"
        for each in finding.evidence
        if each.message == "the decay stands here"
    ]
    assert told == ([place] if place else [])


LIT = """
import torch
from lightning.pytorch import LightningModule
from torch import nn
{imports}

class Lit(LightningModule):
    def __init__(self, wd: float = {default}):
        super().__init__()
        self.wd = wd
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    def training_step(self, batch, index):
        return self.net(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=self.wd)


if __name__ == "__main__":
    {start}
"""
CLIS = {
    "its defaults": ("", "0.1", "LightningCLI(Lit)", {}, ""),
    "a subclass": ("class Cli(LightningCLI): pass", "0.1", "Cli(Lit)", {}, ""),
    "a default file": (
        "", "0.0", 'LightningCLI(Lit, parser_kwargs={"default_config_files": ["a.yaml"]})',
        {"a.yaml": "model:\n  wd: 0.2\n"}, "a.yaml:2"),
    "no decay": ("", "0.0", "LightningCLI(Lit)", {}, "-"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIS)
def test_lightning_cli(name: str, tmp_path: Path) -> None:
    imports, default, start, files, place = CLIS[name]
    text = LIT.format(imports="from lightning.pytorch.cli import LightningCLI\n" + imports, default=default, start=start)
    check(tmp_path, "train.py", {"train.py": text, **files}, place)
