"""Balanced accuracy, the mean recall of the classes, with an interval; and weights of images under which every class counts alike.

The interval adds 2/m right and 2/m wrong answers to each of m classes, so that a class of few images, all right, is not taken for certain.

Source: balanced accuracy, Brodersen et al. 2010, "The balanced accuracy and its posterior distribution"; interval of a mean of
fractions, Price & Bonett 2004, "An improved confidence interval for a linear function of binomial proportions". The threshold of
imbalance is ours.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import Interval, bootstrap_weights
from microtome.numerics.statistics.quantiles import normal_quantile

MAX_IMBALANCE = 1.5  # images of the largest class over those of the smallest, above which classes count as imbalanced


def class_imbalance(classes: Int[Array, " image"]) -> float:
    """Images of the largest class over those of the smallest one that occurs; classes below 0 are unknown. 1 where none is known."""
    counts = np.unique(classes[classes >= 0], return_counts=True)[1]
    return float(counts.max() / counts.min()) if len(counts) else 1.0


def class_weights(classes: Int[Array, " image"]) -> Float64[Array, " image"]:
    """Weights of images that sum to 1, and to the same within every class."""
    _, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[place])


def balanced_accuracy(correct: Shaped[Array, " image"], classes: Int[Array, " image"], level: float = 0.95) -> Interval:
    """The mean over the classes of the fraction of right answers (1 right, 0 wrong); not numbers without an image."""
    if not len(classes):
        return Interval(float("nan"), float("nan"), float("nan"))
    present, counts = np.unique(classes, return_counts=True)
    right = np.array([correct[classes == each].sum() for each in present], dtype=np.float64)
    value, added = float((right / counts).mean()), 4 / len(present)
    recalls = (right + added / 2) / (counts + added)
    error = np.sqrt((recalls * (1 - recalls) / (counts + added)).sum()) / len(present)
    half = float(normal_quantile((1 + level) / 2) * error)
    middle = float(recalls.mean())
    return Interval(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)))


def bootstrap_class_weights(classes: Int[Array, " image"], draws: int, seed: int) -> Float[Array, "draw image"]:
    """Weights as `class_weights` gives them, in bootstrap samples that are drawn within every class."""
    weights = np.zeros((draws, len(classes)))
    present = np.unique(classes)
    for number, each in enumerate(present):
        of_class = classes == each
        count = int(of_class.sum())
        weights[:, of_class] = bootstrap_weights(count, draws, seed + number) / (count * len(present))
    return weights
