"""Pixels that count less than their neighbours: a forecast from strides and kernels alone, what gradients say, and who causes it.

A kernel whose size its stride does not divide reads some pixels more often than others (3 x 3 at stride 2: once, twice, once, twice;
1 x 1 at stride 2: every other one never). Through a stack of layers this becomes a grid of weak, at worst dead, pixels. Three
looks at it: the *forecast*, which needs neither weights nor images; the *output field*, the gradient of the predicted class' logit
on your images, folded over equal places of the grid; and a direct test, the change of that logit when one pixel changes. The
layers that read unevenly are named, with the kernel that would not.

The forecast is our derivation. A cell's gradient reaches the pixels that its window reads, and for independent random weights the
expected squares add up: tap by tap the same share, whatever the weights. So the network is run with all kernels even, means for
maxima, without activations and norms, and its summed output differentiated. In a chain of layers that is, up to a factor, the expected
squared input gradient at initialisation (three strided layers, 400 draws: correlation 0.9986 by phase). Where branches join it is so
for He initialisation only, which passes the same through each branch; with other initialisations (torch's default, residual branches
that begin at zero) branches count otherwise, and the forecast is no longer the untrained network's.

Source: Kim et al. 2021, "Dead Pixel Test Using Effective Receptive Field", arXiv:2108.13576: output field and remedy (kernel
padding), sec. 4; L1 and L2, eq. 3-4; perturbation, theorem 1 and sec. 4.3. Coverage, forecast and folding are ours, and so is
the reading that a network without classes is asked for the sum of its outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import Unmeasurable, WatchError
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.input_gradients import input_slopes
from microtome.instruments.receptive_fields import fields
from microtome.instruments.strides import Reader, uneven_readers
from microtome.numerics.receptive.effective import added
from microtome.numerics.receptive.evenness import even_kernel, folded, forecast, ratio, roughness
from microtome.panels import Bars, Grid, Panel, Question, Scatter, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, first_tensor

PERIOD = 8  # px, the longest period that is folded; longer ones leave too few places to average over
EVEN = 0.98  # from this share on, the weakest phase counts as much as the strongest
STEP = 0.1  # of the perturbation, in normalised units
SIDE = 5  # of the square of pixels that are perturbed one by one, in the middle of the picture
LEGS = ("forecast", "output", "twin")


@final
class DeadPixels(Analysis):
    """Uneven reading of input pixels: forecast, measured, perturbed, explained."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Dead pixels"

    count: int = option(16, "images whose gradients are added up", low=1, high=100000)
    probes: int = option(4, "images in which single pixels are changed; 0: none", low=0, high=1000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        taken = images.take(np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int)))
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        rows, cols = specimen.recipe.size
        period, margin = _period(specimen), min(rows, cols) // 8
        blank = next(iter(batches(specimen, taken.take([0]), pace))).x
        maps = {
            "forecast": forecast(lambda x: _given(specimen, x), blank),
            "output": self._field(specimen, taken, pace, "gradients"),
            "twin": self._field(twin, taken, pace, "gradients of the untrained twin"),
        }
        if not np.isfinite(maps["output"]).all():
            raise Unmeasurable(
                f"dead_pixels: the gradient of {specimen.name} is not finite; some of its weights or values are NaN or infinite. "
                f"See which: microtome weights {specimen.name}"
            )
        if not maps["output"].any():
            raise WatchError("dead_pixels: the gradient of the answer is zero everywhere: it does not depend on the picture.")
        phases = {name: folded(one, period, margin) for name, one in maps.items()}
        # a period that shares no divisor with the grid shows what chance alone makes of as many places
        noise = [ratio(folded(maps[name], period + 1, margin)) for name in LEGS]
        arrays = _mapped(maps, phases, noise, period)
        if self.probes:
            chosen = taken.take(range(min(self.probes, len(taken))))
            same = self._field(specimen, chosen, pace, "gradients at the changed pixels", "abs")
            arrays |= _perturbed(specimen, chosen, pace, maps["output"], 3 * same)  # a step of all three colours
        arrays |= _causes(specimen)
        arrays["count"] = array([len(taken)], ("specimen",), "images")
        return arrays

    def _field(
        self, specimen: Specimen, taken: Images, pace: Pace, what: str, rule: Literal["relu", "abs"] = "relu"
    ) -> np.ndarray[Any, Any]:
        """The output field: positive parts (or sizes) of the colour means of the answer's gradient, mean over images."""
        total: list[Tensor] = []
        for batch in batches(specimen, taken, pace):
            input_slopes(specimen, batch.x, {}, lambda _, slope: total.append(added(slope, rule).cpu()), _answer)
            pace.listener(Step(f"{specimen.name}: {what}", int(batch.index[-1]) + 1, len(taken), 0.0))
        return torch.stack(total).sum(0).numpy() / len(taken)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        period = found["phase"].sizes["row"]
        shown: list[Panel] = [
            Grid(
                title="Which pixels count", z="shown", across="method", down="part",
                note=f"The middle of the picture, and its mean over equal places modulo {period} px; each tile on its own scale. "
                "Forecast: from kernels and strides alone (with branches: for He initialisation).",
            ),
            Bars(
                title="Weakest phase as a share of the strongest", y=("evenness",), x="method", null=("noise",),
                note=f"Means over equal places modulo {period} px, edges left out; 1: all alike. Grey: modulo {period + 1}, chance alone.",
            ),
        ]  # fmt: skip
        if "moved" in found:
            shown.append(
                Scatter(
                    title="Does a weak pixel matter less?", x="expected", y="moved",
                    note=f"{SIDE} x {SIDE} pixels in the middle, changed one by one, against what their gradient promises.",
                )
            )  # fmt: skip
        if "kernel" in found:
            shown.append(
                Table(
                    title="Layers that read unevenly",
                    rows="part",
                    columns=("uneven", "kernel", "reads", "remedy"),
                    question="repair",
                )
            )
        return [*shown, Table(title="Smoothness of the output field", rows="method", columns=("smoothness",))]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        even = {leg: float(found["evenness"].sel({"method": leg})) for leg in LEGS}
        if even["forecast"] >= EVEN:
            first = f"Strides and kernels read all pixels alike (weakest phase {even['forecast']:.2f} of the strongest)"
        else:
            layers = [str(one) for one in found["uneven"].values] if "uneven" in found else []
            by = f", by {', '.join(layers[:3])}{', …' if len(layers) > 3 else ''}" if layers else ""
            first = f"By strides and kernels alone the weakest pixels count {even['forecast']:.2f} of the strongest{by}"
        chance = {leg: float(found["noise"].sel({"method": leg})) for leg in LEGS}
        measured = ", ".join(
            f"{word} {even[leg]:.2f} ({chance[leg]:.2f} by chance)" if np.isfinite(even[leg]) else f"{word} not to be told"
            for leg, word in (("output", "gradients on the images say"), ("twin", "the untrained twin"))
        )
        tested = ""
        if "r2" in found:
            r2, asked = float(found["r2"]), found["moved"].attrs["unit"]
            tested = f"; the gradient explains R² {r2:.2f} of how far changing a single pixel moves the {asked}"
        return f"{first}; {measured}{tested}."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        told = [
            f"Measured fields are noisy with {int(found['count'].values[0])} images: an even network shows a weakest phase below 1 "
            "as well. Compare with chance, the forecast and the twin, and raise --count before believing a small difference.",
            "The forecast is the expected squared gradient of an untrained network for chains of layers, and with branches for He "
            "initialisation only; the untrained twin here has the network's own initialisation.",
            "Where kernels do not overlap (patch embeddings), the phases of a measured field are those of the learned kernel.",
            "L1 and L2 as published depend on the scale of the logits and on the number of images; the values divided by the mean "
            "do not.",
        ]
        if "kernel" in found:
            told.append(
                "Kernel padding (microtome edit … kernel_padding) makes kernels even without changing the answers; the weak pixels "
                "only recover when the network is trained on. The authors' classification accuracy fell by about one point."
            )
        return told


def _given(specimen: Specimen, x: Tensor) -> Tensor:
    out = first_tensor(specimen.net(x))
    assert out is not None  # `survey`'s tracing has refused such networks before
    return out


def _mapped_answer(given: Tensor) -> bool:
    """Whether the network gives maps (image, class, row, col) instead of one score for each class."""
    return given.dim() > 2 and given[0].numel() != given.shape[1]


def _answer(given: Tensor) -> Tensor:
    """The predicted class' logit, or for maps the mean of all scores."""
    if _mapped_answer(given):
        return given.flatten(1).mean(1)
    scores = given.flatten(1)
    return scores.gather(1, scores.detach().argmax(1, keepdim=True))[:, 0]


def _period(specimen: Specimen) -> int:
    """The distance of the cells at the end, at most PERIOD px, over which unevenness repeats; 2 where it is not whole."""
    found = fields(specimen, [name for name in ("stages", "blocks", "last") if name in specimen.aliases][:1] or None)
    jumps = [max(field.jump) for field in found.values() if not field.whole or field.grid != (1, 1)]
    longest = int(max(jumps)) if jumps else 2
    return next((period for period in range(min(longest, PERIOD), 1, -1) if longest % period == 0), 2)


def _mapped(
    maps: Mapping[str, np.ndarray[Any, Any]], phases: Mapping[str, Any], noise: Sequence[float], period: int
) -> dict[str, Any]:
    side = ("row", "col")
    relative = {name: one / one.mean() if one.mean() else one for name, one in maps.items()}
    rough = {name: roughness(maps[name]) for name in LEGS}
    means = {name: max(float(maps[name].mean()), 1e-300) for name in LEGS}
    numbers = [[*rough[name], *(one / means[name] for one in rough[name])] for name in LEGS]
    legs = {"method": list(LEGS)}
    width = 4 * period
    tiles = [[_middle(relative[name], width) for name in LEGS], [np.tile(phases[name], (4, 4)) for name in LEGS]]
    drawn = legs | {"part": ["as it is", "folded"]}
    return {
        "forecast": array(relative["forecast"].astype(np.float32), side, "share of the mean pixel"),
        "output": array(relative["output"].astype(np.float32), side, "share of the mean pixel"),
        "twin_output": array(relative["twin"].astype(np.float32), side, "share of the mean pixel"),
        "phase": array(phases["output"], side, "share of the mean pixel"),
        "phase_forecast": array(phases["forecast"], side, "share of the mean pixel"),
        "twin_phase": array(phases["twin"], side, "share of the mean pixel"),
        "shown": array(np.array(tiles, dtype=np.float32), ("part", "method", *side), "share of the mean pixel", drawn),
        "evenness": array([ratio(phases[name]) for name in LEGS], ("method",), "1", legs, "weakest over strongest phase"),
        "noise": array(noise, ("method",), "1", legs, "by chance"),
        "smoothness": array(
            np.array(numbers),
            ("method", "measure"),
            "field units, or 1",
            legs | {"measure": ["L1", "L2", "L1 / mean", "L2 / mean"]},
        ),
    }


def _middle(field: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """The square of `side` px in the middle, NaN where the picture is smaller."""
    found = np.full((side, side), np.nan)
    rows, cols = (max(0, (one - side) // 2) for one in field.shape)
    part = field[rows : rows + side, cols : cols + side]
    found[: part.shape[0], : part.shape[1]] = part
    return found


def _perturbed(
    specimen: Specimen, taken: Images, pace: Pace, field: np.ndarray[Any, Any], slope: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Theorem 1: how far the logit moves when all colours of one pixel are raised by STEP, against STEP · `slope` there.

    `slope` is the mean size of the gradient on these very images, `field` the output field on all.
    """
    rows, cols = field.shape
    side = min(SIDE, rows, cols)
    top, left = (rows - side) // 2, (cols - side) // 2
    pixels = [(top + row, left + col) for row in range(side) for col in range(side)]
    moved, asked = np.zeros(len(pixels)), "logit"
    for batch in batches(specimen, taken, pace):
        for one in batch.x:
            raised = one[None].repeat(len(pixels) + 1, 1, 1, 1)
            for place, (row, col) in enumerate(pixels):
                raised[place + 1, :, row, col] += STEP
            with torch.no_grad():
                given = _given(specimen, raised)
            asked = "mean score" if _mapped_answer(given) else "logit"
            answers = _alike(given).double().cpu().numpy()
            moved += np.abs(answers[1:] - answers[0])
        pace.listener(Step(f"{specimen.name}: changed pixels", int(batch.index[-1]) + 1, len(taken), 0.0))
    moved /= len(taken)
    at = tuple(np.array(pixels).T)
    expected = STEP * slope[at]
    parts = {"part": [f"row {row}, col {col}" for row, col in pixels]}
    return {
        "expected": array(expected, ("part",), asked, parts, f"change by the gradient, {STEP} x its mean size"),
        "moved": array(moved, ("part",), asked, parts, f"mean change of the {asked} for a step of {STEP}"),
        "r2": array(_explained(expected, moved), (), "1", title="R² of gradient and change"),
        "r2_field": array(_explained(field[at], moved), (), "1", title="R² of output field and change"),
    }


def _explained(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """The squared correlation; 0 where one of both is constant."""
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean() / spread) ** 2 if spread > 0 else 0.0


def _alike(given: Tensor) -> Tensor:
    """The answer to each changed picture, of the class that the unchanged one (the first) was given."""
    if _mapped_answer(given):
        return given.flatten(1).mean(1)
    scores = given.flatten(1)
    return scores[:, int(scores[0].argmax())]


def _causes(specimen: Specimen) -> dict[str, Any]:
    """The modules that read unevenly, with the kernel that would not; nothing where none does."""
    found = uneven_readers(specimen)
    if not found:
        return {}
    parts = {"part": [one.name for one in found]}

    def told(text: Callable[[Reader], str], title: str) -> Any:
        return array(np.array([text(one) for one in found], dtype=object), ("part",), "text", parts, title)

    return {
        "uneven": told(lambda one: one.name, "layer"),
        "kernel": told(
            lambda one: f"{'pool' if one.pool else 'kernel'} {_by(one.kernel)}, stride {_by(one.stride)}", "reads with"
        ),
        "reads": told(lambda one: " and ".join(f"{a} to {b}" for a, b in dict.fromkeys(one.reads)), "times it reads a pixel"),
        "remedy": told(_remedy, "even kernel"),
    }


def _remedy(one: Reader) -> str:
    larger = even_kernel(one.kernel[0], one.stride[0]), even_kernel(one.kernel[1], one.stride[1])
    return _by(larger) + (" (changes the function)" if one.pool else "")


def _by(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}"
