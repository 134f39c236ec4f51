"""Names for groups of layers: globs, and the words convs, stages, blocks, last, last3, shallow, middle, deep."""

import fnmatch
import re
from collections.abc import Sequence

from microtome.errors import UnknownName, Unmeasurable, did_you_mean, layers_hint
from microtome.specimen.blocks import Block, Unit, main_layers, stage_keys
from microtome.specimen.layers import Layer, kind_of
from microtome.specimen.tracing import Call, Trace

ALIASES = ("convs", "stages", "blocks", "last", "last3", "shallow", "middle", "deep")


def layer_aliases(
    trace: Trace, units: Sequence[Unit], blocks: Sequence[Block], layers: Sequence[Layer]
) -> dict[str, tuple[str, ...]]:
    """Alias -> layer names. An alias that has no layers here (no convolution, no blocks) is missing."""
    several = {key: tuple(layer.name for layer in main) for key, main in main_layers(trace, layers).items()}
    convolutions = {(call.path, call.index) for call in trace.calls if kind_of(call.module) == "conv"}
    exits = [several[unit.exit.path, unit.exit.index] for unit in units]
    ends = stage_ends(trace, units, layers)
    stages = [several[path] for path, _ in ends]
    views = [_evidence_layers(trace, units, place, layers, names) for names, (_, place) in zip(stages, ends, strict=True)]
    count = len(stages)
    table: dict[str, list[tuple[str, ...]]] = {
        "convs": [(layer.name,) for layer in layers if (layer.path, layer.call or 0) in convolutions],
        "stages": stages,
        "blocks": exits,
        "last": exits[-1:],
        "last3": exits[-3:],
        "shallow": views[count // 5 : count // 5 + 1],
        "middle": views[count // 2 : count // 2 + 1],
        "deep": views[-1:],
    }
    if not units:  # no convolution, no composite: the last layers stand in
        table["last"] = table["deep"] = [(layer.name,) for layer in layers[-1:]]
    order = {layer.name: layer.order for layer in layers}
    return {
        name: tuple(sorted(dict.fromkeys(part for names in parts for part in names), key=order.__getitem__))
        for name, parts in table.items()
        if parts
    }


def stage_ends(trace: Trace, units: Sequence[Unit], layers: Sequence[Layer]) -> list[tuple[tuple[str, int], int]]:
    """For each stage the (path, call) whose output closes it, and the place of its last unit in `units`.

    The widest module that holds only this stage's blocks and gives back what the last of them gave is preferred (layer1), also
    where it joins its blocks' outputs (a dense block).
    """
    keys = stage_keys(trace, units, layers)
    grids = {key: main[0].grid for key, main in main_layers(trace, layers).items()}
    ends: list[tuple[tuple[str, int], int]] = []
    for place, unit in enumerate(units):
        gridless = grids[unit.exit.path, unit.exit.index] is None
        if gridless or (place + 1 < len(units) and keys[place + 1] == keys[place]):
            continue
        members = {place}
        while min(members) and keys[min(members) - 1] == keys[place]:
            members.add(min(members) - 1)
        ends.append((_outermost_output(trace, units, members, place), place))
    return ends


def _outermost_output(trace: Trace, units: Sequence[Unit], members: set[int], place: int) -> tuple[str, int]:
    calls = {call.path: call for call in trace.calls if call.index == 0}
    unit = units[place]
    best, parent = (unit.exit.path, unit.exit.index), unit.path.rpartition(".")[0]
    while parent:
        inside = {place for place, other in enumerate(units) if other.path.startswith(parent + ".")}
        if not inside <= members:
            break
        call = calls.get(parent)
        if (
            call is not None
            and call.order > unit.exit.order
            and (call.gives == unit.exit.gives or _joins_outputs(call, unit, len(inside)))
        ):
            best = (parent, 0)
        parent = parent.rpartition(".")[0]
    return best


def _joins_outputs(call: Call, unit: Unit, count: int) -> bool:
    """Whether the module joins the outputs of its blocks: same grid, more units than its last block gives."""
    outputs, own = call.outputs, unit.exit.outputs
    return (
        count > 1
        and len(outputs) == len(own) == 1
        and len(outputs[0]) == len(own[0]) == 4
        and outputs[0][2:] == own[0][2:]
        and outputs[0][1] > own[0][1]
    )


def _evidence_layers(
    trace: Trace, units: Sequence[Unit], place: int, layers: Sequence[Layer], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Where to look at a stage for class evidence: its end, or with class tokens the last place whose patches are still read.

    After the last attention no gradient reaches patch tokens, so the first LayerNorm in the block is taken if it comes before
    the attention, else the output of the block before.
    """
    layer = next(layer for layer in layers if layer.name == names[0])
    if layer.prefix == 0:
        return names
    inside = [other for other in layers if other.path.startswith(units[place].path + ".")]
    norm = next((other for other in inside if other.kind == "norm" and other.grid is not None), None)
    mixing = next((other for other in inside if other.kind == "attention"), None)
    if norm is not None and (mixing is None or norm.order < mixing.order):
        return (norm.name,)
    return (units[place - 1].exit.path,) if place else names


def match_layers(pattern: str, layers: Sequence[Layer], table: dict[str, tuple[str, ...]]) -> list[str]:
    """The layer names one pattern stands for: an alias, an exact name, a module path (all its calls and branches), or a glob.

    An alias means the same in every network, so it comes before a module of that name; "=blocks" is the module called blocks.

    Raises UnknownName for a name that does not exist, Unmeasurable for an alias that this network has no layer for.
    """
    if pattern in table:
        return list(table[pattern])
    pattern = pattern.removeprefix("=")
    exact = [layer.name for layer in layers if layer.name == pattern]
    names = exact or [layer.name for layer in layers if layer.path == pattern]
    if not names and not any(sign in pattern for sign in "*?"):  # "stage4.1#0" of a module with branches: all of them
        names = [layer.name for layer in layers if layer.name.partition("[")[0] == pattern]
    if not names:
        glob = re.sub(r"\[(\d+)\]", r"[[]\1]", pattern)  # a branch number, not a set of characters
        names = [layer.name for layer in layers if fnmatch.fnmatchcase(layer.name, glob)]
    if not names:
        if pattern in ALIASES:
            raise Unmeasurable(f"The alias '{pattern}' matches no layer of this network; name a layer instead.")
        raise UnknownName(
            f"No layer is called '{pattern}'."
            + (did_you_mean(pattern, [layer.name for layer in layers] + list(ALIASES)) or f" List them: {layers_hint()}")
        )
    return names
