"""Debiased CKA between all layers of a network, compared with untrained twins.

Features are compared whole (every unit at every position), batch by batch with the unbiased HSIC, so memory does not grow with the
number of images and small samples give no upward bias. Untrained twins are measured too: random networks of this kind are often more
similar from block to block than trained ones, and such similarity does not show that a block could be removed.

Source: linear CKA, Kornblith et al. 2019, arXiv:1905.00414; summed over batches, Nguyen et al. 2021, arXiv:2010.15327, eq. 3;
unbiased HSIC, Song et al. 2012. Interval: delete-a-group jackknife over batches.
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
from microtome.instruments.untrained_twins import VERDICTS, over_twins, reason_for_no_verdict, stack_twins, twin_count, verdicts
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.panels import Curve, Heat, Panel
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Total

GROUPS = 20  # of batches, for the jackknife


SMALLEST = "smallest CKA of neighbouring layers"


@final
class Similarity(Census[Total]):
    """CKA between all pairs of layers."""

    needs = "images"
    question = "understand"
    title = "Similarity between layers"
    revision = 2
    with_twin = True

    at: tuple[str, ...] = option(("blocks",), "layers to compare: names, globs or aliases")

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        names = specimen.find(self.at)
        if len(names) < 2:
            raise Unmeasurable(
                f"similarity needs at least two layers; '{', '.join(self.at)}' gives {len(names)} in {specimen.name}."
            )
        return names

    def empty_tally(self) -> Total:
        return Total()

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return seen.once(centered_gram, name, value)

    def add(self, specimen: Specimen, tally: Total, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        if len(batch.index) < 4:  # the unbiased estimate does not exist for fewer
            tally.add(0, {"left_out": [float(len(batch.index))]})
            return
        names = list(seen)
        matrix = hsic_matrix(torch.stack([seen[name] for name in names])).numpy()
        order = np.argsort([specimen.layer(name).order for name in names], kind="stable")
        sums = np.zeros((GROUPS, *matrix.shape))
        sums[batch.number % GROUPS] = matrix[np.ix_(order, order)]
        tally.add(len(batch.index), {"hsic": sums, "batches": np.eye(GROUPS)[batch.number % GROUPS]})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Total, twins: Sequence[Total]) -> Measurement:
        if "hsic" not in tally or any("hsic" not in twin for twin in twins):
            raise Unmeasurable(f"similarity needs at least 4 images and was given {len(images)}.")
        names = sorted(self.layers_to_watch(specimen), key=lambda name: specimen.layer(name).order)
        value, error = _cka_with_error(tally)
        square = {"layer": names, "layer_": names}
        steps = {"pair": [f"{before} → {after}" for before, after in pairwise(names)]}
        low, high = (np.diagonal(value + side * 1.96 * error, 1) for side in (-1, 1))
        null = [_twin_arrays(_cka_with_error(twin)[0], square, steps) for twin in twins]
        reason = reason_for_no_verdict(specimen, images)
        against = verdicts(low, high, stack_twins(null, "twin_step"), reason)
        arrays = {
            "cka": array(value, ("layer", "layer_"), "1", square, "CKA"),
            "cka_error": array(error, ("layer", "layer_"), "1", square, "standard error"),
            "step": array(np.diagonal(value, 1), ("pair",), "1", steps, "CKA"),
            "step_low": array(low, ("pair",), "1", steps),
            "step_high": array(high, ("pair",), "1", steps),
            **over_twins(null),
            "against_twins": array(against, ("pair",), "text", steps, "against the untrained twins"),
            "count": array([tally.count, twins[0].count], ("source",), "images", {"source": ["network", "untrained twin"]}),
        }
        return Measurement(arrays, {"no_verdict": reason})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        step, twin, error = finding["step"], finding["twin_step"], finding["cka_error"]
        count = KeyNumber(name="images", value=int(finding["count"][0]))
        if np.isnan(step.values).all():
            return [KeyNumber(name=SMALLEST, value=nan), count]
        low = int(np.nanargmin(step.values))
        ends = finding["cka"][0, -1], 1.96 * float(error[0, -1]), finding["twin_cka"][0, -1]
        above = nan if finding.facts["no_verdict"] else float((finding["against_twins"].values == VERDICTS[1]).mean())
        return [
            KeyNumber(
                name=SMALLEST, value=float(step[low]), low=float(finding["step_low"][low]), high=float(finding["step_high"][low]),
                baseline=float(twin[low]), baseline_name="untrained twins", at=str(step.pair.values[low]),
            ),
            KeyNumber(
                name="mean CKA of neighbouring layers", value=float(np.nanmean(step.values)), baseline=float(np.nanmean(twin.values)),
                baseline_name="untrained twins",
            ),
            KeyNumber(
                name="CKA of the first and the last layer", value=float(ends[0]), low=float(ends[0]) - ends[1],
                high=float(ends[0]) + ends[1], baseline=float(ends[2]), baseline_name="untrained twins",
            ),
            KeyNumber(name="neighbours more similar than in all untrained twins", value=above, unit=FRACTION),
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
            caveats.append(f"Each untrained twin saw {twin_count} of the {count} images, evenly spread.")
        if count < 64:
            caveats.append(f"Only {plural(count, 'image')}: the intervals are wide.")
        return caveats


def _twin_arrays(value: np.ndarray[Any, Any], square: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    """The arrays of one untrained twin."""
    return {
        "twin_cka": array(value, ("layer", "layer_"), "1", square, "CKA of the untrained twins"),
        "twin_step": array(np.diagonal(value, 1), ("pair",), "1", steps, "untrained twins"),
    }


def _cka_with_error(tally: Total) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """CKA (layer, layer_) and its jackknife standard error; the error is NaN with fewer than two filled groups."""
    groups, filled = tally["hsic"], np.flatnonzero(tally["batches"])
    whole = _cka_ratio(groups.sum(axis=0))
    if len(filled) < 2:
        return whole, np.full_like(whole, np.nan)
    left = np.stack([_cka_ratio(groups.sum(axis=0) - groups[group]) for group in filled])
    spread = (left - left.mean(axis=0)) ** 2
    return whole, np.sqrt((len(filled) - 1) / len(filled) * spread.sum(axis=0))


def _cka_ratio(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    matrix = torch.from_numpy(sums)
    return cka(matrix, matrix.diagonal(), matrix.diagonal()).numpy()
