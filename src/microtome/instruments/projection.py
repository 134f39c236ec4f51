"""Single activations carried back to the pixels: one forward pass up to the layer, one backward pass under a rule.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1: all other activations of the layer are zero, the chosen one keeps its value.
There activations follow a ReLU and are never negative. Here they may be; then the signal starts with their size.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.images.bands import shown_bands
from microtome.numerics.graph.rectifiers import RectifierMode, RewriteMode, Rule
from microtome.specimen import Specimen, tap, watch

RECTIFIER = re.compile(r"(Relu|Threshold|Hardtanh)Backward\d+")
TORCH_OPERATION = re.compile(
    r"\w+Backward\d+|torch::autograd::AccumulateGrad"
)  # torch's own operations; others are somebody's Function
GREY_STEP = 8  # grey levels from one shade of a drawn projection to the next
BRIGHT_QUANTILE = 0.995  # quantile of a projection's size, where it is not zero, that is drawn in full colour
BATCH = 12  # images in one pass: the graph of a large network takes some 50 MB for each


@dataclass
class BackwardTrace:
    """What the signal of a layer went through on its way to the pixels, counted over one pass."""

    rectifiers: int = 0
    gates: int = 0  # and divisors of response norms: what was held constant
    curved: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True)
class ProjectionResult:
    """Projections (slot, rgb, row, col) on the CPU; the same of the strongest other unit of the position, where asked for."""

    pixels: Tensor
    other: Tensor | None
    passage: BackwardTrace


class _LayerReached(BaseException):
    """Ends a forward pass at the layer that was waited for; no error, and none of the network's own handlers may take it for one."""


def project_units(
    specimen: Specimen, name: str, x: Tensor, unit: Tensor, cell: Tensor, rule: Rule, *,
    quantile: float = 0.98, rival: bool = False, even: bool = False,
) -> ProjectionResult:  # fmt: skip
    """For each slot the activation of `unit` (slot,) at `cell` (slot,), row by row, of layer `name` on `x` (slot, rgb, row, col).

    The signal starts with the activation's size, or with 1 where `even`: of an activation below zero the projection shows what would
    raise it. With its sign, rule "gradient" (the plain gradient times the start) would give the same with the opposite sign; the other
    rules stop negative signals at rectifiers and would give another image. `rival` asks for the strongest other unit of the same position.

    Raises:
        Unmeasurable: a rectifier on the way was not seen, or the network is compiled or scripted and hides them.
    """
    own: list[Tensor] = []
    others: list[Tensor] = []
    passage = BackwardTrace()
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        passage = BackwardTrace()
        mine, other = _project_batch(
            specimen, name, (x[part], unit[part], cell[part]), (rule, quantile), (rival, even), passage
        )
        own.append(mine)
        others += other
    return ProjectionResult(torch.cat(own), torch.cat(others) if others else None, passage)


def _project_batch(
    specimen: Specimen, name: str, slots: tuple[Tensor, Tensor, Tensor], how: tuple[Rule, float], wish: tuple[bool, bool],
    passage: BackwardTrace,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    x, unit, cell = slots
    layer, (rule, quantile), (rival, even) = specimen.layer(name), how, wish
    with torch.inference_mode(False):
        x = x.detach().clone().requires_grad_()

    def stop(_name: str, _value: Tensor) -> None:
        raise _LayerReached

    rewritten = RewriteMode()
    with tap(specimen, [name]) as taps:
        with ExitStack() as stack:
            stack.enter_context(suppress(_LayerReached))
            stack.enter_context(watch(specimen, [name], each=stop))
            if rule != "gradient":
                stack.enter_context(rewritten)
            specimen.net(x)
        maps = layer.maps(taps.activations[name]).flatten(2)
        slot = torch.arange(len(x), device=x.device)
        here = maps[slot, :, cell.to(x.device)]
        chosen = [unit.to(x.device)]
        if rival:
            chosen.append(here.detach().scatter(1, chosen[0][:, None], -torch.inf).argmax(1))
        tensors: list[Tensor] = []
        for place, index in enumerate(chosen):
            value = here.gather(1, index[:, None])[:, 0]
            expected, opaque = _expected_rectifiers(value)
            start = torch.ones_like(value) if even else value.detach().abs()
            with RectifierMode(rule, quantile) as seen:
                (slope,) = torch.autograd.grad(value, x, start, retain_graph=place + 1 < len(chosen))
            _check_all_seen(specimen, name, expected, opaque, seen.rectifiers)
            tensors.append(slope.detach().cpu())
            if not place:
                passage.rectifiers, passage.curved = seen.rectifiers, seen.curved + opaque
    passage.gates = rewritten.gates
    return tensors[0], tensors[1:]


def _expected_rectifiers(value: Tensor) -> tuple[int, Counter[str]]:
    """How many rectifiers the graph behind `value` holds, and the operations in it whose inside cannot be seen, by name."""
    waiting: list[Any] = [value.grad_fn]
    known: set[Any] = set()
    rectifiers, opaque = 0, Counter[str]()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        name = str(node.name())
        rectifiers += RECTIFIER.fullmatch(name) is not None and (not name.startswith("Hardtanh") or node._saved_min_val == 0)
        if TORCH_OPERATION.fullmatch(name) is None:
            opaque[name.rpartition(":")[2].removesuffix("Backward")] += 1
        waiting += [function for function, _ in node.next_functions]
    return rectifiers, opaque


def _check_all_seen(specimen: Specimen, name: str, expected: int, opaque: Mapping[str, int], seen: int) -> None:
    hidden = next((name for name in opaque if "Compiled" in name or "Graph" in name), "")
    if hidden or seen != expected:
        raise Unmeasurable(
            f"Of {expected} rectifiers before {name} of {specimen.name} the backward pass showed {seen}"
            + (f", and {hidden} hides what is in it" if hidden else "")
            + ", so no rule can be applied at all of them. Open the plain module, neither compiled nor scripted."
        )


def unruled_layers(passages: Sequence[BackwardTrace]) -> list[str]:
    """What the signal of each layer passed that no rule is defined for, in words; empty where there is none."""
    return [", ".join(f"{count} {name}" for name, count in sorted(trace.curved.items())) for trace in passages]


def shown_channels(pixels: Tensor, images: Images) -> Tensor:
    """The channels of `pixels` (channel, row, col) that figures show of these images, as (rgb, row, col); one channel in grey."""
    known = images.source.shown if images.channels == len(pixels) else ()
    shown = known or shown_bands(len(pixels), None)
    return pixels[[number - 1 for number in shown]].expand(3, -1, -1)


def projection_colours(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Signed projections (unit, rank, row, col, rgb) as colours, uint8: zero in middle grey, each on its own scale.

    Where there is none (not a number), middle grey. Levels are in steps of `GREY_STEP`, a thirty-second of the scale: a projection is half
    noise, and finer levels would be most of what a report weighs.
    """
    flat = np.abs(pixels).reshape(*pixels.shape[:2], -1)
    known = np.where(flat > 0, flat, np.nan)  # where the window is much larger than what is reached, most of it is zero
    known[np.isnan(known).all(2)] = 0.0
    most = np.nanquantile(known, BRIGHT_QUANTILE, axis=2)[..., None, None, None]
    share = np.divide(np.nan_to_num(pixels), most, out=np.zeros_like(pixels), where=most > 0)
    levels = np.round(share * (128 / GREY_STEP)).clip(-128 // GREY_STEP, 128 // GREY_STEP - 1)
    return (128 + GREY_STEP * levels).astype(np.uint8)
