"""Strongest input channels of a layer's units, and their expanded weights from earlier convolutions.

For the units with the largest weights, the strongest input channels are shown, one kernel slice each (red excites, blue inhibits).
The expanded weights do the same with a layer several convolutions earlier: the gradient of the unit in the middle of the map with
respect to that layer's outputs, with rectifiers removed, maximum pools averaged and gates half open, cropped around the middle. Where
everything that remains between the two layers is affine, as with convolutions and batch norm, this is the composed kernel, for any
image; otherwise it is the gradient at an image of noise. The concentration in the strongest inputs is compared with the untrained
twin.

Source: Voss et al. 2021, "Visualizing Weights", Distill, doi:10.23915/distill.00024.007; the fractions, the twin, and half-open
gates are ours.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from microtome.analysis import Analysis, Measurement, option
from microtome.errors import Unmeasurable, option_name, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import TWINS, over_twins, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.graph.linearised import LineariseMode, central_crop
from microtome.numerics.weights.kernels import find_kernels
from microtome.panels import Grid, Panel, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen, tap
from microtome.workload import Workload

TARGET_GRID = 15  # that the target's map should have along its shorter side, so that its middle lies far from the border
AFFINE_TOLERANCE = 1e-3  # relative difference of slopes at two images up to which the way between two layers counts as affine


class _StrongestSlices(NamedTuple):
    """The k strongest input channels of some units: slices (unit, rank, row, col), channels and fractions of energy (unit, rank)."""

    slices: Tensor
    channels: Tensor
    shares: Tensor


class _ExpandedKernel(NamedTuple):
    """Slopes (unit, channel, row, col) of the target's middle by the source, where that is, and how far it is affine."""

    weights: Tensor
    source: str
    bend: float
    left_out: tuple[int, int, int]


class _TargetReached(Exception):  # not an error: the layers above the target need not run
    """Ends a forward pass once the target has its value."""


@final
class ExpandedWeights(Analysis):
    """Strongest input channels of a layer as small kernels, and from several convolutions before."""

    needs = "weights"
    question = "understand"
    title = "Weights in context"
    rank = 31
    revision = 4  # 4: names of key numbers without the number of channels
    with_twin = True

    at: tuple[str, ...] = option(("last",), "layer whose units are shown; of several the last convolution in them")
    source: str = option("", "layer that the expanded weights start from; none: `steps` convolutions before")
    steps: int = option(2, "spatial convolutions before, on the path to the units", low=1, high=50)
    units: int = option(6, "units shown, those with the largest weights", low=1, high=64)
    k: int = option(6, "strongest input channels shown of each unit", low=1, high=64)
    grid: int = option(9, "largest side of the cropped expanded weights, positions of the earlier layer", low=1, high=65)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why there are no two convolutions to look between, or an empty text."""
        kernels = _convolution_kernels(specimen)
        if len(kernels) < 2:
            return (
                f"it takes two spatial convolutions with whole, varying weights one after the other, and it has {len(kernels)}"
            )
        return ""

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=3.0 + specimen.twin_count, backward=3.0, twins=specimen.twin_count, seconds=1.0)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        kernels = _convolution_kernels(specimen)
        target = self._target(specimen, list(kernels))
        kernel = kernels[target]
        order = torch.argsort(kernel.flatten(1).norm(dim=1), descending=True, stable=True)[: self.units]
        own = _expand_kernel(specimen, target, order.tolist(), list(kernels), self.source, self.steps)
        near, far = _strongest_slices(kernel[order], self.k), _strongest_slices(own.weights, self.k)
        cropped, inside = central_crop(far.slices, self.grid)
        units = {"unit": [f"unit {int(unit)}" for unit in order]}
        ranks = [{"rank": [f"strongest {rank + 1}" for rank in range(slices.channels.shape[1])]} for slices in (near, far)]
        both = {"measure": ["own inputs", "expanded"]}
        arrays = {
            "slice": array(near.slices, ("unit", "rank", "row", "col"), "weight", units | ranks[0], "weight"),
            "channel": array(
                near.channels.numpy(), ("unit", "rank"), "number of the channel", units | ranks[0], "input channel"
            ),
            "strength": array(
                near.shares.numpy(), ("unit", "rank"), "fraction of squared weights", units | ranks[0], "fraction"
            ),
            "expanded": array(cropped, ("unit", "rank", "row", "col"), "output by output", units | ranks[1], "expanded weight"),
            "expanded_channel": array(
                far.channels.numpy(), ("unit", "rank"), "number of the channel", units | ranks[1], "channel"
            ),
            "expanded_strength": array(
                far.shares.numpy(), ("unit", "rank"), "fraction of squared weights", units | ranks[1], "fraction"
            ),
            "share": array(
                _mean_shares(near, far), ("measure",), "fraction of squared weights", both, "in the strongest channels"
            ),
            "inputs": array([kernel.shape[1], own.weights.shape[1]], ("measure",), "channels", both, "channels"),
            "inside": array([inside], ("target",), "fraction of squared weights", {"target": [target]}, "inside the crop"),
            "bend": array(
                [own.bend], ("target",), "fraction of the gradient", {"target": [target]}, "change between two images"
            ),
        }
        nulls = [self._twin_shares(twin, target, own.source, list(kernels)) for twin in untrained_twins(specimen, None)]
        title = "in the strongest channels, untrained twins"
        arrays |= over_twins(
            [{"twin_share": array(each, ("measure",), "fraction of squared weights", both, title)} for each in nulls]
        )
        facts = {
            "target": target,
            "source": own.source,
            "left out": dict(zip(("rectifiers", "maximum pools", "gates"), own.left_out, strict=True)),
        }
        return Measurement(arrays, facts)

    def _twin_shares(self, twin: Specimen, target: str, source: str, convolutions: list[str]) -> list[float]:
        """The fractions in the strongest channels of an untrained twin, for its own strongest units."""
        kernel = _convolution_kernels(twin)[target]
        strongest = torch.argsort(kernel.flatten(1).norm(dim=1), descending=True, stable=True)[: self.units]
        expanded = _expand_kernel(twin, target, strongest.tolist(), convolutions, source, 1, with_bend=False)
        return _mean_shares(_strongest_slices(kernel[strongest], self.k), _strongest_slices(expanded.weights, self.k))

    def _target(self, specimen: Specimen, paths_of_kernels: list[str]) -> str:
        if self.at == ("last",):
            return paths_of_kernels[-1]
        paths = [specimen.layer(name).path for name in specimen.find(self.at)]
        inside = [name for name in paths_of_kernels if any(name == path or name.startswith(path + ".") for path in paths)]
        if not inside:
            raise Unmeasurable(
                f"expanded_weights() of {specimen.name}: none of {', '.join(self.at)} holds a spatial convolution with whole, varying "
                f"weights; those that are: {', '.join(paths_of_kernels[:4])}{', …' if len(paths_of_kernels) > 4 else ''}."
            )
        return inside[-1]

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        expanded, own = finding.facts["source"], finding.facts["target"]
        numbers: list[KeyNumber] = []
        for index, prefix, at in ((1, "expanded_", f"{expanded} to {own}"), (0, "", own)):
            count, inputs = finding[f"{prefix}channel"].sizes["rank"], int(finding["inputs"].values[index])
            numbers.append(
                KeyNumber(
                    name="expanded weights in the strongest channels" if prefix else "weights in the strongest channels",
                    value=float(finding["share"].values[index]), baseline=float(finding["twin_share"].values[index]),
                    baseline_name=TWINS, unit=FRACTION, at=f"{at}, {count} of {plural(inputs, 'channel')}",
                )
            )  # fmt: skip
        return [*numbers, KeyNumber(name="inside the crop", value=float(finding["inside"].values[0]), unit=FRACTION, at=own)]

    def headline(self, finding: Finding) -> str:
        expanded = finding.key_numbers[0]
        count = finding["expanded_channel"].sizes["rank"]
        return (
            f"{plural(count, 'channel')} of {finding.facts['source']} hold {expanded.text} of the expanded weights of "
            f"{finding.facts['target']} "
            f"(untrained twins {expanded.baseline_text})."
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        target, source = finding.facts["target"], finding.facts["source"]
        colours = "Red excites, blue inhibits, white is zero."
        return [
            Grid(title=f"Expanded weights, {source} to {target}", z="expanded", across="rank", down="unit", scale="diverging",
                 each=False, note=f"From left to right the strongest channels of {source} for each unit of {target}. {colours}"),
            Grid(title=f"Strongest inputs of {target}", z="slice", across="rank", down="unit", scale="diverging", each=False,
                 note=f"One kernel slice for each of the strongest input channels; units with the largest weights. {colours}"),
            Table(title="Strongest channels", rows="unit", columns=("channel", "strength")),
            Table(title=f"Strongest channels of {source}", rows="unit", columns=("expanded_channel", "expanded_strength")),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        inside, bend = float(finding["inside"].values[0]), float(finding["bend"].values[0])
        left_out = finding.facts["left out"]
        lines = [
            "Expanded weights ignore which rectifiers are open: they show what could reach a unit, not what does on an image.",
            f"Up to the units, {plural(left_out['rectifiers'], 'rectifier')} removed, {plural(left_out['maximum pools'], 'maximum pool')} "
            f"averaged and {plural(left_out['gates'], 'gate')} held half open.",
        ]
        if bend > AFFINE_TOLERANCE:
            lines.append(
                "Something between the two layers is not affine (a norm over the image, attention): the gradient changes by "
                f"{format_value(bend, FRACTION)} from one image of noise to another, and one of them is shown."
            )
        if inside < 0.99:
            lines.append(f"The crop holds {format_value(inside, FRACTION)} of the squared weights of the channels shown.")
        return lines


def _convolution_kernels(specimen: Specimen) -> dict[str, Tensor]:
    """The kernels of spatial convolutions with weights that are finite and vary, by path in order of execution."""
    modules = dict(specimen.net.named_modules())
    conv = nn.modules.conv._ConvNd  # pyright: ignore[reportPrivateUsage]
    kernels = find_kernels(specimen.net, specimen.layers, {})
    return {name: kernel.values for name, kernel in kernels.items() if not kernel.reason and isinstance(modules[name], conv)}


def _mean_shares(near: _StrongestSlices, far: _StrongestSlices) -> list[float]:
    """The fraction of the energy in the strongest channels, mean over units: of the own inputs, and expanded."""
    return [float(slices.shares.sum(1).mean()) for slices in (near, far)]


def _strongest_slices(weights: Tensor, k: int) -> _StrongestSlices:
    """By L2 norm of the slices."""
    energy = weights.double().square().sum((2, 3))
    best = torch.argsort(energy, dim=1, descending=True, stable=True)[:, :k]
    slices = torch.take_along_dim(weights, best[:, :, None, None], 1)
    shares = torch.take_along_dim(energy, best, 1) / energy.sum(1, keepdim=True).clamp(min=1e-300)
    return _StrongestSlices(slices, best, shares)


def _expand_kernel(
    specimen: Specimen, target: str, units: list[int], convolutions: list[str], source: str, steps: int, with_bend: bool = True
) -> _ExpandedKernel:
    """The slopes of the target's middle, in a larger image where they reach the border and the network takes one.

    `with_bend`: also how much they change with the image, else not a number.
    """
    before = convolutions[: convolutions.index(target)]
    if source:
        before = specimen.find(source)[:1]
    elif not before:
        raise Unmeasurable(
            f"expanded_weights() of {specimen.name}: no spatial convolution comes before {target}; name another with {option_name('at')}."
        )
    names = [specimen.layer(name).name for name in before]
    largest = -(-TARGET_GRID // min(specimen.layer(target).grid or (TARGET_GRID, TARGET_GRID)))
    with LineariseMode() as mode:
        slopes, name = _target_gradients(specimen, target, units, names, steps, 1)
        size = 1
        if largest > 1 and _touches_border(slopes):
            with suppress(RuntimeError, AssertionError, ValueError):  # a network for one size of image only
                slopes, name = _target_gradients(specimen, target, units, names, steps, largest)
                size = largest
        left_out = (mode.removed, mode.averaged, mode.held)
        bend = float("nan")
        if with_bend:
            other, _ = _target_gradients(specimen, target, units[:1], [name], 1, size, seed=1)
            bend = float((other - slopes[:1]).norm() / slopes[:1].norm().clamp(min=1e-30))
    if not bool(torch.isfinite(slopes).all()):
        raise Unmeasurable(
            f"expanded_weights() of {specimen.name}: what leads from {name} to {target} is NaN or infinite, since weights between them "
            f"are; name layers before or behind those with {option_name('source')} and {option_name('at')} ({weights_hint()} lists them)."
        )
    return _ExpandedKernel(slopes, name, bend, left_out)


def _touches_border(slopes: Tensor) -> bool:
    """Whether the middle depends on the outermost rows or columns, so that padding takes part."""
    return bool(slopes[:, :, [0, -1]].any() or slopes[..., [0, -1]].any())


def _target_gradients(
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
        raise _TargetReached

    handle = specimen.net.get_submodule(target).register_forward_hook(enough)
    try:
        with tap(specimen, names) as taps:
            with suppress(_TargetReached):
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
                    f"with {option_name('source')}."
                )
            place = reached[max(0, len(reached) - steps)]
            gradients = [torch.autograd.grad(middle[unit], values[place], retain_graph=True)[0] for unit in units]
    finally:
        handle.remove()
    maps = specimen.layer(known[place]).maps(torch.cat(gradients))
    return maps.float().cpu(), known[place]
