"""Pixels with weaker gradients than their neighbours, and the layers responsible for them.

A kernel whose size its stride does not divide reads some pixels more often than others (3 x 3 at stride 2: once, twice, once, twice;
1 x 1 at stride 2: every other one never). Through a stack of layers this becomes a grid of weak, or even dead, pixels. Three
measurements: the *forecast*, which needs neither weights nor images; the *output field*, the gradient of the predicted class' logit
on your images, averaged over pixels of equal phase; and a direct test, the change of that logit when one pixel changes. The
layers with uneven strides are listed, each with the kernel size that would be even.

The forecast is our derivation. The gradient of a position reaches the pixels in its window, and for independent random weights the
expected squares add up: an equal fraction for each tap, whatever the weights. So the network is run with all kernels constant, means
for maxima, without activations and norms, and its summed output differentiated. In a chain of layers that is, up to a factor, the
expected squared input gradient at initialisation (three strided layers, 400 draws: correlation 0.9986 by phase). Where branches join
it is so for He initialisation only, which passes the same through each branch; with other initialisations (torch's default, residual
branches that begin at zero) branches are weighted differently, and the forecast is not the gradient of the untrained network.

Source: Kim et al. 2021, "Dead Pixel Test Using Effective Receptive Field", arXiv:2108.13576: output field and remedy (kernel
padding), sec. 4; L1 and L2, eq. 3-4; perturbation, theorem 1 and sec. 4.3. Coverage, forecast and averaging by phase are ours, and
so is taking the sum of the outputs of a network without classes.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.dead_pixels.perturbation import PROBED_SIDE, class_score, perturbation_arrays
from microtome.analyses.dead_pixels.uneven_layers import uneven_layer_arrays
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import Unmeasurable, WatchError, hint, option_name, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.input_gradients import input_gradients
from microtome.instruments.receptive_fields import receptive_fields
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.receptive.effective import sum_gradients
from microtome.numerics.receptive.evenness import fold_phases, forecast_phases, phase_ratio, roughness
from microtome.panels import Bars, Grid, Panel, Question, Scatter, Table
from microtome.prose import name_list, plural
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen
from microtome.specimen.full_gradients import full_gradients
from microtome.specimen.gradient_cuts import gradient_cut
from microtome.workload import Workload

MAX_PERIOD = 8  # px, the longest period; longer ones leave too few pixels of equal phase to average over
METHODS = ("forecast", "output", "twin")


@final
class DeadPixels(Analysis):
    """Uneven reading of input pixels: forecast, measured by gradients, tested by perturbation."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Dead pixels"
    rank: ClassVar[int] = 25
    revision: ClassVar[int] = 3  # 3: which images its twins see rests on their contents

    count: int = option(16, "images whose gradients are summed", low=1, high=100000, quick=4, full=64)
    probes: int = option(4, "images in which single pixels are changed; 0: skip", low=0, high=1000, quick=1, full=8)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        twins = min(specimen.twin_count, 1)
        return Workload(forward=6.0 * shown, backward=(2.0 + twins) * shown, twins=twins)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        chosen = images.take(np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int)))
        rows, cols = specimen.recipe.size
        period, margin = _phase_period(specimen), min(rows, cols) // 8
        blank = next(iter(batches(specimen, chosen.take([0]), pace))).x
        if cut := gradient_cut(specimen.net, blank):
            raise Unmeasurable(f"dead_pixels: {cut}.")
        with full_gradients(specimen.net):
            forecast = forecast_phases(specimen.answer, blank)
        maps = {
            "forecast": forecast,
            "output": self._field(specimen, chosen, pace, "gradients"),
        }
        maps["twin"] = maps["output"]  # a stand-in without a twin: `Analysis.conclude` takes out what bears its name
        if specimen.twin_count:
            maps["twin"] = self._field(specimen.working_twin(images), chosen, pace, "gradients of one untrained twin")
        if not np.isfinite(maps["output"]).all():
            raise Unmeasurable(
                f"dead_pixels: the gradient of {specimen.name} is not finite; some of its weights or values are NaN or infinite. "
                f"See which: {weights_hint(specimen.name)}"
            )
        if not maps["output"].any():
            raise WatchError("dead_pixels: the gradient of the output is zero everywhere: it does not depend on the image.")
        phases = {name: fold_phases(field, period, margin) for name, field in maps.items()}
        # a period that shares no divisor with the stride shows what chance alone gives for as many phases
        chance = [phase_ratio(fold_phases(maps[name], period + 1, margin)) for name in METHODS]
        arrays = _field_arrays(maps, phases, chance, period)
        if self.probes:
            few = chosen.take(range(min(self.probes, len(chosen))))
            slope = self._field(specimen, few, pace, "gradients at the changed pixels", "abs")
            arrays |= perturbation_arrays(
                specimen, few, pace, maps["output"], specimen.recipe.channels * slope
            )  # a step of all
        return Measurement(arrays | uneven_layer_arrays(specimen), {"images": len(chosen)})

    def _field(
        self, specimen: Specimen, chosen: Images, pace: Pace, what: str, rule: Literal["relu", "abs"] = "relu"
    ) -> np.ndarray[Any, Any]:
        """The output field: positive parts (or sizes) of the colour means of the output's gradient, mean over images."""
        total: list[Tensor] = []
        for batch in batches(specimen, chosen, pace):
            input_gradients(specimen, batch.x, {}, lambda _, slope: total.append(sum_gradients(slope, rule).cpu()), class_score)
            pace.listener(Step(f"{specimen.name}: {what}", int(batch.index[-1]) + 1, len(chosen), 0.0))
        return torch.stack(total).sum(0).numpy() / len(chosen)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        def weakest(name: str, method: str) -> KeyNumber:
            value, chance = (float(finding[array].sel({"method": method})) for array in ("evenness", "noise"))
            baseline = nan if method == "forecast" else chance  # the forecast is exact
            return KeyNumber(name=name, value=value, unit=FRACTION, baseline=baseline, baseline_name="chance", better="higher")

        layers = [str(name) for name in finding["uneven"].values] if "uneven" in finding else []
        change = [KeyNumber(name="R² of gradient and change", value=float(finding["r2"]))] if "r2" in finding else []
        return [
            weakest("weakest phase", "output"),
            weakest("weakest phase, one untrained twin", "twin"),
            weakest("weakest phase, forecast", "forecast"),
            *change,
            KeyNumber(name="layers with uneven strides", value=len(layers), better="lower", at=name_list(layers)),
        ]

    def headline(self, finding: Finding) -> str:
        gradients, forecast = finding.key("weakest phase"), finding.key("weakest phase, forecast")
        if isnan(gradients.value):
            return f"By strides and kernels alone the weakest pixels count {forecast.text} of the strongest."
        start = "Untrained weights: the" if finding.trained is False else "The"
        compared = f"chance {gradients.baseline_text}; forecast from strides {forecast.text}"
        return f"{start} weakest pixels have {gradients.text} of the gradient of the strongest ({compared})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        period = finding["phase"].sizes["row"]
        shown: list[Panel] = [
            Grid(
                title="Gradient by pixel", z="shown", across="method", down="part",
                note=f"The middle of the image, and its mean over pixels of equal phase modulo {period} px; each tile on its own "
                "scale. Forecast: from kernels and strides alone (with branches: for He initialisation).",
            ),
            Bars(
                title="Weakest phase over strongest", y=("evenness",), x="method", null=("noise",),
                note=f"Phases modulo {period} px, edges left out; 1: even. Grey: modulo {period + 1}, chance alone.",
            ),
        ]  # fmt: skip
        if "moved" in finding:
            shown.append(
                Scatter(
                    title="Change of the output by pixel", x="expected", y="moved",
                    note=f"{PROBED_SIDE} x {PROBED_SIDE} pixels in the middle, changed one by one, against the change "
                    "expected from the gradient.",
                )
            )  # fmt: skip
        if "kernel" in finding:
            columns = ("uneven", "kernel", "reads", "remedy")
            shown.append(Table(title="Layers with uneven strides", rows="part", columns=columns, question="repair"))
        return [*shown, Table(title="Smoothness of the output field", rows="method", columns=("smoothness",))]

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            f"Measured fields are noisy with {plural(finding.facts['images'], 'image')}: an even network has a weakest phase below "
            "100% too.",
            f"Compare with chance and the forecast, and raise {option_name('count')} before trusting a small difference. One untrained "
            "twin shows one draw of random weights, so nothing is concluded from it.",
            "The forecast is the expected squared gradient at initialisation for chains of layers, and with branches for He "
            "initialisation only.",
            "Where kernels do not overlap (patch embeddings), the phases of a measured field are those of the learned kernel.",
            "L1 and L2 as published depend on the scale of the logits and on the number of images; divided by the mean they do not.",
        ]
        if "kernel" in finding:
            lines += [
                f"Kernel padding ({hint('microtome edit … kernel_padding', 'mt.edits.kernel_padding')}) makes kernels even "
                "without changing the outputs; the weak pixels "
                "recover only with further training.",
                "In the paper, kernel padding reduced classification accuracy by about one point.",
            ]
        return lines


def _phase_period(specimen: Specimen) -> int:
    """The stride of the last stage, at most PERIOD px, over which unevenness repeats; 2 where it is no whole number."""
    by_layer = receptive_fields(
        specimen, [name for name in ("stages", "blocks", "last") if name in specimen.aliases][:1] or None
    )
    jumps = [max(field.jump) for field in by_layer.values() if not field.whole or field.grid != (1, 1)]
    longest = int(max(jumps)) if jumps else 2
    return next((period for period in range(min(longest, MAX_PERIOD), 1, -1) if longest % period == 0), 2)


def _field_arrays(
    maps: Mapping[str, np.ndarray[Any, Any]], phases: Mapping[str, Any], chance: Sequence[float], period: int
) -> dict[str, Any]:
    side = ("row", "col")
    relative = {name: field / field.mean() if field.mean() else field for name, field in maps.items()}
    rough = {name: roughness(maps[name]) for name in METHODS}
    means = {name: max(float(maps[name].mean()), 1e-300) for name in METHODS}
    numbers = [[*rough[name], *(value / means[name] for value in rough[name])] for name in METHODS]
    methods = {"method": list(METHODS)}
    width = 4 * period
    tiles = [[_central_square(relative[name], width) for name in METHODS], [np.tile(phases[name], (4, 4)) for name in METHODS]]
    parts = methods | {"part": ["by pixel", "by phase"]}
    return {
        "forecast": array(relative["forecast"].astype(np.float32), side, "fraction of the mean pixel"),
        "output": array(relative["output"].astype(np.float32), side, "fraction of the mean pixel"),
        "twin_output": array(relative["twin"].astype(np.float32), side, "fraction of the mean pixel"),
        "phase": array(phases["output"], side, "fraction of the mean pixel"),
        "phase_forecast": array(phases["forecast"], side, "fraction of the mean pixel"),
        "twin_phase": array(phases["twin"], side, "fraction of the mean pixel"),
        "shown": array(np.array(tiles, dtype=np.float32), ("part", "method", *side), "fraction of the mean pixel", parts),
        "evenness": array(
            [phase_ratio(phases[name]) for name in METHODS], ("method",), "1", methods, "weakest over strongest phase"
        ),
        "noise": array(chance, ("method",), "1", methods, "chance"),
        "smoothness": array(
            np.array(numbers),
            ("method", "measure"),
            "field units, or 1",
            methods | {"measure": ["L1", "L2", "L1 / mean", "L2 / mean"]},
        ),
    }


def _central_square(field: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """The square of `side` px in the middle, NaN where the image is smaller."""
    square = np.full((side, side), np.nan)
    rows, cols = (max(0, (length - side) // 2) for length in field.shape)
    part = field[rows : rows + side, cols : cols + side]
    square[: part.shape[0], : part.shape[1]] = part
    return square
