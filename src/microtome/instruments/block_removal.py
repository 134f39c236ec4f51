"""How each block of a specimen can be removed, why not where it cannot, and the removal itself.

A block whose output has the shape of its input gives way to its input. A block that adds channels to a concatenation (a dense layer)
goes with its channels, and all that read them become narrower. Any other block changes the shape of the maps: a 1 x 1 convolution can
take its place (`fill="linear"`), or the layers after it are made anew for what they then get (`fill="remake"`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from microtome.edit import replace_module
from microtome.errors import UnknownName, did_you_mean
from microtome.instruments.dense_channels import AddedChannels, added_channels, narrow_readers, unreadable_reason
from microtome.instruments.remaking import remake_layers
from microtome.networks.stand_ins import Form, LinearBlock, NoNewChannels, SkippedBlock, block_form, keep_encoder_running
from microtome.specimen import Block, Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.outputs import slow_attention
from microtome.specimen.tracing import example_input

Fill = Literal["identity", "linear", "remake"]
How = Literal["skip", "rewire", "linear", "remake", ""]


@dataclass(frozen=True)
class BlockRemoval:
    """How one block is removed; `how` is empty where it cannot be, and `reason` says why.

    `shapes` are the (inputs, outputs) channels of each of its maps, `grids` the sides of an output where they are not those of the input.
    """

    block: Block
    how: How
    reason: str = ""
    form: Form = "tensor"
    count: int = 1
    shapes: tuple[tuple[int, int], ...] = ()
    grids: tuple[tuple[int, int] | None, ...] = ()
    channels_first: bool = True
    added: AddedChannels | None = None


@dataclass(frozen=True)
class _Observed:
    """The shapes that go into and come out of a block, and the form of its output."""

    form: tuple[Form, int] | None
    taken: tuple[tuple[int, ...], ...]
    given: tuple[tuple[int, ...], ...]


def named_blocks_of(specimen: Specimen, patterns: Sequence[str]) -> list[Block]:
    """The blocks in execution order that names, globs or places from the end ("-2": the last but one) stand for.

    Raises:
        UnknownName: a pattern that no block has.
    """
    import fnmatch

    chosen: set[str] = set()
    names = [block.name for block in specimen.blocks]
    for pattern in patterns:
        if pattern.lstrip("-").isdigit() and pattern.startswith("-") and 1 <= int(pattern[1:]) <= len(names):
            chosen.add(names[int(pattern)])
            continue
        matched = [name for name in names if name == pattern] or fnmatch.filter(names, pattern)
        if not matched:
            known = (
                f" Its blocks are {', '.join(names[:6])}{', …' if len(names) > 6 else ''}." if names else " It has no blocks."
            )
            raise UnknownName(f"No block is called '{pattern}'.{did_you_mean(pattern, names) or known}")
        chosen |= set(matched)
    return [block for block in specimen.blocks if block.name in chosen]


def removal_plans(specimen: Specimen, fill: Fill = "identity") -> dict[str, BlockRemoval]:
    """How every block of the specimen would be removed, by name, in execution order."""
    x = example_input(specimen.net, specimen.recipe)
    units = {unit.path: unit for unit in specimen.anatomy.units}
    observed = _observe(specimen.net, x, units)
    changing = [
        block.name for block in specimen.blocks if not block.keeps_shape and units[block.name].entry is units[block.name].exit
    ]
    added = added_channels(specimen.net, x, changing) if changing else {}
    return {
        block.name: _plan(specimen, block, observed.get(block.name), added.get(block.name), fill) for block in specimen.blocks
    }


def _plan(specimen: Specimen, block: Block, seen: _Observed | None, added: AddedChannels | None, fill: Fill) -> BlockRemoval:
    if seen is not None and added is not None and _same_sides(seen):
        if reason := unreadable_reason(specimen.net, list(added.readers)):
            return BlockRemoval(block, "", reason)
        form, count = seen.form or ("tensor", 1)
        return BlockRemoval(block, "rewire", form=form, count=count, added=added)
    if seen is None or seen.form is None:
        return BlockRemoval(block, "", "it takes or gives more than maps, in a form that its input cannot take the place of")
    form, count = seen.form
    first = all(len(shape) == 4 for shape in (*seen.taken, *seen.given)) and specimen.layer(block.exit).layout == "nchw"
    same = seen.taken == seen.given
    if fill != "linear":
        if same:
            return BlockRemoval(block, "skip", form=form, count=count)
        return _changed_shape(block, seen, fill, first)
    if len(seen.taken) != len(seen.given):
        return BlockRemoval(block, "", f"it turns {len(seen.taken)} maps into {len(seen.given)}")
    axis = 1 if first else -1
    shapes = tuple((taken[axis], given[axis]) for taken, given in zip(seen.taken, seen.given, strict=True))
    if first:
        pairs = zip(seen.taken, seen.given, strict=True)
        grids = tuple((given[2], given[3]) if taken[2:] != given[2:] else None for taken, given in pairs)
    else:
        grids = (None,) * len(shapes)
        if any(taken[1:-1] != given[1:-1] for taken, given in zip(seen.taken, seen.given, strict=True)):
            return BlockRemoval(block, "", "it changes the number of tokens, which no linear map of units does")
    return BlockRemoval(block, "linear", "", form, count, shapes, grids, first)


def _changed_shape(block: Block, seen: _Observed, fill: Fill, first: bool) -> BlockRemoval:
    """The plan of a block whose output has another shape than its input, without a linear map."""
    change = f"it turns {_shapes_text(seen.taken)} into {_shapes_text(seen.given)}"
    alone = len(seen.taken) == len(seen.given) == 1 and first
    if fill == "remake" and alone and _same_sides(seen):
        return BlockRemoval(block, "remake")
    linear = "; take fill=linear, a 1 x 1 convolution in its place" if alone else ""
    remake = ", or fill=remake, which makes the next layers anew" if alone and fill == "identity" and _same_sides(seen) else ""
    return BlockRemoval(block, "", f"{change}, so what follows would not fit{linear}{remake}")


def _same_sides(seen: _Observed) -> bool:
    """Whether all maps that go in and come out have the same sides."""
    return len({shape[2:] for shape in (*seen.taken, *seen.given) if len(shape) == 4}) == 1


def _shapes_text(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("×".join(map(str, shape[1:])) for shape in shapes)


def apply_removals(net: nn.Module, specimen: Specimen, plans: Sequence[BlockRemoval], seed: int = 0) -> None:
    """Remove these blocks from `net`, a copy of the specimen's network, in place.

    Raises:
        Uneditable: what is left cannot be joined.
    """
    units = {unit.path: unit for unit in specimen.anatomy.units}
    narrowed: dict[str, set[int]] = {}
    gone = {plan.block.name for plan in plans}
    for plan in plans:
        for path, places in (plan.added.readers if plan.added is not None else {}).items():
            if not any(path.startswith(f"{name}.") for name in gone):
                narrowed.setdefault(path, set()).update(places)
    narrow_readers(net, {path: sorted(places) for path, places in narrowed.items()})
    for plan in plans:
        _remove(net, specimen, units[plan.block.name], plan)
    if any(plan.how == "remake" for plan in plans):
        remake_layers(net, example_input(net, specimen.recipe), torch.Generator().manual_seed(seed))


def _remove(net: nn.Module, specimen: Specimen, unit: Unit, plan: BlockRemoval) -> None:
    paths = unit_paths(specimen, unit)
    if plan.added is not None and plan.added.way == "new":
        parent, _, name = paths[0].rpartition(".")
        home = net.get_submodule(parent)
        if isinstance(home, nn.ModuleDict):  # its forward goes through what it holds
            del home[name]
        else:
            replace_module(net, paths[0], NoNewChannels())
        return
    stand_in: nn.Module = SkippedBlock(plan.form, plan.count)
    if plan.how == "linear":
        like = next(net.parameters())
        stand_in = LinearBlock(plan.shapes, plan.channels_first, plan.grids, plan.form, plan.count).to(like.device, like.dtype)
    removed, holder = net.get_submodule(paths[0]), ".".join(paths[0].split(".")[:-2])
    replace_module(net, paths[0], stand_in)
    keep_encoder_running(net.get_submodule(holder), removed, stand_in)
    for path in paths[1:]:
        replace_module(net, path, nn.Identity())


def unit_paths(specimen: Specimen, unit: Unit) -> list[str]:
    """The paths of the modules that make up a block: one, or those from the first layer to the last that follows it."""
    if unit.entry is unit.exit:
        return [unit.path]
    calls = specimen.anatomy.trace.calls
    inside = [call.path for call in calls if unit.entry.order <= call.order <= unit.exit.order]
    return [path for path in inside if not any(path.startswith(f"{other}.") for other in inside)]


def _observe(net: nn.Module, x: Tensor, units: Mapping[str, Unit]) -> dict[str, _Observed]:
    """What goes into and comes out of every block at its first call, by name."""
    observed: dict[str, _Observed] = {}

    def look(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            values = [*inputs, *named.values()]
            unit = units[name]
            observed.setdefault(
                name, _Observed(block_form(values, output), unit.entry.inputs[: len(unit.exit.outputs)], unit.exit.outputs)
            )

        return hook

    handles: list[Any] = []
    try:
        for name, unit in units.items():
            if unit.entry is unit.exit:
                handles.append(net.get_submodule(name).register_forward_hook(look(name), with_kwargs=True))
            else:
                observed[name] = _Observed(("tensor", 1), unit.entry.inputs, unit.exit.outputs)
        with torch.no_grad(), slow_attention():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return observed
