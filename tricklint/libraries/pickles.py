"""What one script of a program pickles, and another one reads back from the same path: data sets and loaders of batches."""

from __future__ import annotations

from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import NONE, Value, instances, join
from tricklint.libraries.facts import LoaderFacts
from tricklint.libraries.paths import path_pattern
from tricklint.libraries.strangers import stranger


@dataclass(slots=True, eq=False)
class PickleFacts:
    """What was written, by the path; what is not known of that is a star."""

    kept: dict[str, Value] = field(default_factory=dict)


@function("pickle.dump", "dill.dump", "cloudpickle.dump", "joblib.dump")
def dumped(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    given, path = args.get(0, "obj"), path_pattern(args.get(1, "file"))
    found = [each for each in instances(given) if each.kind in ("loader", "batches", "dataset")]
    if path is not None and given is not None and found:
        known = m.fact(PickleFacts).kept
        known[path] = join(known[path], given) if path in known else given
        for each in found:
            each.fact(LoaderFacts).pickled = True
    return NONE


@function("pickle.load", "dill.load", "cloudpickle.load", "joblib.load")
def read_back(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    path = path_pattern(args.positional[0] if args.positional else None)
    found = m.fact(PickleFacts).kept.get(path) if path is not None else None
    return found or stranger(m, name, args, node)

