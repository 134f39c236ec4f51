"""Faults of the first convolution: dead filters, missing frequencies, and aliasing by its stride.

The power of every filter by spatial frequency shows how much of it lies above the Nyquist frequency of the output, 1 / (2 stride), and
aliases to a lower one; whether the middle frequencies are missing between very low and very high ones; which filters are
dead, and whether a few dominate; and how much of the kernel is used. Random filters have a flat spectrum, most of which any stride
aliases: each number is compared with those of several untrained
twins, and what one of them shows as well is not reported.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1, who saw extremes of frequency without the middle, dead filters and aliasing
in an 11 x 11 / 4 first layer and went to 7 x 7 / 2. They judged by eye; the measures and thresholds are ours.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from microtome.analyses.frontend.wording import (
    ABOVE_NYQUIST,
    ABOVE_NYQUIST_NATURAL,
    DEAD_FILTERS,
    GREY_FILTERS,
    HALVED_STRIDE,
    INNER_KERNEL,
    LARGEST_ENERGY,
    MIDDLE_TO_EXTREMES,
    judge_filters,
    smaller_kernel,
)
from microtome.analysis import Analysis, Arrays, Measurement, Needs, option
from microtome.errors import Unmeasurable, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import NOT_MEASURED, TWINS, over_twins, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.weights import filters
from microtome.numerics.weights.norms import norm_of, norms_after
from microtome.panels import Curve, Grid, Heat, Panel, Question, Scatter, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.anatomy import first_convolution
from microtome.workload import Effort, Workload

LOW_FREQUENCY, HIGH_FREQUENCY = 1 / 8, 1 / 4  # cycles per pixel: below is low, above is high, between is the middle
RMS_QUANTILE = 0.75  # the quantile of all filters' RMS that counts as usual: with many dead filters the median is none
GREY_ENERGY = 0.5  # fraction of the energy with equal weights for all colours, above which a filter is grey


class _Stem(NamedTuple):
    """The first layer: its name, kernel (unit, rgb, row, col), stride (rows, cols), and the batch norm's scale (unit,) or None."""

    name: str
    weight: Tensor
    stride: tuple[int, int]
    scale: Tensor | None


NOT_JUDGED = f"untrained twins {NOT_MEASURED}: not judged"


@final
class Frontend(Analysis):
    """Spectrum, aliasing, dead filters and colours of the first convolution."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "First layer"
    rank: ClassVar[int] = 22
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 3  # 3: several untrained twins
    with_twin: ClassVar[bool] = True

    at: str = option("", "convolution to analyse; empty: the first")
    below: float = option(0.05, "fraction of the usual RMS below which a filter is dead", low=0.0, high=1.0)
    sort: Literal["frequency", "norm", "first"] = option("frequency", "order of the filters")

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return "" if self.at or first_convolution(specimen) else "it has no convolution, so there are no filters on the image"

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(twins=specimen.twin_count, seconds=0.2)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        own = _first_layer(specimen, self.at)
        if not bool(torch.isfinite(own.weight).all()):
            raise Unmeasurable(
                f"{own.name} of {specimen.name} has weights that are NaN or infinite. See which: {weights_hint(specimen.name)}"
            )
        nulls = [_filter_arrays("twin_", _first_layer(twin, own.name), self.below) for twin in untrained_twins(specimen, None)]
        arrays = _filter_arrays("", own, self.below) | nulls[0]  # of single filters, those of the first twin
        arrays |= over_twins([{name: each[name] for name in ("twin_value", "twin_density")} for each in nulls])
        order = self._order(arrays)
        for name, values in arrays.items():
            arrays[name] = values.isel(unit=order).assign_coords(unit=order) if "unit" in values.dims else values
        tiles = _filter_images(own.weight)[order]
        arrays["filter"] = array(tiles, ("unit", "row", "col", "rgb"), "1/2 is zero", {"unit": order})
        arrays["stem"] = array([*own.weight.shape, *own.stride], ("part",), "filters, channels, px", {"part": list(_SHAPE)})
        by_criterion = {
            name: dict(zip(map(str, values.criterion.values), values.values, strict=True))
            for name, values in arrays.items()
            if "criterion" in values.dims
        }
        dead = [int(unit) for unit in arrays["dead"].unit.values[arrays["dead"].values]]
        side = min(own.weight.shape[2], own.weight.shape[3])
        value = by_criterion["value"]
        low, high = by_criterion["twin_value_low"], by_criterion["twin_value_high"]
        verdicts = judge_filters(value, low, high, sorted(dead), len(own.weight), side, max(own.stride), specimen.trained)
        if not specimen.twin_count:
            verdicts = dict.fromkeys(verdicts, (False, NOT_JUDGED))
        criteria = {"criterion": list(verdicts)}
        texts, flags = [text for _, text in verdicts.values()], [flag for flag, _ in verdicts.values()]
        arrays["verdict"] = array(texts, ("criterion",), "text", criteria, "meaning")
        arrays["finding"] = array(flags, ("criterion",), "yes or no", criteria, "fault")
        return Measurement(arrays, {"layer": own.name, "kind": _kind_text(own)})

    def _order(self, arrays: Arrays) -> np.ndarray[Any, Any]:
        """Indices of the filters in the order of the figures; those without a frequency last."""
        if self.sort == "first":
            return np.arange(arrays["dead"].size)
        by = arrays["centre"].values if self.sort == "frequency" else -arrays["rms"].values
        return np.argsort(np.where(np.isfinite(by), by, np.inf), kind="stable")

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        at = str(finding.facts["layer"])

        def number(name: str, criterion: str, unit: str, better: Literal["higher", "lower", ""]) -> KeyNumber:
            value, twin = (float(finding[name].sel(criterion=criterion)) for name in ("value", "twin_value"))
            return KeyNumber(name=name, value=value, unit=unit, baseline=twin, baseline_name=TWINS, better=better, at=at)

        return [
            number("dead filters", DEAD_FILTERS, FRACTION, "lower"),
            number("energy above Nyquist", ABOVE_NYQUIST, FRACTION, "lower"),
            number("energy above Nyquist, natural images", ABOVE_NYQUIST_NATURAL, FRACTION, "lower"),
            number("middle over extremes", MIDDLE_TO_EXTREMES, "1", "higher"),
            KeyNumber(name="faults", value=_fault_count(finding), better="lower", at=at, missing="not judged"),
            KeyNumber(name="filters", value=finding["dead"].size, at=at),
        ]

    def headline(self, finding: Finding) -> str:
        dead, faults = finding.key("dead filters"), finding.key("faults")
        flagged = [str(name) for name in finding["finding"].criterion.values[finding["finding"].values]]
        first = f" (first: {flagged[0]})" if flagged else ""
        twin = f"(untrained twins {dead.baseline_text})"
        if finding.trained is False:
            return f"Untrained weights, not judged: {dead.text} of the filters of {dead.at} are dead {twin}."
        if np.isnan(faults.value):
            return f"Not judged without untrained twins: {dead.text} of the filters of {dead.at} are dead."
        return f"{dead.at} has {plural(int(faults.value), 'fault')}{first}; {dead.text} of its filters are dead {twin}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        shown: list[Panel] = []
        if finding["filter"].sizes["row"] > 1:
            order = {"frequency": "mean frequency", "norm": "RMS", "first": "number"}[str(finding.options["sort"])]
            note = f"In the order of their {order}; grey is zero, each on its own scale."
            shown.append(Grid(title="Filters", z="filter", across="unit", note=note))
        nyquist = format_value(_nyquist_frequency(finding), "cycles/px")
        return [
            *shown,
            Curve(title="Spectrum of the filters", y=("density",), x="frequency", null=("twin_density",), log="y",
                  note=f"Mean over live filters; 1 is a flat spectrum. The Nyquist frequency of the output is {nyquist}."),
            Heat(title="Spectrum by filter", z="spectrum", note="Each row is one filter; its fractions sum to 1."),
            Scatter(title="Frequency and RMS by filter", x="centre", y="relative", group="colour", log="y"),
            Table(title="Diagnosis", rows="criterion",
                  columns=("value", "twin_value", "twin_value_low", "twin_value_high", "flat", "verdict")),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            "Spectra are of the filters alone, without the activation after them and without a blur before the stride.",
            "Small kernels resolve frequencies coarsely: a 3 x 3 filter cannot separate neighbouring frequencies.",
            f"Low is up to {format_value(LOW_FREQUENCY, 'cycles/px')}, high from {format_value(HIGH_FREQUENCY, 'cycles/px')}.",
            "A filter is dead below a fraction of the RMS that three quarters of all filters stay under, before and after the "
            "batch norm that follows.",
        ]
        if finding["stem"].sel(part="channels").item() not in (1, 3):
            lines.append("The input has neither one nor three channels: the filters are shown as means over them.")
        if not np.isfinite(finding["value"].values).all():
            lines.append("No filter is alive, so there is no spectrum.")
        if finding.trained is False:
            lines.append("These weights are untrained: whatever they show is chance.")
        return lines


_SHAPE = ("filters", "channels", "kernel rows", "kernel cols", "row stride", "col stride")


def _fault_count(finding: Finding) -> float:
    """How many numbers are faults; not a number where nothing was judged, for want of untrained twins."""
    if (finding["verdict"].values == NOT_JUDGED).all():
        return nan
    return int(finding["finding"].sum())


def _first_layer(specimen: Specimen, at: str) -> _Stem:
    path = specimen.layer(at).path if at else first_convolution(specimen)
    module = specimen.net.get_submodule(path)
    if not isinstance(module, nn.Conv2d):
        raise Unmeasurable(
            f"{at} is no convolution but a {type(module).__name__}; the first one is {first_convolution(specimen) or 'missing'}."
        )
    weight = module.weight.detach().cpu().float()
    for axis, step in enumerate(module.dilation):
        weight = _dilate_kernel(weight, axis + 2, step)
    norms = norms_after(specimen.anatomy.trace.calls)
    norm = norm_of(specimen.net.get_submodule(norms[path])) if path in norms else None
    return _Stem(path, weight, (module.stride[0], module.stride[1]), None if norm is None else norm.scale().abs())


def _dilate_kernel(weight: Tensor, axis: int, step: int) -> Tensor:
    """The kernel with the holes of its dilation along one side filled with zeros."""
    if step == 1:
        return weight
    shape = list(weight.shape)
    shape[axis] = (shape[axis] - 1) * step + 1
    dilated = weight.new_zeros(shape)
    dilated.index_copy_(axis, torch.arange(0, shape[axis], step), weight)
    return dilated


def _filter_arrays(prefix: str, stem: _Stem, below: float) -> dict[str, Any]:
    """Everything measured of each filter, and of all live ones together."""
    power = filters.power_spectrum(stem.weight)
    strength = filters.filter_rms(stem.weight)
    relative = _relative_strength(strength)
    alive = relative >= below
    if stem.scale is not None:  # a filter may be small and its norm large
        alive |= _relative_strength(strength * stem.scale.double().numpy()) >= below
    spectrum, rings = filters.radial_spectrum(power), filters.frequency_rings(power.shape[1])
    grey = filters.grey_energy(stem.weight)
    kinds = np.where(~alive, "dead", np.where(grey > GREY_ENERGY, "grey", "colour"))
    frequency = {"frequency": rings.middle.round(3)}
    unit = ("unit",)
    density = _mean(spectrum[alive]) / rings.share
    twin = TWINS if prefix else ""
    values, flat = _diagnose(stem, power, alive, strength, grey)
    criteria = {"criterion": list(values)}
    arrays = {
        "spectrum": array(spectrum, ("unit", "frequency"), "fraction of the energy", frequency),
        "density": array(density, ("frequency",), "flat = 1", frequency, twin),
        "dead": array(~alive, unit, "yes or no"),
        "rms": array(strength, unit, "weight units"),
        "relative": array(relative, unit, "usual = 1", title="RMS over the usual RMS"),
        "centre": array(filters.centre_frequency(power), unit, "cycles/px", title="mean frequency"),
        "peak": array(filters.peak_frequency(power), unit, "cycles/px", title="peak frequency"),
        "above": array(filters.energy_above_nyquist(power, stem.stride), unit, "fraction of the energy", title="above Nyquist"),
        "grey": array(grey, unit, "fraction of the energy", title="grey energy"),
        "colour": array(kinds.astype(object), unit, "text"),
        "value": array(list(values.values()), ("criterion",), "fraction or ratio", criteria, twin or "this network"),
    }
    flat_array = (
        {} if prefix else {"flat": array(list(flat.values()), ("criterion",), "fraction or ratio", criteria, "flat spectrum")}
    )
    return {prefix + name: values for name, values in arrays.items()} | flat_array


def _diagnose(
    stem: _Stem, power: Tensor, alive: np.ndarray[Any, Any], strength: np.ndarray[Any, Any], grey: np.ndarray[Any, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """The numbers of the diagnosis, and what filters with a flat spectrum would give."""
    nan = float("nan")
    if not alive.any():
        values = dict.fromkeys(
            (
                LARGEST_ENERGY,
                ABOVE_NYQUIST,
                ABOVE_NYQUIST_NATURAL,
                HALVED_STRIDE,
                MIDDLE_TO_EXTREMES,
                INNER_KERNEL,
                GREY_FILTERS,
            ),
            nan,
        )
        return {DEAD_FILTERS: 1.0} | values, {DEAD_FILTERS: 0.0} | values
    white = torch.ones(1, *power.shape[1:], dtype=torch.float64)
    half = (-(-stem.stride[0] // 2), -(-stem.stride[1] // 2))
    inner = smaller_kernel(min(stem.weight.shape[2], stem.weight.shape[3]))

    def of_power(power: Tensor) -> dict[str, float]:
        energies, areas = filters.band_energy(power, LOW_FREQUENCY, HIGH_FREQUENCY)
        low, middle, high = _mean(energies) / areas
        return {
            ABOVE_NYQUIST: float(np.mean(filters.energy_above_nyquist(power, stem.stride))),
            ABOVE_NYQUIST_NATURAL: float(np.mean(filters.energy_above_nyquist(power, stem.stride, natural=True))),
            HALVED_STRIDE: float(np.mean(filters.energy_above_nyquist(power, half))),
            MIDDLE_TO_EXTREMES: float(middle / max(min(low, high), 1e-12)),
        }

    energy = strength**2
    live = torch.from_numpy(alive)
    own = {DEAD_FILTERS: float((~alive).mean()), LARGEST_ENERGY: float(energy.max() / energy.mean())} | of_power(power[live])
    kernel = stem.weight.shape[2] * stem.weight.shape[3]
    own |= {
        INNER_KERNEL: filters.inner_energy(stem.weight[live], inner),
        GREY_FILTERS: float((grey[alive] > GREY_ENERGY).mean()),
    }
    return own, {DEAD_FILTERS: 0.0, LARGEST_ENERGY: 1.0} | of_power(white) | {
        INNER_KERNEL: inner**2 / kernel,
        GREY_FILTERS: nan,
    }


def _kind_text(stem: _Stem) -> str:
    rows, cols = stem.weight.shape[2:]
    if (rows, cols) == stem.stride and rows > 1:
        return f"patch embedding of {rows} x {cols} px"
    return f"{rows} x {cols} / {max(stem.stride)} stem"


def _nyquist_frequency(finding: Finding) -> float:
    return 0.5 / float(finding["stem"].sel(part="row stride"))


def _relative_strength(strength: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Against what three quarters of the filters stay under; zero where all are zero."""
    usual = float(np.quantile(strength, RMS_QUANTILE))
    return strength / usual if usual else np.where(strength > 0, np.inf, 0.0)


def _mean(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return rows.mean(0) if len(rows) else np.full(rows.shape[1], np.nan)


def _filter_images(weight: Tensor) -> np.ndarray[Any, Any]:
    """Filters (unit, row, col, rgb) between 0 and 1, zero at one half, each scaled by its own largest weight."""
    shown = weight if weight.shape[1] == 3 else weight.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    largest = shown.abs().amax((1, 2, 3), keepdim=True)
    return (0.5 + 0.5 * shown / torch.where(largest > 0, largest, 1.0)).permute(0, 2, 3, 1).numpy()
