"""Which files a project is followed from.

A file that trains or asks for pretrained weights is followed for its own sake, and what it imports with it. A file
that only says how layers are built, initialised, frozen, scored or put in eval mode is followed too, unless there are
so many of them that the project is a library of models: then those are read that something trains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint.source.text import Source

# Characters of files that train nothing, beyond which a project counts as a library of models (about 50,000 lines)
LIBRARY_SIZE = 2_000_000

_FRAMEWORKS = ("torch", "lightning", "fastai", "transformers", "timm", "accelerate")
_FOLLOWED = re.compile(
    r"\b(torch|lightning|pytorch_lightning|fastai|transformers|pytorch_transformers|pytorch_pretrained_bert|timm|accelerate)\b"
)
# Plain words are looked for first: a search for a word costs a small part of one for a pattern
_TRAINS = (
    ".backward(", "DataLoader(", ".fit(", "fit_one_cycle(", "create_cnn(", ".step()", "Trainer(", "def training_step",
    "configure_optimizers", "LightningModule",
)  # fmt: skip
_PARTS = (("earner", ("Learner(", "_learner(")), ("Adam", ("AdamW(", "Adam(")))  # by a part that all of the words have
_PRETRAINED = re.compile(r"pretrained\s*=\s*True")
_SPEAKS = (
    ".eval()", "Loss(", "cross_entropy(", "nll_loss(", "requires_grad_(", "kaiming_", "xavier_", "orthogonal_",
    "calculate_gain", "load_state_dict(", "torch.load(", "load_from_checkpoint(",
)  # fmt: skip
# A list or dict that is made, by the name it gets; and what a model's attributes are made of or get from a name
_CONTAINER = r"[ \t]*(?::[^=\n]+)?=[ \t]*(?:list|dict|tuple|(?:collections\.)?(?:OrderedDict|defaultdict)|(?=[\[{(]))[\[{(]"
_HELD = re.compile(r"\bself\.\w+" + _CONTAINER)
_FILLED = re.compile(r"^[ \t]+(\w+)" + _CONTAINER, re.MULTILINE)
_HANDED_ON = re.compile(r"\bself\.\w+[ \t]*=[ \t]*(\w+)[ \t]*(?:#.*)?$", re.MULTILINE)
# A freeze, one with a slip in its name, and one that compares
_FREEZES = re.compile(r"\.requi\w+_g\w+\s*=[^=]|^\s*[\w.]+\.requires_grad\s*==", re.MULTILINE)
_FILLS = re.compile(
    r"(?:constant_?|zeros_|fill_)\(\s*(?![\w.]*bias)\w|weight\.(?:data\.)?(?:fill_|zero_)\(|\.weight(?:\.data)?\s*=[^=]"
)


# What names another file in an import, and what says that a file does something when it is run
_IMPORTED = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n#]+)", re.MULTILINE)
_RUNS = re.compile(r"^(?!def\b|class\b|import\b|from\b|return\b)[\w., ]+(?:=\s*[\w.]+\s*)?\(", re.MULTILINE)
_WORD = re.compile(r"\w+")
# What builds objects that a configuration names
_CONFIGURED = ("hydra.main(", "instantiate(", "LightningCLI(")
DRIVERS = 40  # scripts beyond the roots that may start a project


def followed(sources: Mapping[Path, Source], roots: Iterable[Path]) -> list[Path]:
    """The files that are followed for their own sake: those among `roots` that speak of training, in their order, then
    the scripts that only start what those define (`main.py` with its arguments and `Solver(args).train()`)."""
    training, speaking, size = set(), set(), 0
    keeping, kept = set(), 0
    every = list(roots)
    for path in every:
        source = sources[path]
        if not source.ask(_uses_framework):
            continue
        if source.ask(trains):
            training.add(path)
        elif size <= LIBRARY_SIZE and source.ask(speaks):
            speaking.add(path)
            size += len(source.text)
        elif size + kept <= LIBRARY_SIZE and source.ask(keeps):
            keeping.add(path)
            kept += len(source.text)
    if size > LIBRARY_SIZE:
        return [path for path in every if path in training]
    chosen = training | speaking
    if size + kept <= LIBRARY_SIZE:
        chosen |= keeping
    return [path for path in every if path in chosen] + drivers(sources, training, chosen)


def drivers(sources: Mapping[Path, Source], training: set[Path], chosen: set[Path]) -> list[Path]:
    """Scripts that import a training file, or a package that hands one on, and run something: they say with which arguments it
    trains. Or they leave it to a configuration to name what is built."""
    modules = {_module(path) for path in training if path.suffix == ".py"}
    if not modules:
        return []
    found: list[Path] = []
    for stems in ({name for _, name in modules}, {name for _, name in _handed_on(sources, modules)}):
        for path, source in sources.items():
            text = source.text
            if (
                path in chosen
                or path in found
                or path.suffix not in (".py", ".ipynb")
                or path.stem in ("__init__", "setup", "conftest")
                or "test" in path.stem
            ):
                continue
            by_name = any(word in text for word in _CONFIGURED)
            if not (by_name or any(stem in text for stem in stems)) or not source.ask(_runs):
                continue
            if by_name or stems.intersection(source.ask(_imported)):
                found.append(path)
                if len(found) == DRIVERS:
                    return found
    return found


def _module(path: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and its name there."""
    return (path.parent.parent, path.parent.name) if path.stem == "__init__" else (path.parent, path.stem)


def _handed_on(sources: Mapping[Path, Source], modules: set[tuple[Path, str]]) -> set[tuple[Path, str]]:
    """Packages whose `__init__` imports one of the modules beside it, or such a package."""
    packages = [path for path in sources if path.name == "__init__.py"]
    found: set[tuple[Path, str]] = set()
    while True:
        more = {
            _module(path)
            for path in packages
            if any((path.parent, name) in modules or (path.parent, name) in found for name in sources[path].ask(_imported))
        }
        if more <= found:
            return found
        found |= more


def _runs(text: str) -> bool:
    """Whether a file does something when it is run."""
    return "__main__" in text or _RUNS.search(text) is not None


def _imported(text: str) -> frozenset[str]:
    """The names that may stand for files in import statements."""
    found: set[str] = set()
    for match in _IMPORTED.finditer(text):
        found.update((match.group(1) or "").split("."), _WORD.findall(match.group(2)))
    return frozenset(found)


def _uses_framework(text: str) -> bool:
    return any(word in text for word in _FRAMEWORKS) and _FOLLOWED.search(text) is not None


def trains(text: str) -> bool:
    """A file that trains or asks for pretrained weights."""
    if any(_in_code(text, word) for word in _TRAINS):
        return True
    if any(_in_code(text, word) for part, words in _PARTS if part in text for word in words):
        return True
    return _names_optim(text) or ("pretrained" in text and _PRETRAINED.search(text) is not None)


def _names_optim(text: str) -> bool:
    """`torch.optim`, `optim.SGD`, `create_optimizer`, or `optim` as a word of its own behind a blank or a comma: `from
    torch import nn, optim`."""
    at = text.find("optim")
    while at >= 0:
        before, after = text[max(0, at - 1) : at], text[at + 5 : at + 7]
        if text.endswith("torch.", 0, at) or (text.endswith("create_", 0, at) and text.startswith("izer", at + 5)):
            return True
        if after[:1] == ".":
            if (after[1:].isascii() and after[1:].isupper() and not _is_word(before)) or before in (" ", ","):
                return True
        elif before in (" ", ",") and not _is_word(after[:1]):
            return True
        at = text.find("optim", at + 5)
    return False


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _at(text: str, word: str, start: int = 0) -> int:
    """Where a word stands from `start` on, -1 where it does not: `Trainer(` also as `Trainer (`."""
    name = word.rstrip("(")
    at = text.find(name, start)
    while at >= 0 and name != word and text[at + len(name) : at + len(name) + 8].lstrip(" ")[:1] != "(":
        at = text.find(name, at + 1)
    return at


def _in_code(text: str, word: str) -> bool:
    """Whether a word stands anywhere but in comments, doctests and names quoted in documentation."""
    at = _at(text, word)
    while at >= 0:
        before = text[text.rfind("\n", 0, at) + 1 : at].lstrip()
        if not before.startswith((">>>", "...", "#")) and "`" not in before:
            part_of_a_word = word == "Learner(" and before[-1:].isalpha()
            if not part_of_a_word and not before.startswith("class "):
                return True
        at = _at(text, word, at + 1)
    return False


def speaks(text: str) -> bool:
    """A file that evaluates, scores, initialises or freezes: some rule has a word on it alone."""
    if any(_at(text, word) >= 0 for word in _SPEAKS) or (".requi" in text and _FREEZES.search(text) is not None):
        return True
    return ("weight" in text or "param" in text) and _FILLS.search(text) is not None


def keeps(text: str) -> bool:
    """A file of models whose attributes may be plain lists or dicts of layers, whoever's layers these are."""
    if "def forward" not in text and "nn." not in text:
        return False
    if _HELD.search(text) is not None:
        return True
    filled = set(_FILLED.findall(text))
    return bool(filled) and not filled.isdisjoint(_HANDED_ON.findall(text))
