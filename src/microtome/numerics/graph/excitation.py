"""What gates do, from sums over the images of each class: means, spread, saturation, and how much of it all the class explains.

Source: analysis of variance, Fisher 1925; epsilon squared, Kelley 1935, "An unbiased correlation ratio measure".
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import fisher_tail

OPEN_ABOVE, SHUT_BELOW = 0.9, 0.1  # a gate above is open, one below is shut
CONSTANT_STD = 1e-6  # standard deviation below which a gate counts as never varying: ten float32 steps at 1
MAX_P = 0.01  # p of the F test for a unit that tells classes apart


def gate_sums(gates: Float[Array, "image unit"]) -> Float[Array, "kind unit"]:
    """What is added up for each unit over the images of one class, float64, five rows.

    Sum and sum of squares, how many are above `OPEN_ABOVE`, below `SHUT_BELOW`, and outside of 0 to 1.
    """
    values = gates.astype(np.float64)
    outside = (values < 0) | (values > 1)
    return np.stack(
        [values.sum(0), (values**2).sum(0), (values > OPEN_ABOVE).sum(0), (values < SHUT_BELOW).sum(0), outside.sum(0)],
    ).astype(np.float64)


class ExplainedVariance(NamedTuple):
    """How much of the gates' variance over images the class explains.

    `share` is the sum of squares between classes over the total, both summed over units: η². `chance` is what it is on average when
    the labels are shuffled, (K-1)/(N-1) exactly for K classes and N images. `beyond` is (share - chance)/(1 - chance): ε², 0 at
    chance and 1 where the class explains all. `telling` is the fraction of the units that vary whose F test has p < `MAX_P`.
    """

    share: float
    chance: float
    beyond: float
    telling: float


def explained_variance(totals: Float[Array, "class kind unit"], counts: Float[Array, " class"]) -> ExplainedVariance:
    """What the class explains of the gates of one layer; not numbers for one class, or where no gate varies.

    `chance`, `beyond` and the F test need more images than classes.
    """
    images, classes = float(counts.sum()), len(counts)
    mean = totals[:, 0].sum(0) / images
    whole = totals[:, 1].sum(0) - images * mean**2
    moves = whole / images > CONSTANT_STD**2
    if classes < 2 or not moves.any():
        return ExplainedVariance(math.nan, math.nan, math.nan, math.nan)
    between = (counts[:, None] * (totals[:, 0] / counts[:, None] - mean) ** 2).sum(0)
    between = np.minimum(between, whole)[moves]
    whole = whole[moves]
    share = float(between.sum() / whole.sum())
    if images <= classes:
        return ExplainedVariance(share, 1.0, math.nan, math.nan)
    chance = (classes - 1) / (images - 1)
    within = np.maximum(whole - between, 0.0)
    with np.errstate(divide="ignore"):
        ratio = (between / (classes - 1)) / (within / (images - classes))
    p = fisher_tail(ratio, classes - 1, images - classes)
    return ExplainedVariance(share, chance, (share - chance) / (1 - chance), float((p < MAX_P).mean()))


class GateSummary(NamedTuple):
    """A layer's gates over all images: mean, standard deviation of the units' means, root mean variance of a unit over images;
    the fraction above `OPEN_ABOVE` and below `SHUT_BELOW`, how many units always are; the fraction outside 0–1; how many units never vary.
    """

    mean: float
    across_units: float
    across_images: float
    open: float
    shut: float
    always_open: int
    never_open: int
    outside: float
    still: int


def summarise_gates(totals: Float[Array, "class kind unit"], counts: Float[Array, " class"]) -> GateSummary:
    """The gates of one layer in a few numbers."""
    images = float(counts.sum())
    total = totals.sum(0)
    mean = total[0] / images
    variance = np.maximum(total[1] / images - mean**2, 0.0)
    return GateSummary(
        float(mean.mean()),
        float(mean.std()),
        float(np.sqrt(variance.mean())),
        float(total[2].mean() / images),
        float(total[3].mean() / images),
        int((total[2] == images).sum()),
        int((total[3] == images).sum()),
        float(total[4].mean() / images),
        int((variance <= CONSTANT_STD**2).sum()),
    )


def class_means(
    totals: Float[Array, "class kind unit"], counts: Float[Array, " class"]
) -> tuple[Float[Array, "class unit"], Float[Array, "class unit"]]:
    """Mean and standard deviation (over n) of every gate within each class."""
    mean = totals[:, 0] / counts[:, None]
    return mean, np.sqrt(np.maximum(totals[:, 1] / counts[:, None] - mean**2, 0.0))
