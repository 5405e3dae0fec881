"""The statements of an initialisation: what each weight layer below a module gets, as code of the module's class."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.values import Const, Instance, first, members
from tricklint.knowledge import layers
from tricklint.libraries.modules import layer_class, submodules
from tricklint.program.activations import following, rescaled, slope_after
from tricklint.program.foreign import foreign_parts
from tricklint.program.heads import rare_heads
from tricklint.program.init_scope import computed_weights, has_computed_weight, library_blocks
from tricklint.program.initialisation import Initialisation, branches_within
from tricklint.program.program import Program


def scheme(activation: str | None, nn: str, weight: str, slope: float | None = None, grouped: bool = False) -> str:
    """The init call for a weight whose output goes into `activation` (gains: torch.nn.init.calculate_gain). grouped: Xavier's
    fan_out would count the outputs of all groups, though an input reaches those of its own group alone."""
    if activation == "leaky_relu" and slope is not None and slope != 0.01:
        return f'{nn}.init.kaiming_uniform_({weight}, a={slope:g}, nonlinearity="leaky_relu")'
    if activation in ("relu", "leaky_relu"):
        return f'{nn}.init.kaiming_uniform_({weight}, nonlinearity="{activation}")'
    if activation == "selu":
        return f'{nn}.init.kaiming_normal_({weight}, nonlinearity="linear")'
    if grouped:
        return f'{nn}.init.kaiming_uniform_({weight}, nonlinearity="{"tanh" if activation == "tanh" else "linear"}")'
    if activation == "tanh":
        return f'{nn}.init.xavier_uniform_({weight}, gain={nn}.init.calculate_gain("tanh"))'
    return f"{nn}.init.xavier_uniform_({weight})"


def init_lines(program: Program, module: Instance, self_name: str, nn: str, children: list[str]) -> list[str] | None:
    """The statements that initialise every weight layer below `module`; None where that would undo what code there does, or
    where every weight is computed from others."""
    mine = [
        (path, layer)
        for path, layer in submodules(module)
        if layer_class(layer) in layers.WEIGHTED
        and (not children or path.partition(".")[0] in children)
        and not has_computed_weight(layer)
    ]
    if not mine:
        return None
    grouped = {layer_class(layer) for _, layer in mine if has_groups(layer)}
    # layer class → (path, the init that suits the layer; None where what follows is not known)
    kinds: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    chosen = {path for path, layer in mine if branches_within(program, module, layer)}  # else nothing may have its name, or another
    normed = set()  # a norm behind them takes the scale of their weights out again: they need no line of their own
    for path, layer in mine:
        kind, activation = layer_class(layer), following(program, layer)
        suited = activation and scheme(activation, nn, "{}.weight", slope_after(program, layer), kind in grouped)
        kinds[kind.rpartition(".")[2]].append((path, suited))
        if rescaled(program, layer):
            normed.add(path)
    biases = Biases.of(program, module, mine, self_name)
    if biases is None:
        return None
    majority: dict[str, str] = {}
    for kind, uses in kinds.items():
        plain = scheme("none", nn, "{}.weight", grouped=f"torch.nn.{kind}" in grouped)
        known = [suited for _, suited in uses if suited is not None]
        majority[kind] = max(known, key=lambda each: (known.count(each), each != plain)) if known else plain
    by_scheme: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for kind, call in majority.items():
        by_scheme[call, kind in biases.kept].append(kind)
    blocks = library_blocks(module, children)
    only = mine[0][1] if len(mine) == 1 and not blocks else None
    name = spelled(module, mine[0][0], self_name) if only is not None and not chosen else ""
    if only is not None and name:
        return one_layer(only, name, next(iter(majority.values())), nn, biases.leaves(only))
    lines = [*blocks_apart(blocks, self_name, nn), *loop_over(module, self_name, children)]
    inner = " " * (len(lines[-1]) - len(lines[-1].lstrip()) + 4)
    skipped = computed_weights(module, nn, "module", children)
    if blocks:
        skipped.insert(0, "module in theirs")
    if skipped:
        lines += [f"{inner}if {' or '.join(skipped)}:", f"{inner}    continue"]
    word = "if"
    untested = len(by_scheme) == 1 and not skipped and lines[-1].startswith("for module in (")  # layers of these kinds alone
    for (call, _), same in by_scheme.items():
        names = [f"{nn}.{kind}" for kind in same]
        test = names[0] if len(names) == 1 else f"({', '.join(names)})"
        if untested:
            inner = inner[4:]
        else:
            lines.append(f"{inner}{word} isinstance(module, {test}):")
        lines.append(f"{inner}    {call.format('module')}")
        lines += [f"{inner}    {line}" for line in biases.lines(same, nn)]
        word = "elif"
    for kind, uses in kinds.items():
        for path, suited in uses:
            if suited is None or suited == majority[kind] or len(uses) == 1 or path in normed or path in chosen:
                continue
            name = spelled(module, path, self_name)
            if name:
                lines.append(suited.format(name))
    return lines


@dataclass(frozen=True)
class Biases:
    """Which biases become zero, of the layers of each kind. `rare`: those of heads whose positives are rare, which is another
    rule's matter; `set_already`: those that code of the program gives a start; both by the names that the class has for
    them. `kept`: kinds all of whose biases have a start already, or which have none."""

    rare: dict[str, list[str]]
    set_already: dict[str, list[str]]
    kept: set[str]
    left: set[int]

    @classmethod
    def of(
        cls, program: Program, module: Instance, mine: list[tuple[str, Instance]], self_name: str
    ) -> Biases | None:
        """None where a bias that has its start already has no name to leave it out by."""
        heads, init = rare_heads(program), Initialisation.of(program)
        rare: dict[str, list[str]] = defaultdict(list)
        own: dict[str, list[str]] = defaultdict(list)
        each: dict[str, list[bool]] = defaultdict(list)
        left = set()
        for path, layer in mine:
            kind, name = layer_class(layer).rpartition(".")[2], spelled(module, path, self_name)
            has_start = any(True for _ in init.reaching(layer, "bias"))
            each[kind].append(has_start or has_bias(layer) is False)
            if has_start:
                own[kind].append(name)
                left.add(id(layer))
            elif id(layer) in heads and heads[id(layer)][1].sigmoid and name:
                rare[kind].append(name)
                left.add(id(layer))
        kept = {kind for kind, starts in each.items() if all(starts)}
        if not all(name for kind, names in own.items() for name in names if kind not in kept):
            return None
        return cls(rare, own, kept, left)

    def leaves(self, layer: Instance) -> bool:
        return id(layer) in self.left

    def lines(self, kinds: list[str], nn: str) -> list[str]:
        """What the loop says of the bias of `module`, a layer of one of these kinds."""
        if self.kept.issuperset(kinds):
            return []
        lines = []
        own = [name for kind in kinds for name in self.set_already[kind]]
        rare = [name for kind in kinds for name in self.rare[kind]]
        if own:
            lines.append("# a bias that has its own start keeps it")
        if rare:
            lines.append("# the log odds of its rare positives are a better start for the head's bias than zero")
        test = "".join(f" and module is not {name}" for name in (*own, *rare))
        return [*lines, f"if module.bias is not None{test}:", f"    {nn}.init.zeros_(module.bias)"]


def has_groups(layer: Instance) -> bool:
    """Whether a convolution has more than one group, or may have."""
    if layer_class(layer) not in layers.CONV:
        return False
    passed = layer.passed(6, "groups")
    known = first(passed) if passed is not None else Const(1)
    return not isinstance(known, Const) or known.value != 1


def has_bias(layer: Instance) -> bool | None:
    """Whether a layer was made with a bias; None where that is not known."""
    position = 2 if layer_class(layer) in layers.LINEAR else 7
    passed = layer.passed(position, "bias")
    if passed is None:
        return None if layer.open_kwargs else True
    known = first(passed)
    return bool(known.value) if isinstance(known, Const) and known is passed else None


def one_layer(layer: Instance, name: str, call: str, nn: str, biased: bool) -> list[str]:
    """The initialisation of a single layer. biased: its bias has a start already, or is another rule's matter."""
    lines = [call.format(name)]
    made_with = has_bias(layer)
    if made_with is None and not biased:
        lines += [f"if {name}.bias is not None:", f"    {nn}.init.zeros_({name}.bias)"]
    elif not biased and made_with:
        lines.append(f"{nn}.init.zeros_({name}.bias)")
    return lines


def blocks_apart(names: list[str], self_name: str, nn: str) -> list[str]:
    """Names the layers inside blocks of torch.nn that initialise themselves, where there are any."""
    blocks = [f"{nn}.{name}" for name in names]
    if not blocks:
        return []
    listed = blocks[0] if len(blocks) == 1 else f"({', '.join(blocks)})"
    return [
        f"blocks = [module for module in {self_name}.modules() if isinstance(module, {listed})]",
        "theirs = {part for block in blocks for part in block.modules()}  # they have an initialisation of their own",
    ]


def loop_over(module: Instance, self_name: str, children: list[str]) -> list[str]:
    """The header of a loop over all modules, or over those in some children; the last line is the innermost."""
    if not children:
        return [f"for module in {self_name}.modules():"]
    foreign = foreign_parts(module)
    others = [
        name for name, value in module.fields.items() if (is_module(value) or name in foreign) and name not in children
    ]
    plain = all(isinstance(value, Instance) for value in module.fields.values() if is_module(value))
    listed = ", ".join(f"{self_name}.{name}" for name in children)
    if len(children) == 1:
        return [f"for module in {listed}.modules():"]
    if len(listed) < 90 and all(is_layer(module.fields[name]) for name in children):
        return [f"for module in ({listed}):"]
    if plain and len(others) < len(children) and len(children) > 3:
        named = f"== {quoted(others[0])}" if len(others) == 1 else f"in ({', '.join(map(quoted, others))})"
        skip = [f"    if name {named}:", "        continue"]
        return [f"for name, part in {self_name}.named_children():", *skip, "    for module in part.modules():"]
    return [f"for part in ({listed}):", "    for module in part.modules():"]


def spelled(module: Instance, path: str, self_name: str) -> str:
    """`features.3` as it is written in the class: `self.features[3]`; "" when the path is too deep or dynamic, or when
    how many layers come before it may change from one model to the next."""
    parts = path.split(".")
    if len(parts) > 2 or not all(part.isidentifier() or part.isdigit() for part in parts):
        return ""
    written, holder = self_name, module
    for part in parts:
        held = next((m for m in members(holder.fields.get(part)) if isinstance(m, Instance)), None)
        if not part.isdigit():
            written += f".{part}"
        elif part == "0":
            written += "[0]"
        elif (at := from_the_end(holder, int(part))) is not None and (at >= -2 or not lists_its_layers(holder)):
            written += f"[{at}]"
        elif lists_its_layers(holder):
            written += "[-1]" if last_of(holder) == int(part) else f"[{part}]"
        elif held is not None and surely_last(holder, part, held):
            written += "[-1]"
        else:
            return ""
        if held is None:
            return written if part is parts[-1] else ""
        holder = held
    return written


def lists_its_layers(holder: Instance) -> bool:
    """`nn.Sequential(a, b, c)` and `nn.ModuleList([a, b, c])`, not `nn.Sequential(*layers)`."""
    call = holder.node
    if not isinstance(call, cst.Call) or not call.args or any(arg.star for arg in call.args):
        return False
    if len(call.args) > 1 or "ModuleList" not in holder.library:
        return not isinstance(call.args[0].value, cst.Name) or "Sequential" in holder.library
    only = call.args[0].value
    return isinstance(only, (cst.List, cst.Tuple)) and all(isinstance(each, cst.Element) for each in only.elements)


def from_the_end(holder: Instance, number: int) -> int | None:
    """-2 for `a` in `nn.Sequential(*layers, a, b)`; None for what stands in no place of its own."""
    call = holder.node
    if not isinstance(call, cst.Call) or "Sequential" not in holder.library:
        return None
    at = number - last_of(holder) - 1
    tail = call.args[at:]
    return at if len(call.args) >= -at and not any(arg.star or arg.keyword for arg in tail) else None


def last_of(holder: Instance) -> int:
    """The number of its last layer."""
    return max((int(key) for key in map(str, holder.fields) if key.isdigit()), default=-1)


def surely_last(holder: Instance, part: str, layer: Instance) -> bool:
    """The layer is put at the end of the list on every path, right before the list becomes a module."""
    if last_of(holder) != int(part):
        return False
    if layer.file is None or layer.file is not holder.file or layer.node is None or holder.node is None:
        return False
    tree = layer.file.tree
    made, built = tree.statement_of(layer.node), tree.statement_of(holder.node)
    block = tree.parent(built) if built is not None else None
    if not isinstance(block, cst.IndentedBlock) or made is built or made is None or tree.parent(made) is not block:
        return False
    body = list(block.body)
    between = body[body.index(made) + 1 : body.index(built)]  # type: ignore[arg-type]
    return all(isinstance(each, cst.SimpleStatementLine) for each in between)


def is_layer(value: object) -> bool:
    """A layer with weights, and none below it."""
    return isinstance(value, Instance) and len(submodules(value)) == 1 and layer_class(value) in layers.WEIGHTED


def is_module(value: object) -> bool:
    return any(isinstance(member, Instance) and member.kind in ("module", "loss", "") for member in members(value))  # type: ignore[arg-type]


def quoted(name: object) -> str:
    return f'"{name}"'
