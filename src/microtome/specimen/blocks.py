"""The removable units of a network, found from its structure: residual, inception and transformer blocks, convolution groups.

A composite is a module with at least two weight layers below it. A module made of a chain of composites of one class is a stage
and is looked into; any other composite is a block. A plain network without composites is cut into groups of convolution,
normalisation and activation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import prod

from torch import nn

from microtome.networks.wiring import DenseSequential, Projection
from microtome.numerics.graph.positions import MAX_PREFIX
from microtome.specimen.layers import Grid, Layer, head_path, is_norm, kind_of, weight_layers
from microtome.specimen.tracing import Call, Trace

HEADS = frozenset(
    [
        "head",
        "heads",
        "head_dist",
        "pre_logits",
        "classifier",
        "fc",
        "last_linear",
        "mlp_head",
        "aux",
        "aux1",
        "aux2",
        "AuxLogits",
    ]
)
Key = tuple[Grid | int | str | None, ...]
STEMS = frozenset(("stem", "patch_embed"))
LISTS = (nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Block:
    """A removable unit. `entry` and `exit` are the layers whose input and output bound it (the same for a composite module).

    `name` is the module path of a composite, or of the convolution of a plain group; `keeps_shape` says that what goes in has
    the shape of what comes out, so that the identity can take its place; `stage` counts the grids passed so far, from 0.
    """

    name: str
    entry: str
    exit: str
    keeps_shape: bool
    parameters: int
    stage: int


@dataclass(frozen=True, eq=False)
class Unit:
    """A block before it is named: its module path, the calls that bound it, and its weights' count."""

    path: str
    entry: Call
    exit: Call
    parameters: int


class _Structure:
    """The module tree of a trace: children in execution order, composites, stages."""

    def __init__(self, trace: Trace, net: nn.Module) -> None:
        self.trace = trace
        self.modules = dict(net.named_modules())
        self.calls: dict[str, Call] = {}
        for call in trace.calls:
            self.calls.setdefault(call.path, call)
        self.content: dict[str, list[str]] = {}
        for call in trace.calls:
            parent = call.path.rpartition(".")[0]
            while parent and parent not in self.calls:
                parent = parent.rpartition(".")[0]
            children = self.content.setdefault(parent, [])
            if call.index == 0:
                children.append(call.path)
        self.branch_marks = {
            mark for call in trace.calls if len(main_outputs(trace, call)) > 1 for mark in call.gives
        }  # parallel branches, not what is given besides
        self.stage_classes: set[type[nn.Module]] = set()
        self.depths: dict[type[nn.Module], set[int]] = {}
        self.mergers: list[Call] = []  # composites of a head that merges several branches

    def parameters(self, path: str) -> int:
        return sum(parameter.numel() for parameter in self.modules[path].parameters())

    def is_container(self, path: str) -> bool:
        module = self.modules[path]
        chains = (nn.Sequential.forward, DenseSequential.forward)
        plain = type(module).forward in chains if isinstance(module, nn.Sequential) else False
        return plain or path not in self.calls

    def is_composite(self, path: str) -> bool:
        """Whether the module has two weight layers and works on a grid or tokens (a classifier head does not count)."""
        if self.is_container(path) or is_stem_or_head(path):
            return False
        return len(weight_layers(self.modules[path])) + _hidden_weights(self.modules[path]) >= 2

    def composites(self, path: str) -> list[str]:
        """The composites in a module's content, looking through containers but not into composites."""
        composites: list[str] = []
        for child in self.content.get(path, []):
            if self.is_composite(child):
                composites.append(child)
            elif self.is_container(child):
                composites += self.composites(child)
        return composites

    def is_stage(self, path: str) -> bool:
        """Whether a composite is a chain of smaller composites rather than a block."""
        call, inner = self.calls[path], self.composites(path)
        if len(inner) < 2 or sum(map(self.parameters, inner)) < 0.5 * self.parameters(path):
            return False
        chain = [self.calls[child] for child in inner]
        main = main_outputs(self.trace, call)
        ends_with_last = bool(set(chain[-1].gives) & {call.gives[place] for place in main})
        if len(main) == 1 and set(chain[-1].gives) & call.besides:
            ends_with_last = True  # what is given besides is the chain's end, before it was made smaller
        if not ends_with_last and (len(main) != 1 or not _same_places(chain[-1], call, main[0])):
            return False
        classes = [type(self.modules[child]) for child in inner]
        common = max(classes.count(each) for each in classes)
        linked = sum(bool(set(one.gives) & set(two.reads)) for one, two in pairwise(chain))
        if linked < (len(inner) - 1) / 2 or (common < 2 and len(inner) < 4):
            return False
        # a block that adds a shortcut after two or three parts of a kind is no stage: stages end with their last block, join
        # their blocks' outputs, hold blocks that are composed themselves, or come in several depths
        return (
            ends_with_last
            or isinstance(self.modules[path], LISTS)
            or any(map(self.composites, inner))
            or (common > 2 and len(self.depths[type(self.modules[path])]) > 1)
        )

    def learn_stages(self) -> None:
        """Remember the classes of stages, by what most or the long ones of a class are: a single block is recognised by its siblings."""
        composites = [path for path in self.calls if self.is_composite(path)]
        for path in composites:
            self.depths.setdefault(type(self.modules[path]), set()).add(len(self.composites(path)))
        votes: dict[type[nn.Module], list[bool]] = {}
        for path in composites:
            if len(self.composites(path)) > 1:
                votes.setdefault(type(self.modules[path]), []).append(self.is_stage(path))
            if len(self.composites(path)) > 3 and self.is_stage(path):
                self.stage_classes.add(type(self.modules[path]))
        self.stage_classes |= {kind for kind, ballots in votes.items() if sum(ballots) >= len(ballots) / 2}

    def blocks(self, path: str) -> list[str]:
        blocks: list[str] = []
        children = self.content.get(path, [])
        for child in children:
            if not self.is_composite(child):
                if self.is_container(child):
                    blocks += self.blocks(child)
            elif set(self.calls[child].reads) <= self.branch_marks and len(self.calls[child].reads) == 1:
                self.mergers.append(self.calls[child])  # reads one branch of several: part of a head that merges them
            elif self.is_wrapper(child, children) or self.is_stage_by_class(child) or self.holds_one(child):
                blocks += self.blocks(child)
            else:
                blocks.append(child)
        return blocks

    def is_stage_by_class(self, path: str) -> bool:
        """Whether a composite is of a class that is a stage somewhere in this network."""
        inner, gives = self.composites(path), self.calls[path].gives
        several = len(main_outputs(self.trace, self.calls[path])) > 1
        joined = several and bool(inner) and self.calls[inner[-1]].gives != gives
        return type(self.modules[path]) in self.stage_classes and bool(inner) and not joined

    def holds_one(self, path: str) -> bool:
        """Whether a composite is a chain of a single composite, whatever class of chain."""
        module = self.modules[path]
        return isinstance(module, nn.Sequential) and len(module) == 1 and len(self.composites(path)) == 1

    def is_wrapper(self, path: str, siblings: Sequence[str]) -> bool:
        """Whether nearly everything is inside this one module, a network in a network: one that takes the image, or is large."""
        body = [sibling for sibling in siblings if not is_stem_or_head(sibling)]
        if self.parameters(path) <= 0.9 * sum(map(self.parameters, body)):
            return False
        if self.takes_image(path):
            return True
        every = sum(map(self.parameters, siblings))
        return "." not in path and self.parameters(path) > 0.9 * every and len(weight_layers(self.modules[path])) > 8

    def takes_image(self, path: str) -> bool:
        """Whether a module takes what the network takes: the image itself, or one of its shape (normalised)."""
        call = self.calls[path]
        return bool(call.inputs) and call.inputs[0] == self.trace.image


def is_stem_or_head(path: str) -> bool:
    """Whether a path runs through a stem or a classifier head, by the names that they have."""
    return any(part in HEADS or part in STEMS for part in path.split("."))


def main_outputs(trace: Trace, call: Call) -> list[int]:
    """Which of a call's outputs the network goes on with: those read by later modules, else given by the network, else the first.

    A block may give more than its maps: attention weights, a class token, what it was before it was made smaller, sizes.
    """
    if len(call.gives) < 2:
        return list(range(len(call.gives)))
    read = [place for place, mark in enumerate(call.gives) if trace.is_read(mark, call)]
    given = [place for place, mark in enumerate(call.gives) if any(output.mark == mark for output in trace.outputs)]
    chosen = read or given or [0]
    chosen = [place for place in chosen if call.gives.index(call.gives[place]) == place]  # one tensor may be given twice
    return [place for place in chosen if prod(call.outputs[place][1:-1]) > 1] or chosen


def main_layers(trace: Trace, layers: Sequence[Layer]) -> dict[tuple[str, int], list[Layer]]:
    """The layers of the main outputs of every call, by (module path, call)."""
    named: dict[tuple[str, int], list[Layer]] = {}
    main = {(call.path, call.index): main_outputs(trace, call) for call in trace.calls if len(call.gives) > 1}
    for layer in layers:
        key = layer.path, layer.call or 0
        if layer.branch is None or layer.branch in main[key]:
            named.setdefault(key, []).append(layer)
    return named


def _same_places(inner: Call, outer: Call, place: int = 0) -> bool:
    """Whether a part works on the same places as the whole: the same batch and grid, or as many tokens and class tokens."""
    inside, whole = inner.outputs[0], outer.outputs[place]
    if len(inside) == len(whole) == 4:
        return inside[0] == whole[0] and bool({inside[2:], inside[1:3]} & {whole[2:], whole[1:3]})
    if len(inside) != 3 or len(whole) < 2:
        return False
    places = whole[2] * whole[3] if len(whole) == 4 else whole[1]
    more = inside[1] - places
    return inside[0] == whole[0] and (more == 0 or (len(whole) == 4 and 0 < more <= MAX_PREFIX))


def _hidden_weights(module: nn.Module) -> int:
    """Weights that are not modules of their own: the projections inside `nn.MultiheadAttention`."""
    return sum(isinstance(part, nn.MultiheadAttention) for part in module.modules())


def removable_units(trace: Trace, net: nn.Module) -> list[Unit]:
    """The removable units in execution order."""
    structure = _Structure(trace, net)
    structure.learn_stages()
    paths = structure.blocks("")
    covered = sum(map(structure.parameters, paths))
    groups = plain_units(trace)
    merged = min((call.begun for call in structure.mergers), default=float("inf"))
    inside = tuple(path + "." for path in paths)
    outside = [unit for unit in groups if unit.entry.begun < merged and not unit.path.startswith(inside)]
    trunk = covered + sum(unit.parameters for unit in outside)
    if not paths or covered < 0.25 * trunk:
        return groups
    paths.sort(key=lambda path: structure.calls[path].order)
    return [Unit(path, structure.calls[path], structure.calls[path], structure.parameters(path)) for path in paths]


def plain_units(trace: Trace) -> list[Unit]:
    """Groups of a convolution and the normalisation and activation that directly follow it; heads are left out."""
    leaves = [call for call in trace.calls if next(call.module.children(), None) is None or is_norm(call.module)]
    groups: list[Unit] = []
    for place, call in enumerate(leaves):
        if (
            kind_of(call.module) != "conv"
            or isinstance(call.module, Projection)
            or is_stem_or_head(call.path)
            or len(call.outputs[0]) != 4
        ):
            continue
        members = [call]
        for following in leaves[place + 1 :]:
            if kind_of(following.module) not in ("norm", "act") or not set(members[-1].gives) & set(following.reads):
                break
            members.append(following)
        counted = {id(parameter): parameter.numel() for member in members for parameter in member.module.parameters()}
        groups.append(Unit(call.path, call, members[-1], sum(counted.values())))
    head = head_path(trace)
    return [group for group in groups if group.path != head]


def named_blocks(trace: Trace, units: Sequence[Unit], layers: Sequence[Layer]) -> tuple[Block, ...]:
    """The units as blocks, with the names of their layers and their stages."""
    named = main_layers(trace, layers)
    blocks: list[Block] = []
    stage, before = -1, None
    for unit, grids in zip(units, stage_keys(trace, units, layers), strict=True):
        if grids != before:
            stage, before = stage + 1, grids
        entry, leave = named[unit.entry.path, unit.entry.index][0].name, named[unit.exit.path, unit.exit.index][0].name
        same = unit.entry.inputs == unit.exit.outputs
        blocks.append(Block(unit.path, entry, leave, same, unit.parameters, stage))
    return tuple(blocks)


def stage_keys(trace: Trace, units: Sequence[Unit], layers: Sequence[Layer]) -> list[Key]:
    """One key per unit; neighbours with the same key are one stage: the grids of all branches.

    Where there are fewer than three grids, the modules that hold the blocks divide them, or else they are cut into thirds.
    """
    named = main_layers(trace, layers)
    keys: list[Key] = [tuple(layer.grid for layer in named[unit.exit.path, unit.exit.index]) for unit in units]
    gridded = [place for place, key in enumerate(keys) if key[0] is not None]
    if len(gridded) < 3 or _count_runs(keys[place] for place in gridded) >= 3:
        return keys
    homes = [(units[place].path.rpartition(".")[0], *keys[place]) for place in gridded]
    if 3 <= _count_runs(homes) < len(gridded):  # stages that share a grid
        for place, home in zip(gridded, homes, strict=True):
            keys[place] = home
        return keys
    thirds = [round(len(gridded) * part / 3) for part in (1, 2, 3)]
    for rank, place in enumerate(gridded):
        keys[place] = (next(third for third, end in enumerate(thirds) if rank < end),)
    return keys


def _count_runs(keys: Iterable[Key]) -> int:
    """How many runs of equal neighbours there are."""
    return sum(1 for _ in groupby(keys))
