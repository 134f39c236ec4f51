"""How well multinomial logistic regression on features tells the classes apart: ridge penalty, cross-validated.

Source: Cox 1958, J. R. Stat. Soc. B 20; minimised by L-BFGS (Byrd, Lu, Nocedal & Zhu 1995). The softmax on frozen features of
Zeiler & Fergus 2014, arXiv:1311.2901, table 7.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import log_softmax

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array
from microtome.numerics.probes.ridge import ProbeResult, cross_validate, standardise, stratified_folds

# Penalties tried, for each training image: from nearly none to one that leaves little but the shares of the classes.
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
GRADIENT_TOLERANCE = (
    1e-3  # the largest slope left at what counts as a minimum: loss for each image, by weight in units of its curvature
)


def logistic_probe(
    features: Float[Array, "image feature"],
    labels: Int[Array, " image"],
    folds: int = 5,
    seed: int = 0,
    penalties: Sequence[float] | None = None,
) -> ProbeResult:
    """Out-of-fold answers of multinomial logistic regression for every image, on the folds that `ridge_probe` deals.

    Each training part alone decides the scaling of the features and the penalty λ of the loss Σ −log p + λ/2·‖w‖² (offsets are not
    punished): one of `penalties`, or by default one of five over five decades of the number of images. From the strongest down, the
    last one before the loss rises on a fifth of the training part, held out meanwhile, is taken; then all of the part is fitted.

    Raises:
        Unmeasurable: fewer than two classes, fewer images than folds, features that are not finite, or no minimum was reached.
    """

    def fitted(train: Array, coded: Array, classes: int) -> tuple[Array, float]:
        tried = [one * int(train.sum()) for one in PENALTIES] if penalties is None else sorted(penalties, reverse=True)
        penalty = tried[0] if len(tried) == 1 else _choose_penalty(features[train], coded[train], classes, tried, seed)
        narrow, shown = _to_principal_axes(*standardise(features[train], features[~train]))
        return _class_scores(shown, logistic_weights(narrow, coded[train], classes, penalty)), penalty

    return cross_validate(features, labels, folds, seed, fitted)


def logistic_weights(
    features: Float[Array, "image feature"],
    coded: Int[Array, " image"],
    classes: int,
    penalty: float,
    start: Float64[Array, "feature_and_offset class"] | None = None,
) -> Float64[Array, "feature_and_offset class"]:
    """The weights that minimise Σ −log p + penalty/2·‖w‖²; the last row are the offsets, which are not punished.

    A class that no image has gets an offset that only falls, so it is never the answer.

    Raises:
        Unmeasurable: L-BFGS stopped where the slope is not zero.
    """
    count, width = features.shape
    present, places = np.unique(coded, return_inverse=True)
    rows = np.arange(count)
    first = np.zeros((width + 1, len(present))) if start is None else start[:, present]

    # Each weight in units of its curvature where all classes are as likely, which on principal axes takes the stretch out.
    scale = 1 / np.sqrt(np.append((features**2).sum(0) / classes + penalty, count / classes)[:, None] / count)

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(width + 1, len(present)) * scale
        scores = features @ weights[:-1] + weights[-1]
        scores -= scores.max(1, keepdims=True)
        value = -float(scores[rows, places].sum())
        apart = np.exp(scores, out=scores)
        totals = apart.sum(1, keepdims=True)
        value += float(np.log(totals).sum()) + 0.5 * penalty * float((weights[:-1] ** 2).sum())
        apart /= totals
        apart[rows, places] -= 1
        slope = np.vstack([features.T @ apart + penalty * weights[:-1], apart.sum(0)])
        return value / count, (slope * scale).ravel() / count

    limits = {"maxiter": 2000, "maxfun": 4000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-7}
    found = minimize(loss, (first / scale).ravel(), jac=True, method="L-BFGS-B", options=limits)
    if not np.abs(found.jac).max() <= GRADIENT_TOLERANCE:
        raise Unmeasurable(
            f"The logistic probe found no minimum after {found.nit} steps (slope {np.abs(found.jac).max():.2g}); "
            "leave --logistic out, the ridge probe needs no search."
        )
    weights = np.zeros((width + 1, classes))
    weights[-1] = -np.inf
    weights[:, present] = found.x.reshape(width + 1, len(present)) * scale
    return weights


def _choose_penalty(train: Array, coded: Array, classes: int, tried: Sequence[float], seed: int) -> float:
    """The penalty with the smallest loss on a held-out fifth of the training part, each fit started from the last.

    The search goes from the strongest penalty down and ends with the first that answers worse than the one before: the weaker ones
    learn more by heart, and take longest.
    """
    held = stratified_folds(coded, 5, seed + 1) == 0
    narrow, shown = _to_principal_axes(*standardise(train[~held], train[held]))
    share = (~held).mean()  # the same penalty for each image
    weights, losses = None, list[float]()
    for penalty in tried:
        weights = logistic_weights(narrow, coded[~held], classes, penalty * share, weights)
        known = np.isin(coded[held], coded[~held])
        scores = log_softmax(_class_scores(shown[known], weights), axis=1)
        losses.append(-float(scores[np.arange(int(known.sum())), coded[held][known]].sum()))
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return float(tried[int(np.argmin(losses))])


def _to_principal_axes(train: Array, test: Array) -> tuple[Array, Array]:
    """Both on the principal axes of `train`, where the search is short; directions that it lacks only cost, so they are left out.

    A penalty on the length of the weights is the same on any axes.
    """
    if train.shape[1] <= len(train):
        axes = eigh(train.T @ train, driver="evd")[1]
        return train @ axes, test @ axes
    left, values, axes = np.linalg.svd(train, full_matrices=False)
    return left * values, test @ axes.T


def _class_scores(features: Array, weights: Array) -> Array:
    return features @ weights[:-1] + weights[-1]
