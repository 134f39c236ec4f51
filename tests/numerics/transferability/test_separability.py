"""GBC, H-score and TransRate against their formulas written out with whole covariance matrices."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from microtome.numerics.transferability.samples import principal_coordinates
from microtome.numerics.transferability.separability import (
    DISTORTION,
    bhattacharyya_score,
    regularised_h_score,
    shrinkage_of,
    transrate,
)

SHAPES = [(60, 8), (24, 70)]


def planted(images: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    noise = random.normal(size=(images, width)) * np.array([0.5, 1.0, 2.0])[labels][:, None]
    return noise + 0.4 * random.normal(size=(3, width))[labels], labels


def test_gbc_of_two_classes_is_the_coefficient_of_two_gaussians() -> None:
    """The integral of √(p q) over the plane, summed on a fine grid."""
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(size=(50, 2)), 1.5 * random.normal(size=(80, 2)) + 1])
    labels = np.repeat([0, 1], [50, 80])
    grid = np.stack(np.meshgrid(*[np.linspace(-14, 16, 1201)] * 2), -1).reshape(-1, 2)
    densities = []
    for label in (0, 1):
        own = features[labels == label]
        variance = ((own - own.mean(0)) ** 2).mean()
        densities.append(np.exp(-((grid - own.mean(0)) ** 2).sum(1) / 2 / variance) / (2 * np.pi * variance))
    overlap = np.sqrt(densities[0] * densities[1]).sum() * (30 / 1200) ** 2
    assert bhattacharyya_score(features, labels) == pytest.approx(-2 * overlap, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gbc_with_whole_covariances(shape: tuple[int, int]) -> None:
    features, labels = planted(*shape)
    some = principal_coordinates(features)[:, :64]
    expected = 0.0
    for first in range(3):
        for second in range(3):
            if first != second:
                ours, theirs = some[labels == first], some[labels == second]
                cov = [np.eye(some.shape[1]) * ((own - own.mean(0)) ** 2).mean() for own in (ours, theirs)]
                both = (cov[0] + cov[1]) / 2
                gap = ours.mean(0) - theirs.mean(0)
                logs = [np.linalg.slogdet(each)[1] for each in (both, *cov)]
                expected -= np.exp(-(gap @ np.linalg.solve(both, gap) / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2))
    assert bhattacharyya_score(features, labels) == pytest.approx(expected, rel=1e-9)
    assert bhattacharyya_score(100 * features, labels) == pytest.approx(expected, rel=1e-9)


def test_gbc_of_one_cloud_and_of_clouds_far_apart() -> None:
    features, labels = planted(60, 8)
    assert bhattacharyya_score(np.ones((60, 8)), labels) == -6.0  # every ordered pair overlaps wholly
    assert bhattacharyya_score(features + 1000 * np.eye(3, 8)[labels], labels) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_h_score_with_scikit_learns_covariance(shape: tuple[int, int]) -> None:
    features, labels = planted(*shape)
    model = LedoitWolf().fit(features)
    centred = features - features.mean(0)
    means = np.stack([centred[labels == label].mean(0) for label in range(3)])[labels]
    between = means.T @ means / len(features)
    expected = np.trace(np.linalg.inv(model.covariance_) @ between) * (1 - model.shrinkage_)
    assert shrinkage_of(principal_coordinates(features), shape[1]) == pytest.approx(model.shrinkage_, rel=1e-9)
    assert regularised_h_score(features, labels) == pytest.approx(expected, rel=1e-8)


def test_h_score_of_features_that_never_vary_is_nought() -> None:
    assert regularised_h_score(np.ones((10, 4)), np.arange(10) % 2) == 0.0
    assert shrinkage_of(np.zeros((10, 2)), 2) == 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_transrate_with_whole_matrices(shape: tuple[int, int]) -> None:
    features, labels = planted(*shape)
    centred = features - features.mean(0)

    def rate(some: np.ndarray) -> float:
        return np.linalg.slogdet(np.eye(shape[1]) + some.T @ some / (len(some) * DISTORTION))[1] / 2

    expected = rate(centred) - np.mean([rate(centred[labels == label]) for label in range(3)])
    assert transrate(features, labels) == pytest.approx(expected, rel=1e-8)
    assert transrate(1e-3 * features, labels) != pytest.approx(expected, rel=0.1)  # it depends on the scale
