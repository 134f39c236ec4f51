"""Accuracy of multinomial logistic regression on features: ridge penalty, cross-validated.

Source: Cox 1958, J. R. Stat. Soc. B 20; fitted by scikit-learn's `LogisticRegression`. The softmax on frozen features of
Zeiler & Fergus 2014, arXiv:1311.2901, table 7.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.special import log_softmax, softmax

from microtome.errors import Unmeasurable, option_name
from microtome.numerics.arrays import Array
from microtome.numerics.probes.ridge import ProbeResult, cross_validate, standardise, stratified_folds

# Penalties tried, for each training image: from nearly none to one that leaves little but the frequencies of the classes.
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
MAX_STEPS = 200  # of Newton's method; about ten are needed
GRADIENT_TOLERANCE = 1e-6  # of the mean loss; at 1e-4, scikit-learn's default, some answers differ from those of the minimum
LARGEST_SLOPE = 1e-4  # left at what counts as a minimum, where rounding ends the search early


def logistic_probe(
    features: Float[Array, "image feature"],
    labels: Int[Array, " image"],
    folds: int = 5,
    seed: int = 0,
    penalties: Sequence[float] | None = None,
) -> ProbeResult:
    """Out-of-fold answers of multinomial logistic regression for every image, on the folds of `ridge_probe`.

    Each training part alone decides the scaling of the features and the penalty λ of the loss Σ −log p + λ/2·‖w‖² (offsets are not
    penalised): one of `penalties`, or by default one of five over five decades of the number of images. From the strongest down, the
    last one before the loss rises on a held-out fifth of the training part is chosen; then all of the part is fitted.

    Raises:
        Unmeasurable: fewer than two classes, fewer images than folds, features that are not finite, or no minimum was reached.
    """

    def fitted(train: Array, coded: Array, classes: int) -> tuple[Array, float]:
        tried = [penalty * int(train.sum()) for penalty in PENALTIES] if penalties is None else sorted(penalties, reverse=True)
        penalty = tried[0] if len(tried) == 1 else _choose_penalty(features[train], coded[train], classes, tried, seed)
        narrow, shown = _reduce_width(*standardise(features[train], features[~train]))
        return _class_scores(shown, logistic_weights(narrow, coded[train], classes, penalty)), penalty

    return cross_validate(features, labels, folds, seed, fitted)


def logistic_weights(
    features: Float[Array, "image feature"], coded: Int[Array, " image"], classes: int, penalty: float
) -> Float64[Array, "feature_and_offset class"]:
    """The weights that minimise Σ −log p + penalty/2·‖w‖²; the last row holds the offsets, which are not penalised.

    A class without images gets the offset −∞, so it is never predicted.

    Raises:
        Unmeasurable: the search ended where the slope is not zero.
    """
    from sklearn.linear_model import LogisticRegression  # half a second that only runs with --logistic should pay

    present = np.unique(coded)
    weights = np.zeros((features.shape[1] + 1, classes))
    weights[-1] = -np.inf
    if len(present) == 1:  # scikit-learn refuses it; the answer is that class
        weights[-1, present] = 0.0
        return weights
    two = len(present) == 2
    # Of two classes scikit-learn fits the difference of their weights; its penalty is half that of both.
    model = LogisticRegression(C=(2 if two else 1) / penalty, tol=GRADIENT_TOLERANCE, max_iter=MAX_STEPS, solver="newton-cg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the search ended is asked below, of the slope itself
        model.fit(features, coded)
    both = np.column_stack([model.coef_, model.intercept_]).T
    weights[:, present] = np.hstack([-both / 2, both / 2]) if two else both
    slope = _largest_slope(features, coded, weights[:, present], present, penalty)
    if not slope <= LARGEST_SLOPE:
        raise Unmeasurable(
            f"The logistic probe found no minimum in {int(model.n_iter_.max())} steps (slope {slope:.2g}); "
            f"leave {option_name('logistic')} out, the ridge probe needs no search."
        )
    return weights


def _largest_slope(features: Array, coded: Array, weights: Array, present: Array, penalty: float) -> float:
    """The largest slope of the mean loss, by any weight or offset."""
    residual = softmax(_class_scores(features, weights), axis=1) - (coded[:, None] == present)
    slope = np.vstack([features.T @ residual + penalty * weights[:-1], residual.sum(0)])
    return float(np.abs(slope).max()) / len(features)


def _choose_penalty(train: Array, coded: Array, classes: int, tried: Sequence[float], seed: int) -> float:
    """The penalty with the smallest loss on a held-out fifth of the training part.

    The search goes from the strongest penalty down and ends at the first with a larger loss than the one before: the weaker ones
    overfit, and take longest.
    """
    held = stratified_folds(coded, 5, seed + 1) == 0
    narrow, shown = _reduce_width(*standardise(train[~held], train[held]))
    fraction = (~held).mean()  # the same penalty for each image
    losses = list[float]()
    for penalty in tried:
        weights = logistic_weights(narrow, coded[~held], classes, penalty * fraction)
        known = np.isin(coded[held], coded[~held])
        scores = log_softmax(_class_scores(shown[known], weights), axis=1)
        losses.append(-float(scores[np.arange(int(known.sum())), coded[held][known]].sum()))
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return float(tried[int(np.argmin(losses))])


def _reduce_width(train: Array, test: Array) -> tuple[Array, Array]:
    """Both on the principal axes of `train` where it has more features than images, else both as they are.

    The minimum is the same: a penalty on the length of the weights is the same on any axes, and weights along the directions that
    `train` lacks are zero. 400 images of 2048 features are fitted five times faster so.
    """
    if train.shape[1] <= len(train):
        return train, test
    left, values, axes = np.linalg.svd(train, full_matrices=False)
    return left * values, test @ axes.T


def _class_scores(features: Array, weights: Array) -> Array:
    return features @ weights[:-1] + weights[-1]
