"""Concept vectors: by hand, against the fit to the features themselves, and images that do not differ."""

import numpy as np
import pytest

from microtome.numerics.probes.concept_vectors import PENALTY, concept_vector, held_out_accuracy
from microtome.numerics.probes.logistic import logistic_weights


def test_of_two_points_the_vector_is_their_difference():
    examples = np.array([True] * 3 + [False] * 3)
    features = np.where(examples[:, None], [3.0, 1.0, 0.0], [1.0, 0.0, -2.0])
    given = concept_vector(features @ features.T, examples)
    vector = given.coefficients @ features
    assert vector / np.linalg.norm(vector) == pytest.approx(np.array([2.0, 1.0, 2.0]) / 3)
    assert vector @ np.array([2.0, 0.5, -1.0]) + given.offset == pytest.approx(0, abs=1e-4)  # the boundary halves the way


@pytest.mark.parametrize("width", [4, 60])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_equals_the_fit_to_the_features(width, scale):
    draw = np.random.default_rng(width)
    features = scale * (draw.normal(size=(24, width)) + 5.0)
    examples = np.arange(24) < 10
    features[examples, 0] += scale
    given = concept_vector(features @ features.T, examples)
    spread = np.sqrt(((features - features.mean(0)) ** 2).sum(1).mean())
    weights = logistic_weights((features - features.mean(0)) / spread, examples.astype(np.int64), 2, PENALTY * 24)
    slow = (weights[:-1, 1] - weights[:-1, 0]) / spread
    assert given.coefficients @ features == pytest.approx(slow, rel=1e-3, abs=1e-4 * np.abs(slow).max())
    offset = weights[-1, 1] - weights[-1, 0] - slow @ features.mean(0)
    assert given.offset == pytest.approx(offset, rel=1e-3, abs=1e-3)


def test_images_that_do_not_differ_give_no_vector():
    given = concept_vector(np.full((6, 6), 2.0), np.arange(6) < 3)
    assert not given.coefficients.any() and given.offset == 0


def test_held_out_accuracy_is_one_for_separate_clouds_and_a_half_for_one():
    draw = np.random.default_rng(0)
    examples = np.arange(200) < 100
    cloud = draw.normal(size=(200, 5))
    apart = cloud + 20.0 * examples[:, None]
    assert held_out_accuracy(apart @ apart.T, examples) == 1.0
    assert held_out_accuracy(cloud @ cloud.T, examples) == pytest.approx(0.5, abs=0.1)
