"""MT1xx: what kernels read of what is before them. From shapes alone, the same for trained and untrained weights."""

from typing import cast

import torch
from torch import nn

from microtome.analyses.audit.rule import Fault, Rule, Subject
from microtome.instruments.dilated.branches import suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv
from microtome.instruments.strides import uneven_readers
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.receptive.evenness import fold_phases, forecast_phases, phase_ratio
from microtome.prose import plural
from microtome.specimen.full_gradients import full_gradients
from microtome.specimen.tracing import Call

PERIODS = range(2, 9)  # px over which unevenness is folded; longer ones leave too few places
EVEN_RATIO, WEAK_RATIO = (
    0.98,
    0.5,
)  # fraction of the weakest phase from which on all pixels count alike, and below which some count little
NARROW_REACH = 0.25  # reach of the widest parallel branch over the side of its map: half the way to the border


def check_unread(subject: Subject) -> Fault | None:
    """Convolutions whose windows leave positions out: a kernel smaller than its stride, or a dilation that meets it."""
    shares = {call.path: _read_fraction(call) for call in _convolution_calls(subject)}
    hit = {path: share for path, share in shares.items() if share < 1}
    if not hit:
        return None
    worst = min(hit, key=lambda path: hit[path])
    pointwise = sum(
        max(cast(nn.Conv2d, call.module).kernel_size) == 1 for call in _convolution_calls(subject) if call.path in hit
    )
    return Fault(
        tuple(hit),
        f"{plural(len(hit), 'convolution')} ({pointwise} of 1 x 1) with positions never read; "
        f"{worst} reads {format_value(hit[worst], FRACTION)} of them",
        edit="kernel_padding",
    )


def check_uneven(subject: Subject) -> Fault | str | None:
    """Kernels that read some pixels more often than others, without leaving any out: the forecast through the whole stack."""
    specimen = subject.specimen
    left_out = set((check_unread(subject) or Fault((), "")).layers)
    readers = [reader for reader in uneven_readers(specimen) if specimen.layer(reader.name).path not in left_out]
    if not readers:
        return None
    rows, cols = specimen.recipe.size
    picture = torch.ones(1, specimen.recipe.channels, rows, cols, device=specimen.device)
    with full_gradients(specimen.net):
        shares = forecast_phases(specimen.answer, picture)
    worst = min(
        phase_ratio(fold_phases(shares, period, min(rows, cols) // 8)) for period in PERIODS if 4 * period <= min(rows, cols)
    )
    if not worst < EVEN_RATIO:  # NaN where the image is too small to fold
        return None
    pools = sum(reader.pool for reader in readers)
    first = readers[0]
    return Fault(
        tuple(dict.fromkeys(specimen.layer(reader.name).path for reader in readers)),
        f"by kernels and strides alone the weakest pixels count {format_value(worst, FRACTION)} of the strongest; "
        f"{plural(len(readers), 'layer reads', 'layers read')} unevenly ({plural(pools, 'pool')}), first "
        f"{first.name}: {first.kernel[0]} x {first.kernel[1]} at stride {first.stride[0]}",
        severity="warning" if worst < WEAK_RATIO else "note",
        edit="kernel_padding" if len(readers) > pools else "",
    )


def check_border(subject: Subject) -> Fault | str | None:
    """Layers that enlarge a field which already holds the whole image."""
    size = subject.specimen.recipe.size
    fields = subject.fields
    if any(not field.exact for field in fields.values()):
        return "some operations on the way are not followed, so fields are not exact"
    hit = {name: field for name, field in fields.items() if field.is_border(size)}
    if not hit:
        return None
    paths = tuple(subject.specimen.layer(name).path for name in hit)
    first = next(iter(hit))
    rows, cols = hit[first].entering
    matters = format_value(rows) if rows == cols else f"{format_value(rows)} x {format_value(cols)}"
    return Fault(
        paths,
        f"{plural(len(hit), 'convolution')} given the whole image of {size[0]} x {size[1]} px before they begin, from {first} on; "
        f"that one has something new to see beyond {matters} px",
        fix=f"Feed images beyond {matters} px, leave these layers out, or take strides out of earlier ones.",
    )


def check_atrous(subject: Subject) -> Fault | None:
    """Dilated kernels whose outer taps read padding only (rate at least the side), or never all at once."""
    dilated = [conv for conv in subject.dilated_convs if conv.readings and conv.edges == "zeros"]
    dead = [conv for conv in dilated if conv.dead]
    wide = [conv for conv in dilated if not conv.dead and conv.whole == 0]
    if not dead and not wide:
        return None
    evidence: list[str] = []
    if dead:
        first = dead[0]
        axis = first.dead[0]
        evidence.append(
            f"{plural(len(dead), 'dilated convolution reads', 'dilated convolutions read')} only one tap along an "
            f"axis: {first.path} has rate {first.rate[axis]} on {first.side[axis]} positions, "
            f"{format_value(first.valid, FRACTION)} of its taps read it"
        )
    if wide:
        first = min(wide, key=lambda conv: conv.valid)
        evidence.append(
            f"{plural(len(wide), 'never has', 'never have')} all taps on the map: {first.path} has rate {first.main} on "
            f"{min(first.side)} positions, {format_value(first.valid, FRACTION)} of its taps read it"
        )
    layers = dict.fromkeys(conv.path for conv in dilated if conv in dead or conv in wide)
    return Fault(
        tuple(layers), "; ".join(evidence), severity="warning" if dead else "note",
        fix=f"{_suggested_rates(subject, [*dead, *wide])} The edit atrous_rates, then train; or a larger image.", edit="atrous_rates",
    )  # fmt: skip


def check_narrow(subject: Subject) -> Fault | None:
    """Parallel dilated branches whose widest, seen from the middle, ends well before the border."""
    hit = [group for group in subject.branch_groups if max(conv.reach for conv in group.members) < NARROW_REACH]
    if not hit:
        return None
    group = hit[0]
    widest = max(group.members, key=lambda conv: conv.reach)
    members = [conv for each in hit for conv in each.members]
    return Fault(
        tuple(dict.fromkeys(conv.path for conv in members)),
        f"{plural(len(hit), 'group')} of parallel branches; the widest of {group.title}, {widest.path}, has rate {widest.main} on "
        f"{min(widest.side)} positions: it reaches {format_value(widest.reach, FRACTION)} of the side from the middle, "
        "where 50% is the border",
        fix=f"{_suggested_rates(subject, members)} The edit atrous_rates, then train; or a smaller image.",
        edit="atrous_rates",
    )


def _suggested_rates(subject: Subject, convs: list[DilatedConv]) -> str:
    """The rates by the rule of the groups in which these lie, or of the first of them."""
    best = suggested_rates(subject.dilated_convs, subject.branch_groups)
    group = next((each.members for each in subject.branch_groups if convs[0] in each.members), (convs[0],))
    rates = ", ".join(map(str, sorted({best[conv.name] for conv in group})))
    return f"Rates that reach the border and no further on {min(convs[0].side)} positions: {rates} (rule: (positions − 1) / 2, ours)."


def _convolution_calls(subject: Subject) -> list[Call]:
    return [
        call
        for call in subject.leaves
        if isinstance(call.module, nn.Conv2d) and call.inputs and len(call.inputs[0]) == 4 and min(call.outputs[0][2:]) > 0
    ]


def _read_fraction(call: Call) -> float:
    """The fraction of positions that at least one window reads, far from the edges; 1 for a map of one position."""
    conv = cast(nn.Conv2d, call.module)
    share = 1.0
    for axis in (0, 1):
        kernel, stride, dilation = conv.kernel_size[axis], conv.stride[axis], conv.dilation[axis]
        if call.inputs[0][2 + axis] > 1:
            share *= len({(tap * dilation) % stride for tap in range(kernel)}) / stride
    return share


RULES = (
    Rule(
        id="MT101",
        title="Positions that no kernel reads",
        severity="warning",
        check=check_unread,
        reason=(
            "A 1 x 1 convolution of stride 2 passes one position in four; what lies on the others reaches the "
            "output only through other paths, unevenly."
        ),
        source="Kim et al. 2023, arXiv:2108.13576; He et al. 2018, arXiv:1812.01187, ResNet-D.",
        cost="With kernel_padding the function stays, multiply-adds of these layers rise; some training.",
        fix="Average before the projection (ResNet-D), or pad the kernels to the stride: the edit kernel_padding, then train.",
    ),
    Rule(
        id="MT102",
        title="Dead pixels",
        severity="warning",
        check=check_uneven,
        reason=(
            "A kernel whose stride does not divide it reads some pixels more often than others; through a stack "
            "this becomes a grid of weak pixels."
        ),
        source="Kim et al. 2021, arXiv:2108.13576; the forecast without weights or images is ours.",
        cost=(
            "With kernel_padding the function stays, multiply-adds rise; some training. Accuracy on ordinary "
            "photographs fell by about a point there."
        ),
        fix=(
            "Kernels that their stride divides: the edit kernel_padding, then train. Gradients on your images: "
            "the analysis dead_pixels."
        ),
    ),
    Rule(
        id="MT103",
        title="Border layers",
        severity="note",
        check=check_border,
        reason=(
            "A layer whose input already sees the whole image on its shortest path cannot add context; such "
            "layers often add little."
        ),
        source="Richter et al. 2021, arXiv:2106.12307.",
        cost="None, or more pixels.",
        fix="Larger images, or a shallower network.",
    ),
    Rule(
        id="MT104",
        title="Atrous rates against the size of the map",
        severity="warning",
        check=check_atrous,
        reason=(
            "Taps that lie beyond the map read padding: at a rate of the map's side a 3 x 3 kernel is a 1 x 1 "
            "kernel with nine times the weights."
        ),
        source="Chen et al. 2017, arXiv:1706.05587, section 3.3; the suggested rates are ours, not those of Kim et al. 2023.",
        cost="Other rates want training.",
        fix="Choose rates by the size of the map: the edit atrous_rates.",
    ),
    Rule(
        id="MT105",
        title="Parallel branches that do not reach the border",
        severity="note",
        check=check_narrow,
        reason=(
            "Rates that were chosen for smaller maps leave the widest branch far from the border, so that only pooling, if there "
            "is any, knows what lies there."
        ),
        source="Kim et al. 2023, arXiv:2307.14179 (rates by the size of the image); the rule and its threshold are ours.",
        cost="Other rates want training.",
        fix="Choose rates by the size of the map: the edit atrous_rates.",
    ),
)
