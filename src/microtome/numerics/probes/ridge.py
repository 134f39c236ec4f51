"""Accuracy of a linear probe on features: ridge regression in closed form, cross-validated.

Source: Hoerl & Kennard 1970; generalised cross-validation, Golub, Heath & Wahba 1979, eq. 1.4.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.linalg import eigh

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array

# Penalties tried, as multiples of the mean eigenvalue: the same range for any number of images, features and any scale.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-5, 4, 19))


# Scores (image, class) of the images that are not in the training part (image,), and the penalty chosen; from the part, the
# labels coded from 0 (image,), and how many classes there are.
FitFunction = Callable[[Array, Array, int], tuple[Array, float]]


class ProbeResult(NamedTuple):
    """What a cross-validated probe answered on images it was not fitted to."""

    correct: Bool[Array, " image"]
    predicted: Int[Array, " image"]
    chance: float  # the fraction of the largest class: what always naming it would score
    penalties: Float64[Array, " fold"]  # chosen on each training part

    @property
    def accuracy(self) -> float:
        """The fraction of images answered right."""
        return float(self.correct.mean())


def stratified_folds(labels: Int[Array, " image"], folds: int = 5, seed: int = 0) -> Int[Array, " image"]:
    """The fold of each image: shuffled within its class, then dealt out; folds differ by at most one image of a class."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    # Dealing goes on from class to class, which keeps the folds of equal size too.
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[dealt] = np.arange(len(labels)) % folds
    return fold


def ridge_probe(
    features: Float[Array, "image feature"],
    labels: Int[Array, " image"],
    folds: int = 5,
    seed: int = 0,
    penalties: Sequence[float] | None = None,
) -> ProbeResult:
    """Out-of-fold answers of a ridge classifier (targets ±1, one column for each class) for every image.

    Each training part alone decides the scaling of the features and, by generalised cross-validation, the penalty: one of
    `penalties`, or by default 19 over nine decades about the mean eigenvalue. The cost is that of one eigendecomposition of
    the smaller Gram matrix for each fold.

    Raises:
        Unmeasurable: fewer than two classes, fewer images than folds, or features that are not finite.
    """

    def fitted(train: Array, coded: Array, classes: int) -> tuple[Array, float]:
        return ridge_scores(features[train], _signed_targets(coded[train], classes), features[~train], penalties)

    return cross_validate(features, labels, folds, seed, fitted)


def cross_validate(features: Array, labels: Array, folds: int, seed: int, fitted: FitFunction) -> ProbeResult:
    """The answers of any classifier for every image, each by one that was fitted without the image's fold.

    Raises:
        Unmeasurable: fewer than two classes, fewer images than folds, or features that are not finite.
    """
    classes, coded = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(labels) < folds:
        raise Unmeasurable(
            f"A probe needs two classes and at least {folds} images, and was given {len(classes)} and {len(labels)}; "
            "point it at a folder of class folders."
        )
    if not np.isfinite(features).all():
        raise Unmeasurable("Some features are not finite, so no probe can be fitted; check the network in float32.")
    fold = stratified_folds(labels, folds, seed)
    predicted = np.empty(len(labels), dtype=np.int64)
    chosen = np.empty(folds)
    for number in range(folds):
        scores, chosen[number] = fitted(fold != number, coded, len(classes))
        predicted[fold == number] = scores.argmax(axis=1)
    chance = float(np.bincount(coded).max() / len(labels))
    return ProbeResult(predicted == coded, classes[predicted], chance, chosen)


def smallest_class(labels: Int[Array, " image"], folds: int = 5, seed: int = 0) -> int:
    """How many images of its rarest class the poorest training part of the cross-validation has."""
    coded, fold = np.unique(labels, return_inverse=True)[1], stratified_folds(labels, folds, seed)
    return min(int(np.bincount(coded[fold != fold_], minlength=coded.max() + 1).min()) for fold_ in range(folds))


def learning_curve(
    features: Float[Array, "image feature"],
    labels: Int[Array, " image"],
    sizes: Sequence[int],
    folds: int = 5,
    seed: int = 0,
) -> Bool[Array, "amount image"]:
    """Whether a ridge classifier fitted to that many images of each class, of the other folds, answers each image rightly.

    What a smaller number is fitted to is part of what a larger one is. Folds are those of `ridge_probe`.

    Raises:
        Unmeasurable: as `ridge_probe`, or a size is larger than what a training part has of its rarest class.
    """
    if sizes and max(sizes) > (most := smallest_class(labels, folds, seed)):
        raise Unmeasurable(
            f"A head cannot be fitted to {max(sizes)} images a class: with {folds} parts the rarest class leaves {most}; "
            f"ask for {most} or fewer, or give more images."
        )
    order = np.random.default_rng(seed + 1).permutation(len(labels))

    def correct(size: int) -> Array:
        def fitted(train: Array, coded: Array, classes: int) -> tuple[Array, float]:
            shuffled = order[train[order]]
            some = np.concatenate([shuffled[coded[shuffled] == label][:size] for label in range(classes)])
            return ridge_scores(features[some], _signed_targets(coded[some], classes), features[~train])

        return cross_validate(features, labels, folds, seed, fitted).correct

    return np.array([correct(size) for size in sizes]).reshape(len(sizes), len(labels))


def _signed_targets(coded: Array, classes: int) -> Array:
    return np.where(coded[:, None] == np.arange(classes), 1.0, -1.0)


def standardise(train: Array, test: Array) -> tuple[Array, Array]:
    """Both (image, feature) with the mean and spread of `train` taken off; features that never vary there are zero."""
    middle, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    spread = np.where(spread > 1e-12 * np.abs(middle), spread, 1.0)
    return (train - middle) / spread, (test - middle) / spread


def ridge_scores(
    train: Float[Array, "image feature"],
    targets: Float[Array, "image class"],
    test: Float[Array, "image_ feature"],
    penalties: Sequence[float] | None = None,
    form: Literal["auto", "primal", "dual"] = "auto",
) -> tuple[Float64[Array, "image_ class"], float]:
    """Scores of the test images, and the penalty with the lowest generalised cross-validation error.

    `form` says which Gram matrix is decomposed: that of the features (primal) or that of the images (dual). Both give the same
    scores; "auto" takes the smaller one.
    """
    train, test = standardise(train, test)
    offset = targets.mean(0)
    targets = targets - offset
    dual = form == "dual" or (form == "auto" and len(train) <= train.shape[1])
    values, vectors = eigh(train @ train.T if dual else train.T @ train, driver="evd")
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    if not kept.any():  # no feature varies: the most frequent class is all there is to say
        return np.tile(offset, (len(test), 1)), float("nan")
    values, vectors = values[kept], vectors[:, kept]
    # In both forms: rotated = U^T y for train = U S V^T.
    rotated = vectors.T @ targets if dual else (vectors.T @ (train.T @ targets)) / np.sqrt(values)[:, None]
    tried = np.asarray(penalties if penalties is not None else np.multiply(PENALTIES, values.mean()), dtype=np.float64)
    best = float(tried[np.argmin([_validation_error(values, rotated, targets, penalty) for penalty in tried])])
    # w = V S/(S²+λ) U^T y, and V = X^T U S^-1 in the dual form.
    if dual:
        weights = vectors @ (rotated / (values + best)[:, None])
        return test @ (train.T @ weights) + offset, best
    return test @ (vectors @ (rotated * (np.sqrt(values) / (values + best))[:, None])) + offset, best


def _validation_error(values: Array, rotated: Array, targets: Array, penalty: float) -> float:
    """Generalised cross-validation error, summed over classes; the intercept counts as one more fitted direction."""
    left = penalty / (values + penalty)
    outside = (targets**2).sum() - (rotated**2).sum()
    residual = max(float(outside), 0.0) + float((left[:, None] ** 2 * rotated**2).sum())
    free = len(targets) - 1 - float((1 - left).sum())
    return residual / max(free, 1e-9) ** 2
