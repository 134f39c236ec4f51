"""Dilated convolutions that read the same map side by side, and the rates that fit the map.

A branch begins with its dilated convolution, or with what looks at each position by itself before it: a 1 x 1 convolution, a rectifier,
a norm; padding too. A larger kernel in front would blur the star that the taps draw, so such branches are not joined. Behind 1 x 1
convolutions they count as branches only within one module (that takes the map and joins them, or holds them): a bottleneck of the
backbone and a head beside it are none.

Source: atrous spatial pyramid pooling, Chen et al. 2017, arXiv:1706.05587; the search for branches, and what is taken for one, are ours.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from torch import nn

from microtome.instruments.dilated.convolutions import DilatedConv, is_dilated
from microtome.numerics.receptive.dilations import shared_rates
from microtome.specimen import Specimen
from microtome.specimen.layers import is_weight
from microtome.specimen.tracing import Call, Mark


@dataclass(frozen=True, eq=False)
class BranchGroup:
    """Dilated convolutions of different rates that read the same map side by side, in execution order.

    `holder` is the layer that takes that map and gives the joined branches on the same grid; empty where no module does just that.
    `begins` is the layer that each branch begins with: the convolution itself where no weights stand before it.
    """

    members: tuple[DilatedConv, ...]
    holder: str
    begins: tuple[str, ...]

    @property
    def title(self) -> str:
        """The holder's name, else what the paths of the branches have in common, else that of the first."""
        if self.holder:
            return self.holder
        return _common_path(self.members) or f"{self.members[0].path} and others"


def _common_path(members: Sequence[DilatedConv]) -> str:
    """What the paths of all have in common from the start; empty where only the network holds them all."""
    same = takewhile(lambda words: len(set(words)) == 1, zip(*(member.path.split(".") for member in members), strict=False))
    return ".".join(words[0] for words in same)


def branch_groups(specimen: Specimen, convs: Sequence[DilatedConv]) -> list[BranchGroup]:
    """The groups of parallel branches among `found`: two or more dilated convolutions of different rates that read the same map."""
    calls = specimen.anatomy.trace.calls
    readers: dict[Mark, list[DilatedConv]] = defaultdict(list)
    begins: dict[Mark, dict[str, str]] = defaultdict(dict)
    for conv in convs:
        for mark, (shape, call) in _branch_origins(conv, calls).items():
            if shape[2:] == conv.side:
                readers[mark].append(conv)
                begins[mark][conv.name] = conv.name if call is conv.call else _branch_name(specimen, call)
    groups: list[BranchGroup] = []
    taken: set[str] = set()
    for mark, members in sorted(readers.items(), key=lambda pair: -len(pair[1])):
        free = [member for member in members if member.name not in taken]
        for group in _side_by_side(specimen, free, mark, begins[mark]):
            starts = tuple(begins[mark][conv.name] for conv in group)
            groups.append(BranchGroup(tuple(group), _holder_path(specimen, group, mark), starts))
            taken |= {conv.name for conv in group}
    order = {conv.name: place for place, conv in enumerate(convs)}
    return sorted(groups, key=lambda group: order[group.members[0].name])


def _side_by_side(
    specimen: Specimen, members: Sequence[DilatedConv], mark: Mark, begins: Mapping[str, str]
) -> list[list[DilatedConv]]:
    """The groups among convolutions that read the same map: of different rates, on the same positions, within one module.

    One more that reads the map (with another stride, without padding, in another module) doesn't break up the others. What no module
    holds together is a group where no weights stand before it.
    """
    groups: list[list[DilatedConv]] = []
    for positions in dict.fromkeys(member.positions for member in members):
        alike = [member for member in members if member.positions == positions]
        if _holder_path(specimen, alike, mark) or _common_path(alike):
            groups.append(alike)
            continue
        parts = [
            [conv for conv in alike if conv.path.split(".")[0] == home]
            for home in dict.fromkeys(conv.path.split(".")[0] for conv in alike)
        ]
        held = [part for part in parts if _varied(part)]
        rest = [conv for part in parts if part not in held for conv in part if begins[conv.name] == conv.name]
        groups += [*held, rest]
    return [group for group in groups if _varied(group)]


def _varied(group: Sequence[DilatedConv]) -> bool:
    return len({conv.rate for conv in group}) > 1


def _branch_origins(conv: DilatedConv, calls: Sequence[Call]) -> dict[Mark, tuple[tuple[int, ...], Call]]:
    """The maps at which a branch with this convolution can begin, with their shapes, and the call it begins with.

    Its own input, and that of every module around it in which nothing but 1 x 1 convolutions comes before it and no other dilated
    convolution lies; a module that reads several maps (as the layers of dense blocks do) begins at none of them.
    """
    made: dict[Mark, tuple[tuple[int, ...], Call]] = {conv.call.reads[0]: ((0, 0, *conv.side), conv.call)}
    for call in _enclosing_calls(conv.call, calls):
        within = [each for each in calls if call.begun <= each.begun and each.order <= call.order]
        first = min(
            (each.begun for each in within if is_weight(each.module) and not _is_pointwise(each.module)),
            default=conv.call.begun,
        )
        if first < conv.call.begun or sum(map(is_dilated, within)) > 1:
            break
        if len(call.reads) == 1 and len(call.inputs[0]) == 4:
            weights = any(is_weight(each.module) and each.begun < conv.call.begun for each in within)
            made.setdefault(call.reads[0], (call.inputs[0], call if weights else conv.call))
    return made


def _is_pointwise(module: nn.Module) -> bool:
    """Whether the module looks at each position of the map by itself and leaves none out."""
    return (
        isinstance(module, nn.Conv2d)
        and {*module.kernel_size, *module.stride} == {1}
        and module.padding in ((0, 0), "same", "valid")
    )


def _enclosing_calls(inner: Call, calls: Sequence[Call]) -> list[Call]:
    """The calls within which a call was made, the innermost first."""
    return [call for call in calls[inner.order + 1 :] if call.begun < inner.begun and inner.path.startswith(call.path + ".")]


def _holder_path(specimen: Specimen, members: Sequence[DilatedConv], mark: Mark) -> str:
    calls = specimen.anatomy.trace.calls
    around = [{call.order for call in _enclosing_calls(member.call, calls)} for member in members]
    for order in sorted(set[int].intersection(*around)):
        call = calls[order]
        if call.reads[:1] == (mark,) and len(call.outputs) == 1 and call.outputs[0][2:] == tuple(members[0].positions):
            return _branch_name(specimen, call)
    return ""


def _branch_name(specimen: Specimen, call: Call) -> str:
    return next(layer.name for layer in specimen.layers if layer.path == call.path and (layer.call or 0) == call.index)


def suggested_rates(convs: Sequence[DilatedConv], groups: Sequence[BranchGroup]) -> dict[str, int]:
    """Name -> main rate by the rule: parallel branches share the largest rate that reaches the border; others stay at most there."""
    made = {conv.name: min(conv.main, conv.most) for conv in convs}
    for group in groups:
        steps = sorted({member.main for member in group.members})
        rates = shared_rates(min(member.most for member in group.members), len(steps))
        made |= {member.name: rates[steps.index(member.main)] for member in group.members}
    return made
