"""Concept activation vectors from inner products: the normal of a linear classifier, without its features.

Logistic regression with a ridge penalty has its normal in the span of the images it is fitted to. So the inner products of all images
are all that a fit needs, whatever the width of the layer, and many fits to parts of the same images cost little.

Source: Kim et al. 2018, arXiv:1711.11279, sec. 3.2. They do not name the classifier; the dual form and the fixed penalty are ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.linalg import eigh

from microtome.numerics.arrays import Array
from microtome.numerics.probes.logistic import logistic_weights
from microtome.numerics.probes.ridge import stratified_folds

PENALTY = 0.01  # for each image, of features whose mean squared distance from their mean is 1


class ConceptVector(NamedTuple):
    """The normal of the classifier as a sum of the images it is fitted to, and its offset.

    An image counts as the concept where Σ `coefficients` · (inner products with those images) + `offset` is above 0.
    """

    coefficients: Float64[Array, " image"]
    offset: float


def concept_vector(
    products: Float[Array, "image image_"], examples: Bool[Array, " image"], penalty: float = PENALTY
) -> ConceptVector:
    """The vector that leads from the other images to the `examples`; zero where the images do not differ."""
    count = len(examples)
    means = products.mean(0)
    centred = products - means[:, None] - means + means.mean()
    scale = np.trace(centred) / count
    if not scale > np.finfo(np.float64).eps * np.abs(np.trace(products)):
        return ConceptVector(np.zeros(count), 0.0)
    values, vectors = eigh(centred / scale, driver="evd")
    kept = values > values[-1] * count * np.finfo(np.float64).eps
    roots, axes = np.sqrt(values[kept]), vectors[:, kept]
    weights = logistic_weights(axes * roots, examples.astype(np.int64), 2, penalty * count)
    both = weights[:, 1] - weights[:, 0]
    dual = axes @ (both[:-1] / roots) / scale
    coefficients = dual - dual.mean()
    return ConceptVector(coefficients, float(both[-1] - coefficients @ means))


def held_out_accuracy(products: Float[Array, "image image_"], examples: Bool[Array, " image"], seed: int = 0) -> float:
    """The fraction of images that are classified right by a vector fitted to the other half of them."""
    half = stratified_folds(examples.astype(np.int64), 2, seed)
    right = np.zeros(len(examples), dtype=bool)
    for number in (0, 1):
        fitted, held = np.flatnonzero(half == number), np.flatnonzero(half != number)
        vector = concept_vector(products[np.ix_(fitted, fitted)], examples[fitted])
        right[held] = (products[np.ix_(held, fitted)] @ vector.coefficients + vector.offset > 0) == examples[held]
    return float(right.mean())
