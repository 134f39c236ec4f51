"""The health of the first layer: dead filters, what frequencies it sees, and what its stride folds into what it should not.

Every filter's power by spatial frequency tells how much of it lies above the Nyquist frequency of the next grid, 1 / (2 stride), and
returns in disguise as a lower one; whether the middle frequencies are missing between very low and very high ones; which filters are
dead, and whether a few dominate; how much of the kernel is used. Random filters have a flat spectrum, most of which any stride
folds: each number stands beside the untrained twin's, and what the twin shows as well is no finding.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1, who saw extremes of frequency without the middle, dead filters and aliasing
in an 11 x 11 / 4 first layer and went to 7 x 7 / 2. They looked; the measures and thresholds are ours.
"""

from collections.abc import Sequence
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
from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.weights import filters
from microtome.numerics.weights.norms import norm_of, norms_after
from microtome.panels import Curve, Grid, Heat, Panel, Question, Scatter, Table
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.anatomy import first_convolution

LOW_FREQUENCY, HIGH_FREQUENCY = 1 / 8, 1 / 4  # cycles per pixel: below is low, above is high, between is the middle
RMS_QUANTILE = 0.75  # the quantile of all filters' RMS that counts as usual: with many dead filters the median is none
GREY_ENERGY = 0.5  # share of the energy that sees all colours alike, above which a filter is grey


class _Stem(NamedTuple):
    """The first layer: its name, kernel (unit, rgb, row, col), stride (rows, cols), and the batch norm's scale (unit,) or None."""

    name: str
    weight: Tensor
    stride: tuple[int, int]
    scale: Tensor | None


@final
class Frontend(Analysis):
    """Spectrum, aliasing, dead filters and colours of the first convolution."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "First layer"

    at: str = option("", "the convolution to look at; empty: the first")
    below: float = option(0.05, "share of the usual RMS below which a filter counts as dead", low=0.0, high=1.0)
    sort: Literal["frequency", "norm", "first"] = option("frequency", "the order of the filters")

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return "" if self.at or first_convolution(specimen) else "it has no convolution, so no filters that look at the picture"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        own = _first_layer(specimen, self.at)
        null = _first_layer(specimen.twin(seed=1 if specimen.trained is False else 0), own.name)
        if not bool(torch.isfinite(own.weight).all()):
            raise Unmeasurable(
                f"{own.name} of {specimen.name} has weights that are NaN or infinite; look at them: microtome weights"
            )
        found = _filter_arrays("", own, self.below) | _filter_arrays("twin_", null, self.below)
        order = self._order(found)
        for name, one in found.items():
            found[name] = one.isel(unit=order).assign_coords(unit=order) if "unit" in one.dims else one
        found["filter"] = array(
            _filter_images(own.weight)[order], ("unit", "row", "col", "rgb"), "1/2 is zero", {"unit": order}
        )
        found["stem"] = array([*own.weight.shape, *own.stride], ("part",), "filters, channels, px", {"part": list(_BANDS)})
        found["name"] = array([own.name, _kind_text(own)], ("part",), "text", {"part": ["layer", "kind"]})
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        said = {
            name: dict(zip(map(str, one.criterion.values), one.values, strict=True))
            for name, one in found.items()
            if "criterion" in one.dims
        }
        dead = [int(one) for one in found["dead"].unit.values[found["dead"].values]]
        side = min(own.weight.shape[2], own.weight.shape[3])
        verdicts = judge_filters(
            said["value"], said["twin_value"], sorted(dead), len(own.weight), side, max(own.stride), specimen.trained
        )
        told = {"criterion": list(verdicts)}
        found["verdict"] = array([text for _, text in verdicts.values()], ("criterion",), "text", told, "what it means")
        found["finding"] = array([flagged for flagged, _ in verdicts.values()], ("criterion",), "yes or no", told, "to repair")
        return found

    def _order(self, found: Arrays) -> np.ndarray[Any, Any]:
        """Places of the filters in the order they are shown in; those that have no frequency last."""
        if self.sort == "first":
            return np.arange(found["dead"].size)
        by = found["centre"].values if self.sort == "frequency" else -found["rms"].values
        return np.argsort(np.where(np.isfinite(by), by, np.inf), kind="stable")

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = []
        if found["filter"].sizes["row"] > 1:
            shown.append(
                Grid(
                    title="The filters",
                    z="filter",
                    across="unit",
                    note=f"In the order of {self.sort}; grey is zero, each stretched by itself.",
                )
            )
        return [
            *shown,
            Curve(title="What the filters see", y=("density",), x="frequency", null=("twin_density",), log="y",
                  note=f"Mean over live filters; 1 is a flat spectrum. The next grid carries {_nyquist_frequency(found):.3g} cycles/px."),
            Heat(title="Spectrum of every filter", z="spectrum", note="Each row is one filter; the rings' shares sum to 1."),
            Scatter(title="Frequency and strength", x="centre", y="relative", group="colour", log="y"),
            Table(title="Diagnosis", rows="criterion", columns=("value", "twin_value", "flat", "verdict")),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        value, twin = found["value"], found["twin_value"]

        def both(name: str, form: str = ".0%") -> str:
            return f"{float(value.sel(criterion=name)):{form}} (untrained twin {float(twin.sel(criterion=name)):{form}})"

        name, kind = map(str, found["name"].values)
        said = f"{name}, {kind} of {found['dead'].size} filters: {int(found['dead'].values.sum())} dead (untrained twin "
        said += f"{int(found['twin_dead'].values.sum())})"
        if float(value.sel(criterion=ABOVE_NYQUIST)) > 0:
            said += (
                f"; {both(ABOVE_NYQUIST)} of a filter's energy lies above the {_nyquist_frequency(found):.3g} cycles/px "
                "that its stride carries, "
            )
            said += f"and {both(ABOVE_NYQUIST_NATURAL)} of its answer to natural pictures"
        advice = [str(text) for text, flagged in zip(found["verdict"].values, found["finding"].values, strict=True) if flagged]
        if advice:
            return f"{said}. {' '.join(advice)}"
        return f"{said}. " + ("Untrained weights: no finding." if float(found["trained"]) == 0 else "Nothing to repair.")

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "Spectra are of the filters alone: what the activation after them adds, and what a blur before the stride takes away, is "
            "not in them.",
            "Kernels of a few pixels see frequencies coarsely: a 3 x 3 filter cannot tell neighbouring frequencies apart.",
            f"Low is up to {LOW_FREQUENCY:.3g} cycles/px, high from {HIGH_FREQUENCY:.3g}; a filter is dead below a "
            "share of the RMS that three quarters of "
            "all filters stay under, with the batch norm after it as well where there is one.",
        ]
        if found["stem"].sel(part="channels").item() not in (1, 3):
            said.append("The picture has neither one nor three channels: the filters are drawn as means over them.")
        if not np.isfinite(found["value"].values).all():
            said.append("No filter is alive, so that there is no spectrum.")
        if float(found["trained"]) == 0:
            said.append("These weights are untrained: whatever they show is chance.")
        return said


_BANDS = ("filters", "channels", "kernel rows", "kernel cols", "row stride", "col stride")


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
    norms = norms_after(specimen.anatomy.found.calls)
    norm = norm_of(specimen.net.get_submodule(norms[path])) if path in norms else None
    return _Stem(path, weight, (module.stride[0], module.stride[1]), None if norm is None else norm.scale().abs())


def _dilate_kernel(weight: Tensor, axis: int, step: int) -> Tensor:
    """The kernel with the holes of its dilation along one side filled with zeros."""
    if step == 1:
        return weight
    shape = list(weight.shape)
    shape[axis] = (shape[axis] - 1) * step + 1
    made = weight.new_zeros(shape)
    made.index_copy_(axis, torch.arange(0, shape[axis], step), weight)
    return made


def _filter_arrays(prefix: str, stem: _Stem, below: float) -> dict[str, Any]:
    """Everything measured of each filter, and of all live ones together."""
    power = filters.power_spectrum(stem.weight)
    strength = filters.filter_rms(stem.weight)
    relative = _relative_strength(strength)
    alive = relative >= below
    if stem.scale is not None:  # a filter may be small and its norm large
        alive |= _relative_strength(strength * stem.scale.double().numpy()) >= below
    spectrum, found = filters.radial_spectrum(power), filters.frequency_rings(power.shape[1])
    grey = filters.grey_energy(stem.weight)
    kinds = np.where(~alive, "dead", np.where(grey > GREY_ENERGY, "grey", "colour"))
    frequency = {"frequency": found.middle.round(3)}
    unit = ("unit",)
    density = _mean(spectrum[alive]) / found.share
    twin = "untrained twin" if prefix else ""
    values, flat = _diagnose(stem, power, alive, strength, grey)
    told = {"criterion": list(values)}
    made = {
        "spectrum": array(spectrum, ("unit", "frequency"), "share of the energy", frequency),
        "density": array(density, ("frequency",), "flat = 1", frequency, twin),
        "dead": array(~alive, unit, "yes or no"),
        "rms": array(strength, unit, "weight units"),
        "relative": array(relative, unit, "usual = 1", title="RMS against the usual"),
        "centre": array(filters.centre_frequency(power), unit, "cycles/px", title="mean frequency"),
        "peak": array(filters.peak_frequency(power), unit, "cycles/px", title="frequency passed best"),
        "above": array(filters.energy_above_nyquist(power, stem.stride), unit, "share of the energy", title="above Nyquist"),
        "grey": array(grey, unit, "share of the energy", title="sees all colours alike"),
        "colour": array(kinds.astype(object), unit, "text"),
        "value": array(list(values.values()), ("criterion",), "share or times", told, twin or "this network"),
    }
    plain = {} if prefix else {"flat": array(list(flat.values()), ("criterion",), "share or times", told, "flat spectrum")}
    return {prefix + name: one for name, one in made.items()} | plain


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

    def told(power: Tensor) -> dict[str, float]:
        share, plane = filters.band_energy(power, LOW_FREQUENCY, HIGH_FREQUENCY)
        low, middle, high = _mean(share) / plane
        return {
            ABOVE_NYQUIST: float(np.mean(filters.energy_above_nyquist(power, stem.stride))),
            ABOVE_NYQUIST_NATURAL: float(np.mean(filters.energy_above_nyquist(power, stem.stride, natural=True))),
            HALVED_STRIDE: float(np.mean(filters.energy_above_nyquist(power, half))),
            MIDDLE_TO_EXTREMES: float(middle / max(min(low, high), 1e-12)),
        }

    energy = strength**2
    live = torch.from_numpy(alive)
    own = {DEAD_FILTERS: float((~alive).mean()), LARGEST_ENERGY: float(energy.max() / energy.mean())} | told(power[live])
    kernel = stem.weight.shape[2] * stem.weight.shape[3]
    own |= {
        INNER_KERNEL: filters.inner_energy(stem.weight[live], inner),
        GREY_FILTERS: float((grey[alive] > GREY_ENERGY).mean()),
    }
    return own, {DEAD_FILTERS: 0.0, LARGEST_ENERGY: 1.0} | told(white) | {INNER_KERNEL: inner**2 / kernel, GREY_FILTERS: nan}


def _kind_text(stem: _Stem) -> str:
    rows, cols = stem.weight.shape[2:]
    if (rows, cols) == stem.stride and rows > 1:
        return f"a patch embedding of {rows} x {cols} px"
    return f"a {rows} x {cols} / {max(stem.stride)} stem"


def _nyquist_frequency(found: Arrays) -> float:
    return 0.5 / float(found["stem"].sel(part="row stride"))


def _relative_strength(strength: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Against what three quarters of the filters stay under; zero where all are zero."""
    usual = float(np.quantile(strength, RMS_QUANTILE))
    return strength / usual if usual else np.where(strength > 0, np.inf, 0.0)


def _mean(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return rows.mean(0) if len(rows) else np.full(rows.shape[1], np.nan)


def _filter_images(weight: Tensor) -> np.ndarray[Any, Any]:
    """Filters (unit, row, col, rgb) between 0 and 1, zero at one half, each stretched by its own largest weight."""
    shown = weight if weight.shape[1] == 3 else weight.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    largest = shown.abs().amax((1, 2, 3), keepdim=True)
    return (0.5 + 0.5 * shown / torch.where(largest > 0, largest, 1.0)).permute(0, 2, 3, 1).numpy()
