"""How a network's features settle over training: distance to the end, change from step to step, jumps of the strongest image.

Source: CKA as in Kornblith et al. 2019, arXiv:1905.00414, summed over batches as in Nguyen et al. 2021, arXiv:2010.15327, eq. 3;
jumps of the strongest image, Zeiler & Fergus 2014, arXiv:1311.2901, fig. 4 (the fraction of units and its null are ours).
"""

import numpy as np
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import Interval


def cka_drift(
    first: Float64[Array, "image other"], second: Float64[Array, "image other"], batch: Int[Array, " image"]
) -> Interval:
    """1 − debiased CKA of two sets of features, from the rows of their U-centred Gram matrices batch by batch.

    0 for the same features, about 1 for unrelated ones. Row i holds the products of image i with the images of its own batch;
    `batch` says which that is (rows are padded with zeros). The interval is ±1.96 errors of a jackknife that leaves out one
    batch at a time; not a number for one batch, or where features do not vary.
    """
    sums = np.stack([_batch_hsic(first, second, batch), _batch_hsic(first, first, batch), _batch_hsic(second, second, batch)])
    value = 1 - _cka_ratio(sums.sum(axis=1))
    count = sums.shape[1]
    if count < 2:
        return Interval(value, float("nan"), float("nan"))
    left = np.array([1 - _cka_ratio(sums.sum(axis=1) - sums[:, one]) for one in range(count)])
    error = float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))
    return Interval(value, value - 1.96 * error, value + 1.96 * error)


def _batch_hsic(first: Array, second: Array, batch: Array) -> Array:
    """HSIC_1 of every batch (batch,), each divided by how many pairs it has."""
    _, places, counts = np.unique(batch, return_inverse=True, return_counts=True)
    pairs = np.bincount(places, weights=np.einsum("ij,ij->i", first, second))
    return pairs / np.maximum(counts * (counts - 3.0), 1.0)


def _cka_ratio(sums: Array) -> float:
    cross, one, two = (float(value) for value in sums)
    scale = np.sqrt(max(one, 0.0) * max(two, 0.0))
    return cross / scale if scale > 0 else float("nan")


def jump_rate(before: Int[Array, " unit"], after: Int[Array, " unit"]) -> tuple[float, float]:
    """The fraction of units whose strongest image is another one, and what that fraction were if units were paired by chance.

    Units without an image on either side (−1) are left out; not numbers where none remains. Chance is not 1 − 1/images: where
    many units share a strongest image, it stays the strongest for many whatever the units are.
    """
    known = (before >= 0) & (after >= 0)
    if not known.any():
        return float("nan"), float("nan")
    one, two = before[known], after[known]
    size = int(max(one.max(), two.max())) + 1
    alike = (np.bincount(one, minlength=size) / len(one)) @ (np.bincount(two, minlength=size) / len(two))
    return float((one != two).mean()), float(1 - alike)


def settling_point(curve: Float[Array, " checkpoint"], within: float) -> int:
    """The first place from which the curve never leaves 0 to `within` again; the last place is always one.

    Not-a-number before that counts as outside.
    """
    outside = np.flatnonzero(~(curve[:-1] <= within))
    return int(outside[-1]) + 1 if len(outside) else 0
