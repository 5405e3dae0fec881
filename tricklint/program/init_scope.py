"""What an initialisation of a module's layers has to leave alone, and what the class already brings for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tricklint.interpreter.events import Building
from tricklint.interpreter.values import Class, Func, Instance
from tricklint.knowledge import layers
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import layer_class, submodules
from tricklint.program.initialisation import Initialisation
from tricklint.program.program import Program

# How a layer shows that its weight is computed from other parameters: writing to the weight changes nothing
_COMPUTED = {
    "torch.nn.utils.weight_norm": 'hasattr({module}, "weight_g")',
    "torch.nn.utils.spectral_norm": 'hasattr({module}, "weight_orig")',
}
_PARAMETRISED = "{nn}.utils.parametrize.is_parametrized({module})"


def within(module: Instance, children: Collection[str]) -> Iterator[Instance]:
    """The modules below `module`: all of them, or those in some of its children."""
    return (part for path, part in submodules(module) if not children or path.partition(".")[0] in children)


def computed_weights(module: Instance, nn: str, name: str, children: Collection[str] = ()) -> list[str]:
    """Tests that hold for the layers below `module` whose weight is computed (weight and spectral norm), as code about `name`."""
    found: list[str] = []
    for layer in within(module, children):
        wrapper = layer.fact(ModuleFacts).reparametrised
        if wrapper and layer_class(layer) in layers.WEIGHTED:
            found.append(_COMPUTED.get(wrapper, _PARAMETRISED).format(module=name, nn=nn))
    return list(dict.fromkeys(found))


def has_computed_weight(layer: Instance) -> bool:
    return bool(layer.fact(ModuleFacts).reparametrised)


def library_blocks(module: Instance, children: Collection[str] = ()) -> list[str]:
    """Classes of torch.nn below `module` that hold layers of their own and initialise them: the outermost ones."""
    found: list[str] = []
    inside: set[int] = set()
    for part in within(module, children):
        if layer_class(part) in layers.ATTENTION and id(part) not in inside:
            inside.update(id(below) for _, below in submodules(part))
            found.append(layer_class(part).rpartition(".")[2])
    return list(dict.fromkeys(found))


def handed_in(program: Program, module: Instance) -> set[int]:
    """Ids of weight layers below `module` that were there before its constructor began: somebody else built them."""
    begins = next((event.seq for event in program.events(Building) if event.subject is module), None)
    if begins is None:
        return set()
    return {id(layer) for _, layer in submodules(module) if layer_class(layer) in layers.WEIGHTED and layer.seq < begins}


def helper_of_class(program: Program, module: Instance, wanted: Collection[Instance]) -> str:
    """A method of the class, without arguments, that nothing calls and that would initialise all of `wanted`; "" if none."""
    cls = module.cls
    if not isinstance(cls, Class):
        return ""
    init = Initialisation.of(program)
    for name, func in ((name, at) for one in cls.mro() if isinstance(one, Class) for name, at in one.fields.items()):
        if not isinstance(func, Func) or func.node is None or str(name).startswith("__"):
            continue
        params = func.node.params
        if len(params.params) != 1 or params.kwonly_params or params.posonly_params:
            continue
        if init.would_reach(func, cls, wanted):
            return str(name)
    return ""
