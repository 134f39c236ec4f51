"""Balanced accuracy of several candidates compared pair by pair: paired answers on the same images, class by class.

The standard error adds an m-th of half an answer to each cell of the two-by-two table of a pair in every of m classes, and allows for
classes of few images. All pairs are held together by the largest standardised difference in a bootstrap over images.

Source: Gaussian multiplier bootstrap, Chernozhukov et al. 2013, arXiv:1212.6906; standard error of a paired difference, Agresti & Min
2005; degrees of freedom, Welch 1947; putting classes together so is ours.
"""

import numpy as np
from jaxtyping import Float, Int

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.balanced import class_weights
from microtome.numerics.statistics.equivalence import PairedComparison
from microtome.numerics.statistics.quantiles import student_quantile

NORMAL_QUANTILE = 1.959963984540054  # for 95%


def compare_balanced(
    correct: Float[Array, "candidate image"],
    classes: Int[Array, " image"],
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedComparison:
    """Compare the balanced accuracy of candidates whose answers (1 right, 0 wrong, NaN unknown) on the same images are given.

    Images that any candidate has no answer for are left out for all of them.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known].astype(np.float64)
    count, images = right.shape
    labels = classes[known]
    present = np.unique(labels) if images else np.zeros(1, dtype=np.int64)
    accuracy, adjusted, squared = np.zeros(count), np.zeros((count, count)), np.zeros((count, count))
    fourth, added = np.zeros((count, count)), 2 / len(present)
    for each in present:
        own = right[:, labels == each]
        more = (own[:, None] < own[None, :]).sum(axis=2)  # images that only the other has right
        difference = (more - more.T) / (own.shape[1] + added)
        spread = (more + more.T + added / 2) / (own.shape[1] + added) - difference**2
        accuracy += own.mean(axis=1) / len(present) if images else np.nan
        adjusted += difference / len(present)
        of_class = spread / (own.shape[1] + added) / len(present) ** 2
        squared += of_class
        fourth += of_class**2 / max(own.shape[1] - 1, 1)
    if len(present) > 1:  # the variance itself rests on few images: Student's quantile with Welch's degrees of freedom
        squared *= (student_quantile(0.975, squared**2 / fourth) / NORMAL_QUANTILE) ** 2
    loss, error, variance = accuracy[None, :] - accuracy[:, None], np.sqrt(squared), squared * (images + 2)
    upper = np.triu_indices(count, 1)
    critical = _critical_value(right, labels, upper, error[upper], draws, seed, level)
    low, high = adjusted - critical * error, adjusted + critical * error
    for array in (low, high):
        np.fill_diagonal(array, 0.0)
    return PairedComparison(accuracy, loss, low, high, variance, critical, images)


def _critical_value(
    right: Array, classes: Array, pairs: tuple[Array, Array], error: Array, draws: int, seed: int, level: float
) -> float:
    """The quantile of the largest standardised difference over all pairs, at least that of a single one."""
    single = NORMAL_QUANTILE  # a floor that no bootstrap may fall below
    images = right.shape[1]
    if images < 2 or not len(pairs[0]):
        return single
    differences = right[pairs[1]] - right[pairs[0]]
    groups = [classes == each for each in np.unique(classes)]
    for of_class in groups:
        differences[:, of_class] -= differences[:, of_class].mean(axis=1, keepdims=True)
        if len(groups) > 1:  # of few images the mean takes a good part of the spread away
            differences[:, of_class] *= np.sqrt(of_class.sum() / max(of_class.sum() - 1, 1))
    signs = np.random.default_rng(seed).standard_normal((images, draws))
    largest = (np.abs((differences * class_weights(classes)) @ signs) / error[:, None]).max(axis=0)
    return max(single, float(np.quantile(largest, level)))
