"""PARC: SciPy's Spearman correlation of the two triangles, and labels that are the features."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from microtome.errors import Unmeasurable
from microtome.numerics.transferability.agreement import feature_correlations, parc, parc_of


def test_is_spearmans_of_the_two_triangles() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(30) % 4
    features = random.normal(size=(30, 9)) + random.normal(size=(4, 9))[labels]
    pairs = np.triu_indices(30, 1)
    far = 1 - np.corrcoef(features)
    classes = 1 - np.corrcoef(np.eye(4)[labels])
    assert parc(features, labels) == pytest.approx(spearmanr(far[pairs], classes[pairs]).statistic, abs=1e-12)
    assert 0.1 < parc(features, labels) < 1


def test_features_of_one_value_correlate_with_none() -> None:
    features = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    assert feature_correlations(features) == pytest.approx(np.array([[0, 0, 0], [0, 1, -1], [0, -1, 1]]))


def test_where_all_pairs_are_alike_it_is_not_known() -> None:
    assert np.isnan(parc_of(np.ones((4, 4)), np.array([0, 1, 0, 1])))
    with pytest.raises(Unmeasurable, match="have 1"):
        parc(np.eye(3), np.zeros(3, dtype=int))
