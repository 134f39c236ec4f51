"""How a network's features settle over training: distance to the end, change from step to step, jumps of the strongest image.

Source: CKA as in Kornblith et al. 2019, arXiv:1905.00414; beyond memory summed over batches, Nguyen et al. 2021, arXiv:2010.15327, eq. 3;
jumps of the strongest image, Zeiler & Fergus 2014, arXiv:1311.2901, fig. 4 (the fraction of units and its null are ours).
"""

import numpy as np
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.cka_intervals import all_pairs_cka, grouped_cka
from microtome.numerics.statistics.intervals import Interval


def cka_drift(
    first: Float64[Array, "image other"], second: Float64[Array, "image other"], batch: Int[Array, " image"]
) -> Interval:
    """1 − debiased CKA of two sets of features, from the rows of their U-centred Gram matrices batch by batch.

    0 for the same features, about 1 for unrelated ones. Row i holds the products of image i with the images of its own batch;
    `batch` says which that is (rows are padded with zeros). The 95% interval is that of `all_pairs_cka` for one batch, else that of
    `grouped_cka`; not a number where it is not known, or where features do not vary.
    """
    products = [np.einsum("ij,ij->i", *pair) for pair in ((first, second), (first, first), (second, second))]
    _, places, counts = np.unique(batch, return_inverse=True, return_counts=True)
    if len(counts) == 1:
        cka = all_pairs_cka(*products)
    else:  # of each batch its HSIC_1 times its images
        sums = [np.bincount(places, weights=each) / np.maximum(counts - 3.0, 1.0) for each in products]
        cka = grouped_cka(*sums, images=len(batch))
    return Interval(1 - float(cka.value), 1 - float(cka.high), 1 - float(cka.low))


def jump_rate(before: Int[Array, " unit"], after: Int[Array, " unit"]) -> tuple[float, float]:
    """The fraction of units whose strongest image is another one, and what that fraction were if units were paired by chance.

    Units without an image on either side (−1) are left out; not numbers where none remains. Chance is not 1 − 1/images: where
    many units share a strongest image, it stays the strongest for many whatever the units are.
    """
    known = (before >= 0) & (after >= 0)
    if not known.any():
        return float("nan"), float("nan")
    first, second = before[known], after[known]
    size = int(max(first.max(), second.max())) + 1
    alike = (np.bincount(first, minlength=size) / len(first)) @ (np.bincount(second, minlength=size) / len(second))
    return float((first != second).mean()), float(1 - alike)


def settling_point(curve: Float[Array, " checkpoint"], within: float) -> int:
    """The first place from which the curve never leaves 0 to `within` again; the last place is always one.

    Not-a-number before that counts as outside.
    """
    outside = np.flatnonzero(~(curve[:-1] <= within))
    return int(outside[-1]) + 1 if len(outside) else 0
