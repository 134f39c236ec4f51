"""Accuracy of the nearest neighbours in features, cross-validated: nothing is fitted.

Source: Fix & Hodges 1951; Cover & Hart 1967, "Nearest neighbor pattern classification".
"""

import numpy as np
from jaxtyping import Float, Int

from microtome.numerics.arrays import Array
from microtome.numerics.probes.ridge import ProbeResult, cross_validate

NEIGHBOURS = 5


def nearest_probe(
    correlations: Float[Array, "image image_"],
    labels: Int[Array, " image"],
    folds: int = 5,
    seed: int = 0,
    neighbours: int = NEIGHBOURS,
) -> ProbeResult:
    """Out-of-fold answers of the `neighbours` most alike images of the other folds, on the folds of `ridge_probe`.

    `correlations` says how alike every two images are. Of classes with equally many neighbours, that with the larger summed
    correlation is the answer. The chosen penalties of the result are not numbers: there are none.

    Raises:
        Unmeasurable: fewer than two classes, fewer images than folds, or correlations that are not finite.
    """

    def fitted(train: Array, coded: Array, classes: int) -> tuple[Array, float]:
        alike = correlations[~train][:, train]
        near = np.argpartition(-alike, min(neighbours, alike.shape[1]) - 1, axis=1)[:, :neighbours]
        held = np.take_along_axis(alike, near, axis=1)
        members = coded[train][near][:, :, None] == np.arange(classes)
        sums = (members * held[:, :, None]).sum(1)
        return members.sum(1) + sums / (4 * neighbours), float("nan")  # a sum of correlations never outweighs a neighbour

    return cross_validate(correlations, labels, folds, seed, fitted)
