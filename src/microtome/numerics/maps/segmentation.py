"""How well a class for every pixel agrees with the right ones: confusion counts, intersection over union, and how sure they are.

Source: Everingham et al. 2015, "The Pascal visual object classes challenge: a retrospective", sec. 2.2 (intersection over union of a
class, over all images together); Long et al. 2015, arXiv:1411.4038, sec. 5 (pixel accuracy, mean IU).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import Interval, bootstrap_weights

MIN_SCENES = 50  # images: with fewer the percentile interval covers less than it says (docs/coverage.md)


def confusion_matrices(
    wanted: Int[Array, "image row col"], given: Int[Array, "image row col"], classes: int
) -> Int64[Array, "image class class_"]:
    """How many pixels of each image are of class `class` and were given class `class_`; pixels wanted below 0 are left out."""
    images = len(wanted)
    known = wanted >= 0
    place = (np.arange(images)[:, None, None] * classes + wanted) * classes + given
    counts = np.bincount(place[known].ravel(), minlength=images * classes * classes)
    return counts.reshape(images, classes, classes).astype(np.int64)


def class_iou(counts: Shaped[Array, "*batch class class_"]) -> Float64[Array, "*batch class"]:
    """Intersection over union of each class; not a number for a class that is neither wanted nor given anywhere."""
    both = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    either = counts.sum(-1) + counts.sum(-2) - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def mean_iou(counts: Shaped[Array, "*batch class class_"]) -> Float64[Array, "*batch"]:
    """The mean of `class_iou` over the classes that have one."""
    each = class_iou(counts)
    known = ~np.isnan(each)
    return np.asarray(np.where(known, each, 0.0).sum(-1) / np.maximum(known.sum(-1), 1))


def pixel_accuracy(counts: Shaped[Array, "*batch class class_"]) -> Float64[Array, "*batch"]:
    """The fraction of pixels given the class wanted."""
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / np.maximum(counts.sum((-2, -1)), 1), dtype=np.float64)


def bootstrap_statistic(
    counts: Int64[Array, "image class class_"], statistic: Callable[[Array], Array], draws: int = 1000, seed: int = 0
) -> Interval:
    """The statistic of the sum over images, with its 95% percentile interval over resampled images.

    Pixels of one image are not independent, so whole images are drawn. No bounds (not numbers) for fewer than `MIN_SCENES` images.
    """
    value = float(statistic(counts.sum(0)))
    if len(counts) < MIN_SCENES:
        return Interval(value, float("nan"), float("nan"))
    weights = bootstrap_weights(len(counts), draws, seed).astype(np.float64)  # whole numbers below 2^53, and much faster
    drawn = (weights @ counts.reshape(len(counts), -1)).reshape(draws, *counts.shape[1:])
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return Interval(value, float(low), float(high))
