"""Activations as the traced models show them: with `--trace`, the real graph is believed before the source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Class,
    Instance,
)
from tricklint.libraries.modules import submodules

if TYPE_CHECKING:
    from tricklint.program.program import Program


def traced_activation(program: Program, layer: Instance) -> str | None:
    """The activation that follows `layer` in a traced model ("none" for none); None when no model was traced that
    holds it, or when the models that hold it differ."""
    if program.facts is None:
        return None
    index: dict[int, set[str]] = program.remember("traced activations", lambda: _index(program))
    found = index.get(id(layer), set())
    return next(iter(found)) if len(found) == 1 else None


def _index(program: Program) -> dict[int, set[str]]:
    """Activations by the id of the layer, for the modules of every class that some traced model holds."""
    by_class: dict[tuple[Path, str], list[tuple[Any, str]]] = {}  # class → (model, path of the module in it)
    root = Path(program.facts.root or ".")
    for model in program.facts:
        for module in model.modules:
            site = model.sites.get(module.site) or (model.site if not module.path else None)
            if site is not None:
                by_class.setdefault(((root / site.path).resolve(), site.name), []).append((model, module.path))
    index: dict[int, set[str]] = {}
    for event in program.events(Built):
        made = event.subject
        if not isinstance(made, Instance) or not isinstance(made.cls, Class):
            continue
        for model, path in by_class.get((made.cls.file.path.resolve(), made.cls.name), ()):
            known = {layer.path: layer.activation for layer in model.layers}
            for below, layer in submodules(made):
                full = ".".join(part for part in (path, below) if part)
                if full in known:
                    index.setdefault(id(layer), set()).add(known[full])
    return index


__all__ = ["traced_activation"]
