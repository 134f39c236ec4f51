"""LogME: the evidence (marginal likelihood) of a Bayesian linear model that predicts the labels from the features.

Exact for any number of images and features. The model is y = Fw + noise with w ~ N(0, 1/α) and noise ~ N(0, 1/β), so that
y ~ N(0, I/β + FFᵀ/α). For a given ratio λ = α/β the best β is known in closed form, which leaves one number to search for each class;
the fixed-point iterations of the published algorithm, and the accuracy at which they stop, are not needed. The popular routine leaves
the directions without data out of its sum of logarithms, and is too high by (D - N)/2N · ln(1/α) where there are fewer images (N) than
features (D).

Source: You et al. 2021, arXiv:2102.11005, eq. 3 and 4; the search over λ alone is ours.
"""

from math import inf, log, pi

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.linalg import eigh

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array
from microtome.numerics.transferability.samples import one_hot

STEP = 0.5  # of the grid over ln λ; the maximum is then found between neighbours
BEYOND = 18.0  # how far the grid goes on, in ln λ, beyond the smallest and the largest eigenvalue
NEWTON_STEPS = 12


def logme(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> float:
    """LogME of features for classes: the log evidence for each image, averaged over the classes (each against the rest).

    Higher is better. It compares features of different widths, but only on the same images. Infinite where the labels are an exact
    linear function of the features, and there are more images than features.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    return float(class_evidence(features, labels).mean())


def class_evidence(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> Float64[Array, " class"]:
    """The log evidence for each image, of each class against the rest, in the order of the labels.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    return log_evidence(features, one_hot(features, labels))


def log_evidence(features: Float[Array, "image feature"], targets: Float[Array, "image target"]) -> Float64[Array, " target"]:
    """The largest log evidence for each image of a linear model of each target, over both of its precisions.

    Raises:
        Unmeasurable: features that are not finite.
    """
    if not np.isfinite(features).all():
        raise Unmeasurable("Some features are not finite, so they have no evidence; check the network in float32.")
    images = len(features)
    values, squares = _spectrum(features, targets)
    rest = np.maximum((targets**2).sum(0, dtype=np.float64) - squares.sum(0), 0.0)
    whole = (targets**2).sum(0, dtype=np.float64)
    null = _from_residual(whole, 0.0, images)  # λ without bound: the features explain nothing
    if not len(values):
        return null
    rest = np.where(rest > images * np.finfo(np.float64).eps * whole, rest, 0.0)
    best = np.maximum(null, _maximum(values, squares, rest, images))
    if len(values) == images:  # λ = 0: the features explain everything
        exact = _from_residual((squares / values[:, None]).sum(0), -float(np.log(values).sum()), images)
        return np.maximum(best, exact)
    return np.where((rest == 0.0) & (whole > 0), inf, best)


def _spectrum(features: Array, targets: Array) -> tuple[Array, Array]:
    """The squared singular values of the features that are not 0, and the squares of the targets along their directions."""
    data = np.asarray(features, dtype=np.float64)
    dual = len(data) <= data.shape[1]
    values, vectors = eigh(data @ data.T if dual else data.T @ data, driver="evd", overwrite_a=True, check_finite=False)
    kept = values > max(float(values[-1]), 0.0) * max(data.shape) * np.finfo(np.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    if dual:
        return values, (vectors.T @ targets) ** 2
    return values, (vectors.T @ (data.T @ targets)) ** 2 / values[:, None]


def _from_residual(residual: Array, logarithms: Array | float, images: int) -> Array:
    """The log evidence for each image at the best β, from β-free residual R (target,) and the sum of ln λ/(λ + s²)."""
    with np.errstate(divide="ignore"):
        return 0.5 * (logarithms / images - np.log(residual / images) - 1 - log(2 * pi))


def _maximum(values: Array, squares: Array, rest: Array, images: int) -> Array:
    """The largest evidence over λ > 0 of each target: on a grid over ln λ, then by Newton's method between its points."""
    low, high = log(values[0]) - BEYOND, log(values[-1]) + BEYOND
    grid = np.linspace(low, high, int((high - low) / STEP) + 2)
    weights = 1 / (1 + values / np.exp(grid)[:, None])  # λ/(λ + s²), (grid, value)
    on_grid = _from_residual(weights @ squares + rest, np.log(weights).sum(1)[:, None], images)
    top = on_grid.argmax(0)
    left, right = grid[np.maximum(top - 1, 0)], grid[np.minimum(top + 1, len(grid) - 1)]
    place = grid[top]
    for _ in range(NEWTON_STEPS):
        slope, curve = _slope(place, values, squares, rest, images)
        left, right = np.where(slope > 0, place, left), np.where(slope > 0, right, place)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = place - slope / curve
        inside = (curve < 0) & (moved > left) & (moved < right)
        place = np.where(inside, moved, (left + right) / 2)
    weights = 1 / (1 + values[:, None] / np.exp(place))
    refined = _from_residual((weights * squares).sum(0) + rest, np.log(weights).sum(0), images)
    return np.maximum(on_grid.max(0), refined)


def _slope(place: Array, values: Array, squares: Array, rest: Array, images: int) -> tuple[Array, Array]:
    """The first and second derivative by ln λ of twice the log evidence of all images, each (target,)."""
    weights = 1 / (1 + values[:, None] / np.exp(place))
    away = 1 - weights
    bend = weights * away
    residual = (weights * squares).sum(0) + rest
    first = (bend * squares).sum(0) / residual
    second = (bend * (away - weights) * squares).sum(0) / residual - first**2
    return away.sum(0) - images * first, -bend.sum(0) - images * second
