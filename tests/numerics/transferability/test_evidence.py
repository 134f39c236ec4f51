"""LogME: the marginal likelihood computed and maximised slowly, limits by hand, and the popular routine where it is right and wrong."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize

import microtome as mt
from benchmarks.popular_logme import popular_logme
from microtome.errors import Unmeasurable
from microtome.numerics.transferability.evidence import class_evidence, log_evidence, logme


def planted(images: int, width: int, classes: int = 3, gap: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    return random.normal(size=(images, width)) + gap * random.normal(size=(classes, width))[labels], labels


def evidence_at(features: np.ndarray, target: np.ndarray, alpha: float, beta: float) -> float:
    """ln N(y | 0, I/β + FFᵀ/α) for each image, from the covariance itself."""
    images = len(features)
    covariance = np.eye(images) / beta + features @ features.T / alpha
    logarithm = np.linalg.slogdet(covariance)[1]
    return float(-target @ np.linalg.solve(covariance, target) - logarithm - images * np.log(2 * np.pi)) / 2 / images


def slow_maximum(features: np.ndarray, target: np.ndarray) -> float:
    """The largest evidence over α and β, by a general optimiser from several starts."""

    def loss(logarithms: np.ndarray) -> float:
        return -evidence_at(features, target, *np.exp(np.clip(logarithms, -25, 25)))

    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000}
    starts = [(alpha, beta) for alpha in (-3, 1, 5) for beta in (-1, 2, 5)]
    return -min(minimize(loss, start, method="Nelder-Mead", options=options).fun for start in starts)


@pytest.mark.parametrize(
    ("images", "width", "gap"), [(40, 10, 1.0), (40, 40, 1.0), (30, 100, 1.0), (40, 10, 0.0), (30, 60, 0.0)]
)
def test_is_the_maximum_of_the_exact_evidence(images: int, width: int, gap: float) -> None:
    features, labels = planted(images, width, gap=gap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimiser's far steps
        slow = [slow_maximum(features, (labels == label).astype(float)) for label in range(3)]
    assert class_evidence(features, labels) == pytest.approx(slow, abs=2e-6)
    assert logme(features, labels) == pytest.approx(np.mean(slow), abs=2e-6)


def test_is_the_popular_routine_where_there_are_more_images_than_features() -> None:
    features, labels = planted(300, 100)
    assert logme(features, labels) == pytest.approx(popular_logme(features, labels)[0], abs=1e-4)


@pytest.mark.parametrize("width", [600, 2048])
def test_the_popular_routine_lacks_a_term_with_fewer_images_than_features(width: int) -> None:
    """At 300 × 2048 it is about 28.9 where the evidence is 0.24; with -(D - N)/2N · ln α it is right."""
    features, labels = planted(300, width, classes=10, gap=0.37)
    wrong, precisions = popular_logme(features, labels, steps=200)
    lacking = (width - 300) / 600 * np.log(precisions).mean()
    right = logme(features, labels)
    assert wrong - right > (27 if width == 2048 else 3)
    assert right == pytest.approx(wrong - lacking, abs=2e-3)
    assert -1 < right < 1


def test_one_feature_by_hand() -> None:
    """One feature, one target along it: for residual R(λ) = |y|² λ/(λ + s²) + rest, the best λ is where the derivative is 0."""
    features, target = np.array([[2.0], [0.0]]), np.array([[3.0], [1.0]])  # s² = 4, along 9, rest 1
    # (4/(λ+4)) (R) = 2·9·4λ/(λ+4)², R = 9λ/(λ+4) + 1: 10λ + 4 = 18λ, λ = 1/2
    residual = 9 * 0.5 / 4.5 + 1
    expected = 0.5 * (np.log(0.5 / 4.5) / 2 - np.log(residual / 2) - 1 - np.log(2 * np.pi))
    assert log_evidence(features, target)[0] == pytest.approx(expected, abs=1e-12)


def test_scale_and_rotation_of_the_features_change_nothing() -> None:
    features, labels = planted(50, 20)
    turned = features @ np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    assert logme(1e4 * turned, labels) == pytest.approx(logme(features, labels), abs=1e-8)
    assert logme(features.astype(np.float32), labels) == pytest.approx(logme(features, labels), abs=1e-5)
    assert logme(features, labels + 7) == logme(features, labels)


def test_features_that_know_nothing_have_the_evidence_of_noise() -> None:
    labels = np.arange(20) % 2
    null = 0.5 * (-np.log(0.5) - 1 - np.log(2 * np.pi))  # half of the targets are 1
    assert logme(np.zeros((20, 3)), labels) == pytest.approx(null)
    assert logme(np.ones((20, 1)), labels) > null  # a constant knows the mean


def test_labels_that_are_a_linear_function_of_the_features_have_no_bound() -> None:
    labels = np.arange(30) % 3
    features = np.eye(3)[labels] + 0.0
    assert logme(features, labels) == np.inf
    wide = np.hstack([features, np.random.default_rng(0).normal(size=(30, 40))])
    assert np.isfinite(logme(wide, labels))  # any label is a linear function of these: no evidence


def test_public_name_and_refusals() -> None:
    features, labels = planted(20, 4)
    assert mt.numerics.logme(features, labels) == logme(features, labels)
    with pytest.raises(AttributeError, match="no attribute 'lgme'; it has logme"):
        _ = mt.numerics.lgme
    with pytest.raises(Unmeasurable, match="these 20 images have 1"):
        logme(features, np.zeros(20, dtype=int))
    features[3, 1] = np.nan
    with pytest.raises(Unmeasurable, match="not finite"):
        logme(features, labels)
    with pytest.raises(Unmeasurable, match="not finite"):
        log_evidence(features, np.ones((20, 1)))
