"""Weights in context: the strongest inputs of a layer's units, and what leads to those units from several convolutions before.

Of the units with the largest weights the strongest input channels are drawn, one kernel slice for each (red excites, blue inhibits).
The expanded weights do the same with a layer several convolutions earlier: the gradient of the unit in the middle of the map by that
layer's outputs, with rectifiers removed, maximum pools averaged and gates half open, cropped around the middle. Where all that is
left between the two layers is affine, as with convolutions and batch norm, this is the composed kernel, for any picture; otherwise
it is the slope at a picture of noise. How much the strongest inputs hold is set against the untrained twin.

Source: Voss et al. 2021, "Visualizing Weights", Distill, doi:10.23915/distill.00024.007; the shares, the twin, and half-open
gates are ours.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from microtome.analysis import Analysis, Arrays, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.graph.linearised import Linearised, central
from microtome.numerics.weights.kernels import kernels
from microtome.panels import Grid, Panel, Table
from microtome.scan import Pace
from microtome.specimen import Specimen, tap

CELLS = 15  # that the target's map should have along its shorter side, so that its middle lies far from the border
ALIKE = 1e-3  # relative difference of slopes at two pictures up to which the way between two layers counts as affine


class _Strongest(NamedTuple):
    """The k strongest input channels of some units: slices (unit, rank, row, col), channels and shares of energy (unit, rank)."""

    slices: Tensor
    channels: Tensor
    shares: Tensor


class _Expanded(NamedTuple):
    """Slopes (unit, channel, row, col) of the target's middle by the source, where that is, and how far it is affine."""

    weights: Tensor
    source: str
    bend: float
    left_out: tuple[int, int, int]


class _Enough(Exception):  # not an error: the layers above the target need not run
    """Ends a forward pass once the target has its value."""


@final
class ExpandedWeights(Analysis):
    """Strongest input channels of a layer as small kernels; the same from several convolutions before."""

    needs = "weights"
    question = "understand"
    title = "Weights in context"

    at: tuple[str, ...] = option(("last",), "the layer whose units are asked; of several the last convolution in them")
    source: str = option("", "the layer that the expanded weights lead from; none: `steps` convolutions before")
    steps: int = option(2, "how many spatial convolutions before, along the way to the units", low=1, high=50)
    units: int = option(6, "how many units, those with the largest weights", low=1, high=64)
    k: int = option(6, "how many of the strongest input channels of each", low=1, high=64)
    grid: int = option(9, "largest side of the cropped expanded weights, in cells of the earlier layer", low=1, high=65)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why there are no two convolutions to look between, or an empty text."""
        found = _convolutions(specimen)
        if len(found) < 2:
            return f"it takes two spatial convolutions with whole, varying weights one after the other, and it has {len(found)}"
        return ""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        found = _convolutions(specimen)
        target = self._target(specimen, list(found))
        kernel = found[target]
        order = torch.argsort(kernel.flatten(1).norm(dim=1), descending=True, stable=True)[: self.units]
        own = _expanded(specimen, target, order.tolist(), list(found), self.source, self.steps)
        twin = specimen.twin()
        other = _convolutions(twin)[target]
        strongest = torch.argsort(other.flatten(1).norm(dim=1), descending=True, stable=True)[: self.units]
        random = _expanded(twin, target, strongest.tolist(), list(found), own.source, 1)
        near, far = _strongest(kernel[order], self.k), _strongest(own.weights, self.k)
        cropped, inside = central(far.slices, self.grid)
        units = {"unit": [f"unit {int(one)}" for one in order]}
        ranks = [{"rank": [f"strongest {rank + 1}" for rank in range(one.channels.shape[1])]} for one in (near, far)]
        shares = np.array([[float(one.shares.sum(1).mean()) for one in pair] for pair in (
            (near, far), (_strongest(other[strongest], self.k), _strongest(random.weights, self.k)))])  # fmt: skip
        both = {"measure": ["own inputs", "expanded"]}
        return {
            "slice": array(near.slices, ("unit", "rank", "row", "col"), "weight", units | ranks[0], "weight"),
            "channel": array(
                near.channels.numpy(), ("unit", "rank"), "number of the channel", units | ranks[0], "input channel"
            ),
            "strength": array(near.shares.numpy(), ("unit", "rank"), "share of squared weights", units | ranks[0], "share"),
            "expanded": array(cropped, ("unit", "rank", "row", "col"), "output by output", units | ranks[1], "expanded weight"),
            "expanded_channel": array(
                far.channels.numpy(), ("unit", "rank"), "number of the channel", units | ranks[1], "channel"
            ),
            "expanded_strength": array(
                far.shares.numpy(), ("unit", "rank"), "share of squared weights", units | ranks[1], "share"
            ),
            "share": array(shares[0], ("measure",), "share of squared weights", both, "in the strongest channels"),
            "twin_share": array(
                shares[1], ("measure",), "share of squared weights", both, "in the strongest channels, untrained twin"
            ),
            "inputs": array([kernel.shape[1], own.weights.shape[1]], ("measure",), "channels", both, "channels"),
            "inside": array([inside], ("target",), "share of squared weights", {"target": [target]}, "inside the crop"),
            "bend": array([own.bend], ("target",), "share of the slope", {"target": [target]}, "change between two pictures"),
            "left_out": array(own.left_out, ("part",), "calls", {"part": ["rectifiers", "maximum pools", "gates"]}, "left out"),
            "source": array([own.source], ("target",), "text", {"target": [target]}, "expanded from"),
        }

    def _target(self, specimen: Specimen, found: list[str]) -> str:
        if self.at == ("last",):
            return found[-1]
        paths = [specimen.layer(name).path for name in specimen.find(self.at)]
        inside = [name for name in found if any(name == path or name.startswith(path + ".") for path in paths)]
        if not inside:
            raise Unmeasurable(
                f"expanded_weights() of {specimen.name}: none of {', '.join(self.at)} holds a spatial convolution with whole, varying "
                f"weights; those that are: {', '.join(found[:4])}{', …' if len(found) > 4 else ''}."
            )
        return inside[-1]

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        target, source = str(found["inside"].target.values[0]), str(found["source"].values[0])
        colours = "Red excites, blue inhibits, white is nothing."
        return [
            Grid(title=f"Expanded weights, {source} to {target}", z="expanded", across="rank", down="unit", scale="diverging",
                 each=False, note=f"From left to right the strongest channels of {source} for each unit of {target}. {colours}"),
            Grid(title=f"Strongest inputs of {target}", z="slice", across="rank", down="unit", scale="diverging", each=False,
                 note=f"One kernel slice for each of the strongest input channels, the units with the largest weights. {colours}"),
            Table(title="Which channels these are", rows="unit", columns=("channel", "strength")),
            Table(title=f"Which channels of {source}", rows="unit", columns=("expanded_channel", "expanded_strength")),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        target, source = str(found["inside"].target.values[0]), str(found["source"].values[0])
        own, twin = found["share"].values, found["twin_share"].values
        ranks = [found[name].sizes["rank"] for name in ("channel", "expanded_channel")]
        inputs = found["inputs"].values
        more = "no more than" if own[1] <= 1.1 * twin[1] else "against"
        return (
            f"{ranks[0]} of {inputs[0]} input channels hold {100 * own[0]:.0f} % of the weights of {target} (untrained twin "
            f"{100 * twin[0]:.0f} %); expanded to {source}, {ranks[1]} of {inputs[1]} channels hold {100 * own[1]:.0f} %, {more} "
            f"{100 * twin[1]:.0f} % untrained."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        inside, bend = float(found["inside"].values[0]), float(found["bend"].values[0])
        told = [
            "Expanded weights leave out which rectifiers are open, so they say what could reach a unit, not what does in a picture.",
            "Up to the units, {} rectifiers were removed, {} maximum pools averaged and {} gates held half open.".format(
                *found["left_out"].values
            ),
        ]
        if bend > ALIKE:
            told.append(
                "Something between the two layers is not affine (a norm over the picture, attention): the slope changes by "
                f"{100 * bend:.0f} % from one picture of noise to another, and what is shown is for one of them."
            )
        if inside < 0.99:
            told.append(f"The crop holds {100 * inside:.0f} % of the squared weights of what is drawn.")
        return told


def _convolutions(specimen: Specimen) -> dict[str, Tensor]:
    """The kernels of spatial convolutions with weights that are finite and vary, by path in order of execution."""
    modules = dict(specimen.net.named_modules())
    conv = nn.modules.conv._ConvNd  # pyright: ignore[reportPrivateUsage]
    told = kernels(specimen.net, specimen.layers, {})
    return {name: one.values for name, one in told.items() if not one.reason and isinstance(modules[name], conv)}


def _strongest(weights: Tensor, k: int) -> _Strongest:
    """By L2 norm of the slices."""
    energy = weights.double().square().sum((2, 3))
    best = torch.argsort(energy, dim=1, descending=True, stable=True)[:, :k]
    slices = torch.take_along_dim(weights, best[:, :, None, None], 1)
    shares = torch.take_along_dim(energy, best, 1) / energy.sum(1, keepdim=True).clamp(min=1e-300)
    return _Strongest(slices, best, shares)


def _expanded(specimen: Specimen, target: str, units: list[int], convolutions: list[str], source: str, steps: int) -> _Expanded:
    """The slopes of the target's middle. Where the network does not take a larger picture, at its own size."""
    before = convolutions[: convolutions.index(target)]
    if source:
        before = specimen.find(source)[:1]
    elif not before:
        raise Unmeasurable(
            f"expanded_weights() of {specimen.name}: no spatial convolution comes before {target}; name another with --at."
        )
    names = [specimen.layer(name).name for name in before]
    size = -(-CELLS // min(specimen.layer(target).grid or (CELLS, CELLS)))
    with Linearised() as mode:
        try:
            slopes, name = _slopes(specimen, target, units, names, steps, size)
        except (RuntimeError, AssertionError, ValueError):  # a network for one size of picture only
            slopes, name = _slopes(specimen, target, units, names, steps, 1)
            size = 1
        left_out = (mode.removed, mode.averaged, mode.held)
        other, _ = _slopes(specimen, target, units[:1], [name], 1, size, seed=1)
    if not bool(torch.isfinite(slopes).all()):
        raise Unmeasurable(
            f"expanded_weights() of {specimen.name}: what leads from {name} to {target} is NaN or infinite, since weights between them "
            "are; name layers before or behind those with --source and --at (microtome weights lists them)."
        )
    bend = float((other - slopes[:1]).norm() / slopes[:1].norm().clamp(min=1e-30))
    return _Expanded(slopes, name, bend, left_out)


def _slopes(
    specimen: Specimen, target: str, units: list[int], names: list[str], steps: int, size: int, seed: int = 0
) -> tuple[Tensor, str]:
    """Slopes (unit, channel, row, col) by the layer `steps` connected layers back among `names`, and that layer."""
    recipe = specimen.recipe
    shape = (1, recipe.channels, *(size * side for side in recipe.size))
    weight: Any = next(specimen.net.parameters())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(weight)
    seen: list[Tensor] = []

    def enough(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen.append(output)
        raise _Enough

    handle = specimen.net.get_submodule(target).register_forward_hook(enough)
    try:
        with tap(specimen, names) as taps:
            with suppress(_Enough):
                specimen.net(x)
            if not seen:
                raise Unmeasurable(f"expanded_weights() of {specimen.name}: {target} never ran.")
            middle = seen[0][0, :, seen[0].shape[2] // 2, seen[0].shape[3] // 2]
            values = [taps.activations[name] for name in names if name in taps.activations]
            known = [name for name in names if name in taps.activations]
            first = (
                torch.autograd.grad(middle[units[0]], values, retain_graph=True, allow_unused=True)
                if middle.requires_grad
                else ()
            )
            reached = [place for place, slope in enumerate(first) if slope is not None and bool(slope.any())]
            if not reached:
                raise Unmeasurable(
                    f"expanded_weights() of {specimen.name}: nothing leads from {names[-1]} to {target}; name a layer before it "
                    "with --source."
                )
            place = reached[max(0, len(reached) - steps)]
            found = [torch.autograd.grad(middle[unit], values[place], retain_graph=True)[0] for unit in units]
    finally:
        handle.remove()
    maps = specimen.layer(known[place]).maps(torch.cat(found))
    return maps.float().cpu(), known[place]
