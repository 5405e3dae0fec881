"""docopt: the usage text of a program says what its options are by default."""

from __future__ import annotations

import re

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import UNKNOWN, Const, Dict, Value, first

# An option begins a line: `-w <x>, --wd=<x>  Text. [default: 0.05]`, with its text on that line or below it
_OPTION = re.compile(r"^\s*(-\S.*?)(?:\s{2,}|$)(.*?)(?=^\s*-|^\s*$|\Z)", re.MULTILINE | re.DOTALL)
_DEFAULT = re.compile(r"\[default:\s*(.*?)\]", re.IGNORECASE)


@function("docopt.docopt")
def docopt(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    text = first(args.get(0, "doc"))
    if not isinstance(text, Const) or not isinstance(text.value, str):
        return UNKNOWN
    made = Dict(node, m.file, open=True)  # arguments and commands are in it too
    for option, told in _OPTION.findall(text.value):
        names = [part for part in re.split(r"[,\s=]+", option) if part.startswith("-")]
        label = next((part for part in names if part.startswith("--")), names[0])
        takes = "<" in option or "=" in option or any(part.isupper() for part in option.split()[1:])
        default = _DEFAULT.search(told)
        made.fields[label] = Const(default[1] if default else None if takes else False, True)
    return made
