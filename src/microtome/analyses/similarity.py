"""Debiased CKA between all layers of a network, compared with untrained twins.

Features are compared whole (every unit at every position) with the unbiased HSIC, so small samples give no upward bias. All pairs of
images are compared while the features of all take at most 512 MB and the Gram matrices 256 MB; beyond, the pairs within batches, which
are random samples that do not depend on the names of the files. Untrained twins are measured too: random networks of this kind are often
more similar from block to block than trained ones, and such similarity does not show that a block could be removed. The layers of two
networks are compared by `cross_similarity`.

The 95% interval is Student's on a jackknife over images (over batches beyond that memory). From 64 images on it held the true value in
93 to 97 of 100 simulated sets of images (92 where a few images have far larger features than the rest); below, or for fewer than 3
batches, there is no interval and no verdict.

Source: linear CKA, Kornblith et al. 2019, arXiv:1905.00414; unbiased HSIC, Song et al. 2012; summed over batches, Nguyen et al. 2021,
arXiv:2010.15327, eq. 3; jackknife, Tukey 1958.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.image_pairs import MIN_COUNT, all_pairs_fit, flat_features
from microtome.instruments.layer_cka import (
    add_cka_batch,
    cka_caveats,
    compares_all_pairs,
    empty_cka_tally,
    estimate_cka,
    reason_for_no_interval,
)
from microtome.instruments.untrained_twins import VERDICTS, over_twins, reason_for_no_verdict, stack_twins, twin_count, verdicts
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.cka import centered_gram
from microtome.numerics.statistics.cka_intervals import CkaEstimate
from microtome.numerics.statistics.intervals import nan_mean
from microtome.panels import Curve, Heat, Panel
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle

SMALLEST, MEAN = "smallest CKA of neighbouring layers", "mean CKA of neighbouring layers"
ENDS, ABOVE_TWINS = "CKA of the first and the last layer", "neighbours more similar than in all untrained twins"


@final
class Similarity(Census[Bundle]):
    """CKA between all pairs of layers."""

    needs = "images"
    question = "understand"
    title = "Similarity between layers"
    rank = 21
    effort = "quick"
    revision = 5  # 5: neighbours in each twin
    with_twin = True
    command = "microtome.cli.pairing:with_second_network"

    at: tuple[str, ...] = option(("blocks",), "layers to compare: names, globs or aliases")

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        names = specimen.find(self.at)
        if len(names) < 2:
            raise Unmeasurable(
                f"similarity needs at least two layers; '{', '.join(self.at)}' gives {len(names)} in {specimen.name}."
            )
        return names

    def empty_tally(self) -> Bundle:
        return empty_cka_tally()

    def _compares_all_pairs(self, specimen: Specimen, seen: BatchValues) -> bool:
        return seen.once_a_batch(self, lambda: all_pairs_fit(specimen, self.layers_to_watch(specimen), seen.total))

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return seen.once(flat_features if self._compares_all_pairs(specimen, seen) else centered_gram, name, value)

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        add_cka_batch(tally, batch, seen, self._names(specimen), self._compares_all_pairs(specimen, seen))

    def estimate(self, specimen: Specimen, tally: Bundle) -> tuple[CkaEstimate, int]:
        """CKA (layer, layer_) in execution order with its interval, and how many images it rests on."""
        return estimate_cka(tally, self._names(specimen))

    def _names(self, specimen: Specimen) -> list[str]:
        return sorted(self.layers_to_watch(specimen), key=lambda name: specimen.layer(name).order)

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        if len(images) < MIN_COUNT:
            raise Unmeasurable(f"similarity needs at least {MIN_COUNT} images and was given {len(images)}.")
        names = self._names(specimen)
        estimate, count = self.estimate(specimen, tally)
        null = [self.estimate(specimen, twin) for twin in twins]
        square = {"layer": names, "layer_": names}
        steps = {"pair": [f"{before} → {after}" for before, after in pairwise(names)]}
        step, low, high = (np.diagonal(values, 1) for values in (estimate.value, estimate.low, estimate.high))
        twin_arrays = [_twin_arrays(twin.value, square, steps) for twin, _ in null]
        every = count == len(images) and compares_all_pairs(tally)
        unknown = "" if np.isfinite(low).any() or not np.isfinite(step).any() else reason_for_no_interval(count, every)
        reason = reason_for_no_verdict(specimen, images) or unknown
        against = verdicts(low, high, stack_twins(twin_arrays, "twin_step"), reason)
        counts = [count, null[0][1]]
        arrays = {
            "cka": array(estimate.value, ("layer", "layer_"), "1", square, "CKA"),
            "cka_error": array(estimate.error, ("layer", "layer_"), "1", square, "standard error"),
            "cka_low": array(estimate.low, ("layer", "layer_"), "1", square),
            "cka_high": array(estimate.high, ("layer", "layer_"), "1", square),
            "step": array(step, ("pair",), "1", steps, "CKA"),
            "step_low": array(low, ("pair",), "1", steps),
            "step_high": array(high, ("pair",), "1", steps),
            **over_twins(twin_arrays),
            "each_twin_step": array(
                stack_twins(twin_arrays, "twin_step"), ("twin", "pair"), "1", steps, "CKA of each untrained twin"
            ),
            "against_twins": array(against, ("pair",), "text", steps, "against the untrained twins"),
            "count": array(counts, ("source",), "images", {"source": ["network", "untrained twin"]}),
        }
        return Measurement(
            arrays, {"no_verdict": reason, "no_interval": unknown, "all_pairs": every, "left_out": len(images) - count}
        )

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        step, twin = finding["step"], finding["twin_step"]
        count = KeyNumber(name="images", value=int(finding["count"][0]))
        if np.isnan(step.values).all():
            unknown = [KeyNumber(name=name, value=nan) for name in (SMALLEST, MEAN, ENDS)]
            return [*unknown, KeyNumber(name=ABOVE_TWINS, value=nan, unit=FRACTION), count]
        low = int(np.nanargmin(step.values))
        ends = [float(finding[name][0, -1]) for name in ("cka", "cka_low", "cka_high", "twin_cka")]
        above = nan if finding.facts["no_verdict"] else float((finding["against_twins"].values == VERDICTS[1]).mean())
        return [
            KeyNumber(
                name=SMALLEST, value=float(step[low]), low=float(finding["step_low"][low]), high=float(finding["step_high"][low]),
                baseline=float(twin[low]), baseline_name="untrained twins", at=str(step.pair.values[low]),
            ),
            KeyNumber(
                name=MEAN, value=float(np.nanmean(step.values)), baseline=float(nan_mean(twin.values)),
                baseline_name="untrained twins",
            ),
            KeyNumber(
                name=ENDS, value=ends[0], low=ends[1], high=ends[2], baseline=ends[3],
                baseline_name="untrained twins",
            ),
            KeyNumber(name=ABOVE_TWINS, value=above, unit=FRACTION),
            count,
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        smallest, images = finding.key(SMALLEST), plural(int(finding["count"][0]), "image")
        if np.isnan(smallest.value):
            return f"No layer varies between these {images}, so there is nothing to compare."
        twins = smallest.baseline_text or "unknown"
        return f"The representation changes most at {smallest.at}: CKA {smallest.text} over {images}; untrained twins {twins}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Heat(title="CKA between all layers", z="cka", low=0.0, high=1.0, note="1: equal up to rotation and scale."),
            Heat(title="CKA of the untrained twins", z="twin_cka", low=0.0, high=1.0,
                 note=f"Random weights, mean of {twin_count(finding.origin)}."),
            Curve(
                title="From each layer to the next", y=("step",), x="pair", low="step_low", high="step_high", null=("twin_step",),
                note="Low where the representation changes. Dashed: the untrained twins.",
            ),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        caveats = [
            "CKA follows the strongest directions of the features and can be moved by a few outliers without any change of function "
            "(Davari et al. 2022, arXiv:2210.16156).",
            "High similarity does not show that a layer can be removed; only removing it does.",
        ]
        if finding.trained is False:
            caveats.insert(0, "These weights are untrained.")
        elif reason := finding.facts["no_verdict"]:
            caveats.insert(0, f"No verdict: {reason}.")
        count, twin_count = (int(number) for number in finding["count"].values)
        if twin_count < count:
            caveats.append(
                f"Each untrained twin saw {twin_count} of the {plural(count, 'image')}, of each class in proportion."
            )
        return [*caveats, *cka_caveats(finding.facts)]


def _twin_arrays(value: np.ndarray[Any, Any], square: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    """The arrays of one untrained twin."""
    return {
        "twin_cka": array(value, ("layer", "layer_"), "1", square, "CKA of the untrained twins"),
        "twin_step": array(np.diagonal(value, 1), ("pair",), "1", steps, "untrained twins"),
    }
