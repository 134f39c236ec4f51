"""MT1xx: what kernels read of what is before them. From shapes alone, the same for trained and untrained weights."""

from math import inf, isfinite
from typing import cast

import torch
from torch import Tensor, nn

from microtome.auditing.rule import Fault, Rule, Subject
from microtome.numerics.evenness import folded, forecast, ratio
from microtome.numerics.receptive import Field
from microtome.specimen import first_tensor
from microtome.specimen.strides import uneven_readers
from microtome.specimen.tracing import Call

PERIODS = range(2, 9)  # px over which unevenness is folded; longer ones leave too few places
EVEN, WEAK = 0.98, 0.5  # share of the weakest phase from which on all pixels count alike, and below which some count little


def unread(subject: Subject) -> Fault | None:
    """Convolutions whose windows leave positions out: a kernel smaller than its stride, or a dilation that meets it."""
    shares = {call.path: _read(call) for call in _convs(subject)}
    hit = {path: share for path, share in shares.items() if share < 1}
    if not hit:
        return None
    worst = min(hit, key=lambda path: hit[path])
    pointwise = sum(max(cast(nn.Conv2d, call.module).kernel_size) == 1 for call in _convs(subject) if call.path in hit)
    return Fault(
        tuple(hit),
        f"{len(hit)} convolutions ({pointwise} of them 1 x 1) never read some positions; {worst} reads {100 * hit[worst]:.0f} % of them",
        edit="kernel_padding",
    )


def uneven(subject: Subject) -> Fault | str | None:
    """Kernels that read some pixels more often than others, without leaving any out: the forecast through the whole stack."""
    specimen = subject.specimen
    left_out = set((unread(subject) or Fault((), "")).layers)
    readers = [one for one in uneven_readers(specimen) if specimen.layer(one.name).path not in left_out]
    if not readers:
        return None
    rows, cols = specimen.recipe.size
    picture = torch.ones(1, specimen.recipe.channels, rows, cols, device=specimen.device)

    def given(x: Tensor) -> Tensor:
        out = first_tensor(specimen.net(x))
        assert out is not None  # tracing has refused such networks before
        return out

    shares = forecast(given, picture)
    worst = min(ratio(folded(shares, period, min(rows, cols) // 8)) for period in PERIODS if 4 * period <= min(rows, cols))
    if not worst < EVEN:  # NaN where the picture is too small to fold
        return None
    pools = sum(one.pool for one in readers)
    first = readers[0]
    return Fault(
        tuple(dict.fromkeys(specimen.layer(one.name).path for one in readers)),
        f"by kernels and strides alone the weakest pixels count {worst:.2f} of the strongest; {len(readers)} layers ({pools} of "
        f"them pools) read unevenly, first {first.name}: {first.kernel[0]} x {first.kernel[1]} at stride {first.stride[0]}",
        severity="warning" if worst < WEAK else "note",
        edit="kernel_padding" if len(readers) > pools else "",
    )


def border(subject: Subject) -> Fault | str | None:
    """Layers that enlarge a field which already holds the whole picture."""
    size = subject.specimen.recipe.size
    found = subject.fields
    if any(not field.exact for field in found.values()):
        return "some operations on the way are not followed, so fields are not exact"
    hit = {name: field for name, field in found.items() if _border(field, size)}
    if not hit:
        return None
    paths = tuple(subject.specimen.layer(name).path for name in hit)
    first = next(iter(hit))
    matters = max(hit[first].entering)
    return Fault(
        paths,
        f"{len(hit)} convolutions see the whole picture of {size[0]} x {size[1]} px before they begin, from {first} on; "
        f"that one has something new to see beyond {matters:.0f} px",
        fix=f"Feed pictures beyond {matters:.0f} px, leave these layers out, or take strides out of earlier ones.",
    )


def atrous(subject: Subject) -> Fault | None:
    """Dilated kernels whose outer taps read padding only (rate at least the side), or never all at once."""
    dead: dict[str, tuple[int, int]] = {}
    wide: dict[str, tuple[int, int]] = {}
    for call in _convs(subject):
        conv = cast(nn.Conv2d, call.module)
        for axis in (0, 1):
            kernel, rate, side = conv.kernel_size[axis], conv.dilation[axis], call.inputs[0][2 + axis]
            if rate < 2 or kernel < 2:
                continue
            if rate >= side:
                dead[call.path] = (rate, side)
            elif kernel == 3 and 2 * rate >= side:
                wide[call.path] = (rate, side)
    wide = {path: told for path, told in wide.items() if path not in dead}
    if not dead and not wide:
        return None
    said: list[str] = []
    if dead:
        path, (rate, side) = next(iter(dead.items()))
        said.append(f"{len(dead)} dilated convolutions read only their middle tap: {path} has rate {rate} on {side} cells")
    if wide:
        path, (rate, side) = next(iter(wide.items()))
        share = ((1 + 2 * (1 - rate / side)) / 3) ** 2
        said.append(
            f"{len(wide)} never have all taps on the map: {path} has rate {rate} on {side} cells, {100 * share:.0f} % of its taps read it"
        )
    side = next(iter((dead or wide).values()))[1]
    most = (side - 1) // 2
    rates = sorted({max(1, round(most * part / 3)) for part in (1, 2, 3)})
    return Fault(
        (*dead, *wide), "; ".join(said), severity="warning" if dead else "note",
        fix=(
            f"Rates that reach the border and no further on {side} cells: {', '.join(map(str, rates))} (rule: "
            "(cells − 1) / 2, ours); or a larger picture."
        ),
    )  # fmt: skip


def _convs(subject: Subject) -> list[Call]:
    return [
        call
        for call in subject.leaves
        if isinstance(call.module, nn.Conv2d) and call.inputs and len(call.inputs[0]) == 4 and min(call.outputs[0][2:]) > 0
    ]


def _read(call: Call) -> float:
    """The share of positions that at least one window reads, far from the edges; 1 for a map of one cell."""
    conv = cast(nn.Conv2d, call.module)
    share = 1.0
    for axis in (0, 1):
        kernel, stride, dilation = conv.kernel_size[axis], conv.stride[axis], conv.dilation[axis]
        if call.inputs[0][2 + axis] > 1:
            share *= len({(tap * dilation) % stride for tap in range(kernel)}) / stride
    return share


def _border(field: Field, size: tuple[int, int]) -> bool:
    seen = all(isfinite(into) and into >= side for into, side in zip(field.entering, size, strict=True))
    return seen and not field.whole and max(field.smallest) > max(field.entering) and max(field.entering) < inf


RULES = (
    Rule(
        id="MT101",
        title="Positions that no kernel reads",
        severity="warning",
        check=unread,
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
        check=uneven,
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
            "microtome dead_pixels."
        ),
    ),
    Rule(
        id="MT103",
        title="Border layers",
        severity="note",
        check=border,
        reason=(
            "A layer whose input already sees the whole picture on its shortest path cannot add context; such "
            "layers often add little."
        ),
        source="Richter et al. 2021, arXiv:2106.12307.",
        cost="None, or more pixels.",
        fix="Larger pictures, or a shallower network.",
    ),
    Rule(
        id="MT104",
        title="Atrous rates against the size of the map",
        severity="warning",
        check=atrous,
        reason=(
            "Taps that lie beyond the map read padding: at a rate of the map's side a 3 x 3 kernel is a 1 x 1 "
            "kernel with nine times the weights."
        ),
        source="Chen et al. 2017, arXiv:1706.05587, section 3.3; the suggested rates are ours, not those of Kim et al. 2023.",
        cost="Other rates want training.",
        fix="Choose rates by the size of the map.",
    ),
)
