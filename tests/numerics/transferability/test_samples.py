"""Features as scores take them: lengths and angles kept, principal axes as NumPy's, means by hand."""

import numpy as np
import pytest

from microtome.errors import Unmeasurable
from microtome.numerics.transferability.samples import (
    code_labels,
    mean_of_classes,
    narrow_features,
    one_hot,
    principal_coordinates,
)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (12, 12)])
def test_narrow_features_keep_all_products(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape)
    narrow = narrow_features(features)
    assert narrow.shape == (shape[0], min(shape))
    assert narrow @ narrow.T == pytest.approx(features @ features.T, abs=1e-10)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_principal_coordinates_are_those_of_a_singular_value_decomposition(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape) + 5
    coordinates = principal_coordinates(features)
    left, lengths, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    kept = min(shape[0] - 1, shape[1])
    assert coordinates.shape == (shape[0], kept)
    assert np.abs(coordinates) == pytest.approx(np.abs(left * lengths)[:, :kept], abs=1e-8)


def test_what_does_not_vary_has_no_axes() -> None:
    assert principal_coordinates(np.ones((5, 3))).shape == (5, 0)


def test_labels_are_counted_from_nought() -> None:
    features, labels = np.zeros((4, 2)), np.array([7, 3, 7, 9])
    assert code_labels(features, labels).tolist() == [1, 0, 1, 2]
    assert one_hot(features, labels).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(Unmeasurable, match="have 1; give images of two classes"):
        code_labels(features, np.ones(4, dtype=int))
    with pytest.raises(Unmeasurable, match="not finite"):
        code_labels(np.full((4, 2), np.inf), labels)


def test_means_of_classes_by_hand() -> None:
    means = mean_of_classes(np.array([[1.0, 0.0], [3.0, 4.0], [10.0, 10.0]]), np.array([0, 0, 1]))
    assert means.tolist() == [[2.0, 2.0], [10.0, 10.0]]
