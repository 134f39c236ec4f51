"""Connects every block to all earlier maps of its stage, preserving the function.

A stage is a chain of blocks on one grid, side by side in one `nn.Sequential`: the residual blocks of a ResNet, the convolutions of a
VGG between two poolings. Block l of it, which read only x_{l-1}, reads x_0 … x_{l-2} too (x_0, what enters the stage, where it lies on
the same grid).

`way=concat`: the first convolution of the block reads the earlier maps stacked behind its own input; its weights are widened by
slices that are zero. The shortcut of a residual block reads x_{l-1} alone, as before. This is DenseNet's own wiring (additions stay
where they were: taking them out could not preserve the function). It asks for an ordinary convolution at the start of the branch:
not a norm, not a depthwise or grouped convolution. `way=add`: every earlier map goes through a 1 x 1 convolution of zeros, without bias,
and is added to the block's input; branch and shortcut both see it. It fits every chain.

The new weights start at zero, but their gradients do not: training can use them from the first step. With `add` outputs are equal to
the bit; with `concat` the same sums run over more terms, so they are equal up to rounding.

The paper has no such surgery, its networks are trained with their wiring from the start: the edit, and both ways, are ours.

Source: connectivity of Huang et al. 2017, arXiv:1608.06993, eq. 2; as an edit: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.networks.wiring import DenseSequential, Projection, Shelf, WideConv2d
from microtome.specimen import Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.tracing import Call


@dataclass(frozen=True)
class _Member:
    """One block of a chain.

    `begin` and `end` are the members of the sequence that it begins and ends with; `reader` is the path of the first convolution of
    its branch, "" where none could be widened; `entered` says that its input lies on the grid of its output.
    """

    begin: str
    end: str
    inputs: int
    units: int
    reader: str
    stage: int
    entered: bool


@dataclass(frozen=True)
class _Chain:
    """Blocks of the `nn.Sequential` at `path` that follow each other on one grid."""

    path: str
    members: tuple[_Member, ...]

    @property
    def stage(self) -> int:
        """The stage's number, from 1."""
        return self.members[0].stage + 1

    def sources(self, place: int) -> dict[str, int]:
        """Earlier maps that the block at `place` does not read yet, with their channels; "<name" is what enters a member."""
        first = self.members[0]
        widths = {f"<{first.begin}": first.inputs} if first.entered and place > 0 else {}
        return widths | {member.end: member.units for member in self.members[: max(place - 1, 0)]}

    @property
    def connections(self) -> int:
        """How many earlier maps are left unread by the blocks, all together."""
        return sum(len(self.sources(place)) for place in range(len(self.members)))


@final
class DenseConnections(Edit):
    """Every block of a stage reads all earlier maps."""

    title = "Dense connections"

    way: Literal["concat", "add"] = option("concat", "how earlier maps enter: concatenated at the first convolution, or added")
    stages: tuple[int, ...] = option((), "stages to connect, counted from 1; all by default")

    def refusal(self, specimen: Specimen) -> str:
        every = _chains(specimen)
        if not every:
            return (
                "no stage of it is a chain of blocks, in one nn.Sequential and on one grid, that leaves an earlier map unread "
                "(three blocks, or two where what enters the stage lies on their grid)"
            )
        known = sorted({chain.stage for chain in every})
        if missing := [stage for stage in self.stages if stage not in known]:
            return (
                f"stage {missing[0]} has no chain that could be connected; those that have one are {', '.join(map(str, known))}"
            )
        for chain in self._target_chains(specimen):
            closed = [member.begin for place, member in enumerate(chain.members) if chain.sources(place) and not member.reader]
            if self.way == "concat" and closed:
                where = ".".join(filter(None, (chain.path, closed[0])))
                return f"the branch of {where} does not begin with an ordinary convolution that could be widened; take way=add"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        chosen = self._target_chains(specimen)
        for path in dict.fromkeys(chain.path for chain in chosen):
            self._connect(net, path, [chain for chain in chosen if chain.path == path])
        blocks = sum(bool(chain.sources(place)) for chain in chosen for place in range(len(chain.members)))
        maps = sum(chain.connections for chain in chosen)
        how = "stacked into their first convolutions" if self.way == "concat" else "added through 1 x 1 convolutions"
        return f"let {blocks} blocks read {maps} earlier maps of their stages, {how}"

    def preserves(self, specimen: Specimen) -> Preservation:
        if self.way == "add":
            return Preservation("exactly", "what is added starts as zero", 0.0)
        return Preservation("exactly", "the weights that read the new maps start as zero, up to the order of sums")

    def _target_chains(self, specimen: Specimen) -> list[_Chain]:
        return [chain for chain in _chains(specimen) if not self.stages or chain.stage in self.stages]

    def _connect(self, net: nn.Module, path: str, chains: list[_Chain]) -> None:
        """Replace the sequence at `path` by one that keeps its maps and hands them on."""
        sequence = net.get_submodule(path)
        assert isinstance(sequence, nn.Sequential)
        shelf, like = Shelf(), next(net.parameters())
        kept: set[str] = set()
        added: dict[str, dict[str, Projection]] = {}
        for chain in chains:
            for place, member in enumerate(chain.members):
                sources = chain.sources(place)
                kept |= set(sources)
                if sources and self.way == "concat":
                    narrow = net.get_submodule(member.reader)
                    assert isinstance(narrow, nn.Conv2d)  # `unfit` has refused before
                    replace_module(net, member.reader, WideConv2d(narrow, list(sources), sum(sources.values()), shelf))
                elif sources:
                    added[member.begin] = {name: Projection(units, member.inputs, like) for name, units in sources.items()}
        replace_module(net, path, DenseSequential(sequence, kept, shelf, added))


def _chains(specimen: Specimen) -> list[_Chain]:
    """The chains of a specimen in execution order, those in which an earlier map is left unread."""
    modules = dict(specimen.net.named_modules())
    calls = specimen.anatomy.trace.by_path()
    starts = {block.block: block.start for block in specimen.residuals}
    runs: list[tuple[str, list[_Member]]] = []
    before: Unit | None = None
    for block, unit in zip(specimen.blocks, specimen.anatomy.units, strict=True):
        home = unit.entry.path.rpartition(".")[0]
        if not _in_sequence(modules.get(home), unit, calls):
            before = None
            continue
        reader = starts.get(block.name, unit.path if unit.entry is not unit.exit else "")
        member = _member(unit, _widenable(reader, unit.entry, calls), block.stage)
        if before is not None and runs[-1][0] == home and _continues(before, unit):
            runs[-1][1].append(member)
        else:
            runs.append((home, [member]))
        before = unit
    chains = [_Chain(home, tuple(members)) for home, members in runs]
    return [chain for chain in chains if chain.connections]


def _in_sequence(home: nn.Module | None, unit: Unit, calls: Mapping[str, list[Call]]) -> bool:
    """Whether a unit begins and ends with members of one plain sequence, runs once, and takes and gives one map."""
    plain = type(home) is nn.Sequential and unit.entry.path.rpartition(".")[0] == unit.exit.path.rpartition(".")[0]
    once = all(len(calls[call.path]) == 1 for call in (unit.entry, unit.exit))
    taken, given = unit.entry.inputs, unit.exit.outputs
    return plain and once and len(taken) == len(given) == 1 and len(taken[0]) == len(given[0]) == 4


def _continues(before: Unit, unit: Unit) -> bool:
    """Whether a unit reads just what the one before gives, and both give maps on one grid."""
    return unit.entry.reads == before.exit.gives and unit.exit.outputs[0][2:] == before.exit.outputs[0][2:]


def _widenable(reader: str, entry: Call, calls: Mapping[str, list[Call]]) -> str:
    """The path of a convolution that reads what enters the block and could read more, else ""."""
    (call, *others) = calls.get(reader, [entry])
    plain = type(call.module) is nn.Conv2d and call.module.groups == 1 and not others
    return reader if plain and reader and call.reads == entry.reads else ""


def _member(unit: Unit, reader: str, stage: int) -> _Member:
    begin, end = (call.path.rpartition(".")[2] for call in (unit.entry, unit.exit))
    taken, given = unit.entry.inputs[0], unit.exit.outputs[0]
    return _Member(begin, end, taken[1], given[1], reader, stage, taken[2:] == given[2:])
