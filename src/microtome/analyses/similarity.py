"""How alike the layers of a network see the images: debiased CKA between all blocks, in one pass.

Features are compared whole (every unit at every position), batch by batch with the unbiased HSIC, so memory does not grow with the
number of images and small samples are not flattered. The untrained twin is measured too: random networks of this kind are often
more alike from block to block than trained ones, and such similarity is no sign that a block could go.

Source: linear CKA, Kornblith et al. 2019, arXiv:1905.00414; summed over batches, Nguyen et al. 2021, arXiv:2010.15327, eq. 3;
unbiased HSIC, Song et al. 2012. Interval: delete-a-group jackknife over batches.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Arrays, BatchValues, Census, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.panels import Curve, Heat, Panel
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Total

GROUPS = 20  # batches are dealt into this many groups for the jackknife


@final
class Similarity(Census[Total]):
    """CKA between all pairs of layers."""

    needs = "images"
    question = "understand"
    title = "Similarity between layers"
    with_twin = True

    at: tuple[str, ...] = option(("blocks",), "the layers to compare: names, globs or aliases")

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

    def to_arrays(self, specimen: Specimen, images: Images, tally: Total, twin: Total | None) -> Arrays:
        assert twin is not None
        if "hsic" not in tally or "hsic" not in twin:
            raise Unmeasurable(f"similarity needs at least 4 images and was given {len(images)}.")
        names = sorted(self.layers_to_watch(specimen), key=lambda name: specimen.layer(name).order)
        value, error = _cka_with_error(tally)
        twin_value, twin_error = _cka_with_error(twin)
        square = {"layer": names, "layer_": names}
        steps = {"pair": [f"{one} → {two}" for one, two in pairwise(names)]}
        return {
            "cka": array(value, ("layer", "layer_"), "1", square, "CKA"),
            "cka_error": array(error, ("layer", "layer_"), "1", square, "standard error"),
            "twin_cka": array(twin_value, ("layer", "layer_"), "1", square, "CKA of the untrained twin"),
            "step": array(np.diagonal(value, 1), ("pair",), "1", steps, "CKA"),
            "step_low": array(np.diagonal(value - 1.96 * error, 1), ("pair",), "1", steps),
            "step_high": array(np.diagonal(value + 1.96 * error, 1), ("pair",), "1", steps),
            "twin_step": array(np.diagonal(twin_value, 1), ("pair",), "1", steps, "untrained twin"),
            "twin_step_error": array(np.diagonal(twin_error, 1), ("pair",), "1", steps),
            "count": array([tally.count, twin.count], ("source",), "images", {"source": ["network", "untrained twin"]}),
        }

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Heat(title="CKA between all layers", z="cka", low=0.0, high=1.0, note="1: the same up to rotation and scale."),
            Heat(title="CKA of the untrained twin", z="twin_cka", low=0.0, high=1.0, note="What random weights give."),
            Curve(
                title="From each layer to the next", y=("step",), x="pair", low="step_low", high="step_high", null=("twin_step",),
                note="A dip is a place where the representation changes; above the dashed line the layers agree more than random ones.",
            ),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        step, twin = found["step"].values, found["twin_step"].values
        if np.isnan(step).all():
            return "No layer varies between these images, so there is nothing to compare."
        low = int(np.nanargmin(step))
        above = int((found["step_low"].values > twin + 1.96 * found["twin_step_error"].values).sum())
        return (
            f"One layer to the next: mean CKA {np.nanmean(step):.3f} (untrained twin {np.nanmean(twin):.3f}) over "
            f"{int(found['count'].values[0])} images; the sharpest change is {found['step'].pair.values[low]} ({step[low]:.3f}); "
            f"{above} of {len(step)} steps are more alike than random weights make them."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "CKA follows the strongest directions of the features and can be moved by a few outliers without any change of function "
            "(Davari et al. 2022, arXiv:2210.16156).",
            "High similarity does not show that a layer can be removed; only removing it does.",
        ]
        count, twin_count = (int(one) for one in found["count"].values)
        if twin_count < count:
            said.append(f"The untrained twin saw {twin_count} of the {count} images, evenly spread.")
        if count < 64:
            said.append(f"Only {count} images: the intervals are wide.")
        return said


def _cka_with_error(tally: Total) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """CKA (layer, layer_) and its jackknife standard error; the error is not a number with fewer than two filled groups."""
    groups, filled = tally["hsic"], np.flatnonzero(tally["batches"])
    whole = _cka_ratio(groups.sum(axis=0))
    if len(filled) < 2:
        return whole, np.full_like(whole, np.nan)
    left = np.stack([_cka_ratio(groups.sum(axis=0) - groups[one]) for one in filled])
    spread = (left - left.mean(axis=0)) ** 2
    return whole, np.sqrt((len(filled) - 1) / len(filled) * spread.sum(axis=0))


def _cka_ratio(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    matrix = torch.from_numpy(sums)
    return cka(matrix, matrix.diagonal(), matrix.diagonal()).numpy()
