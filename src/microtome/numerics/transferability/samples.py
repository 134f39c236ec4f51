"""Features and labels as the scores of transferability take them: checked, coded, and on their principal axes."""

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.linalg import eigh, qr

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array


def code_labels(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> Int[Array, " image"]:
    """The labels counted from 0, in their order.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    classes, coded = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise Unmeasurable(
            f"A score of transferability compares classes, and these {len(labels)} images have {len(classes)}; "
            "give images of two classes or more."
        )
    if not np.isfinite(features).all():
        raise Unmeasurable("Some features are not finite, so they cannot be scored; check the network in float32.")
    return coded


def one_hot(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> Float64[Array, "image class"]:
    """One column for each class: 1 for its images, else 0.

    Raises:
        Unmeasurable: as `code_labels`.
    """
    coded = code_labels(features, labels)
    return (coded[:, None] == np.arange(coded.max() + 1)).astype(np.float64)


def narrow_features(features: Float[Array, "image feature"]) -> Float64[Array, "image axis"]:
    """The features in no more dimensions than there are images; all lengths and angles between images are kept."""
    data = np.asarray(features, dtype=np.float64)
    if data.shape[1] <= len(data):
        return data
    triangle: Array = np.asarray(qr(data.T, mode="r", check_finite=False)[0])
    return np.ascontiguousarray(triangle[: len(data)].T)


def principal_coordinates(features: Float[Array, "image feature"]) -> Float64[Array, "image axis"]:
    """The centred features on their principal axes, the widest first; axes along which nothing varies are left out."""
    data = np.asarray(features, dtype=np.float64)
    data = data - data.mean(0)
    dual = len(data) <= data.shape[1]
    values, vectors = eigh(data @ data.T if dual else data.T @ data, driver="evd", overwrite_a=True, check_finite=False)
    kept = values > max(float(values[-1]), 0.0) * max(data.shape) * np.finfo(np.float64).eps
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    return vectors * np.sqrt(values) if dual else data @ vectors


def mean_of_classes(coordinates: Float[Array, "image axis"], coded: Int[Array, " image"]) -> Float64[Array, "class axis"]:
    """The mean of each class."""
    members = (coded == np.arange(coded.max() + 1)[:, None]).astype(np.float64)
    return members @ coordinates / members.sum(1, keepdims=True)
