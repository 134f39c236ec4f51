"""How well classes are told apart by the statistics of their features: Bhattacharyya overlap, H-score, coding rate.

Source: Gaussian Bhattacharyya coefficient (GBC), Pándy et al. 2022, arXiv:2111.12780, eq. 1 to 4, with the determinant of a spherical
covariance in full (their published code counts one of its dimensions); H-score, Bao et al. 2019, regularised as in Ibrahim et al. 2021,
arXiv:2110.06893; shrinkage, Ledoit & Wolf 2004; TransRate, Huang et al. 2022, arXiv:2106.09362, as in their listing. The number of
principal axes and the floor of the variance of GBC are ours.
"""

import numpy as np
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.transferability.samples import code_labels, mean_of_classes, principal_coordinates

GBC_AXES = 64  # principal axes, the widest
VARIANCE_FLOOR = 1e-4  # of the mean variance over all images
DISTORTION = 1e-4  # ε of the coding rate


def bhattacharyya_score(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> float:
    """GBC: minus the summed Bhattacharyya coefficients of all ordered pairs of classes, each a spherical Gaussian; 0 is best.

    On the `GBC_AXES` widest principal axes.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    return bhattacharyya_of(principal_coordinates(features), code_labels(features, labels))


def bhattacharyya_of(coordinates: Float[Array, "image axis"], coded: Int[Array, " image"]) -> float:
    """GBC of principal coordinates and labels counted from 0."""
    some = coordinates[:, :GBC_AXES]
    count = int(coded.max()) + 1
    axes = some.shape[1]
    if not axes:
        return -float(count * (count - 1))
    means = mean_of_classes(some, coded)
    spread = ((some - means[coded]) ** 2).mean(1)
    variance = np.bincount(coded, spread) / np.bincount(coded)
    variance = np.maximum(variance, VARIANCE_FLOOR * float((some**2).mean()))
    both = (variance[:, None] + variance) / 2
    apart = ((means[:, None] - means) ** 2).sum(-1)
    distance = apart / both / 8 + axes / 2 * np.log(both / np.sqrt(variance[:, None] * variance))
    return -float(np.exp(-distance)[~np.eye(count, dtype=bool)].sum())


def regularised_h_score(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> float:
    """Regularised H-score: tr((1 - α) Σ⁻¹ cov(E[f|y])), Σ the covariance shrunk by α; at most one less than the number of classes.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    return h_score_of(principal_coordinates(features), code_labels(features, labels), features.shape[1])


def h_score_of(coordinates: Float[Array, "image axis"], coded: Int[Array, " image"], width: int) -> float:
    """Regularised H-score of principal coordinates of features of that width, and labels counted from 0."""
    if not coordinates.shape[1]:
        return 0.0
    variance = (coordinates**2).mean(0)
    shrinkage = shrinkage_of(coordinates, width)
    shrunk = (1 - shrinkage) * variance + shrinkage * float(variance.sum()) / width
    fractions = np.bincount(coded) / len(coded)
    return float((1 - shrinkage) * (fractions @ (mean_of_classes(coordinates, coded) ** 2 / shrunk).sum(1)))


def shrinkage_of(coordinates: Float[Array, "image axis"], width: int) -> float:
    """Ledoit and Wolf's shrinkage of the covariance of features of that width, from their principal coordinates."""
    images = len(coordinates)
    variance = (coordinates**2).mean(0)
    mean = float(variance.sum()) / width
    spread = float((variance**2).sum()) - width * mean**2
    error = (float(((coordinates**2).sum(1) ** 2).mean()) - float((variance**2).sum())) / images
    return float(min(max(error, 0.0), spread) / spread) if spread > 0 else 0.0


def transrate(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> float:
    """TransRate: the coding rate of the centred features minus its mean over the classes; depends on the scale of the features.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    return transrate_of(principal_coordinates(features), code_labels(features, labels))


def transrate_of(coordinates: Float[Array, "image axis"], coded: Int[Array, " image"]) -> float:
    """TransRate of principal coordinates and labels counted from 0."""
    rates = [_coding_rate(coordinates[coded == label]) for label in range(int(coded.max()) + 1)]
    return _coding_rate(coordinates) - float(np.mean(rates))


def _coding_rate(coordinates: Float64[Array, "image axis"]) -> float:
    """½ ln det(I + ZᵀZ/(nε)), from the smaller Gram matrix."""
    images, axes = coordinates.shape
    gram = coordinates @ coordinates.T if images < axes else coordinates.T @ coordinates
    return float(np.linalg.slogdet(np.eye(len(gram)) + gram / (images * DISTORTION))[1]) / 2
