"""Statistics of gates: by hand, against explicit loops and scipy's one-way analysis of variance, and under shuffled labels."""

import math

import numpy as np
import pytest
from scipy.stats import f_oneway

from microtome.numerics.graph.excitation import class_means, explained_variance, gate_sums, summarise_gates


def stacked(gates: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.unique(labels)
    return np.stack([gate_sums(gates[labels == one]) for one in kinds]), np.array(
        [(labels == one).sum() for one in kinds], float
    )


def test_by_hand() -> None:
    """Two classes of two images, one unit: 0.2, 0.4 and 0.6, 0.8: between 4·0.04, within 4·0.01, so η² = 0.8."""
    told = explained_variance(*stacked(np.array([[0.2], [0.4], [0.6], [0.8]]), np.array([0, 0, 1, 1])))
    assert told.share == pytest.approx(0.8)
    assert told.chance == pytest.approx(1 / 3)
    assert told.beyond == pytest.approx((0.8 - 1 / 3) / (2 / 3))


def test_against_explicit_loops_and_scipy() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [5, 8, 4])
    gates = draw.random((17, 6)) + 0.2 * labels[:, None] * np.array([0, 0, 1, 1, 3, 3])
    between = whole = 0.0
    p = []
    for unit in range(6):
        for label in range(3):
            mine = gates[labels == label, unit]
            between += len(mine) * (mine.mean() - gates[:, unit].mean()) ** 2
        whole += sum((value - gates[:, unit].mean()) ** 2 for value in gates[:, unit])
        p.append(f_oneway(*(gates[labels == label, unit] for label in range(3))).pvalue)
    told = explained_variance(*stacked(gates, labels))
    assert told.share == pytest.approx(between / whole, rel=1e-9)
    assert told.telling == pytest.approx(np.mean(np.array(p) < 0.01))
    # Kelley's ε², in the form that is usually printed
    assert told.beyond == pytest.approx(1 - (whole - between) / (17 - 3) / (whole / (17 - 1)), rel=1e-9)


def test_shuffled_labels_give_what_chance_says() -> None:
    draw = np.random.default_rng(1)
    gates, labels = draw.random((30, 40)), np.repeat(np.arange(10), 3)
    shares = [explained_variance(*stacked(gates, draw.permutation(labels))) for _ in range(60)]
    assert np.mean([one.share for one in shares]) == pytest.approx(9 / 29, abs=0.01)  # η² alone looks like a third explained
    assert abs(np.mean([one.beyond for one in shares])) < 0.015


def test_gates_that_never_vary_and_single_classes() -> None:
    still = np.full((6, 2), 0.7, dtype=np.float32)
    assert math.isnan(explained_variance(*stacked(still, np.array([0, 0, 0, 1, 1, 1]))).share)
    mixed = np.concatenate([still, np.arange(6, dtype=np.float32)[:, None] / 6], 1)
    assert explained_variance(*stacked(mixed, np.array([0, 0, 0, 1, 1, 1]))).share > 0.5  # the unit that varies decides
    assert summarise_gates(*stacked(mixed, np.zeros(6))).still == 2
    assert math.isnan(explained_variance(*stacked(mixed, np.zeros(6))).share)
    alone = explained_variance(*stacked(mixed, np.arange(6)))  # one image a class: all variance is between
    assert alone.share == pytest.approx(1.0) and math.isnan(alone.beyond)
    perfect = explained_variance(*stacked(np.array([[0.1], [0.1], [0.9], [0.9]]), np.array([0, 0, 1, 1])))
    assert perfect.share == pytest.approx(1.0) and perfect.beyond == pytest.approx(1.0) and perfect.telling == 1.0


def test_gist_by_hand() -> None:
    gates = np.array([[0.95, 0.05, 0.5, 1.5], [0.99, 0.01, 0.95, 0.5]])
    told = summarise_gates(*stacked(gates, np.array([0, 1])))
    assert told.mean == pytest.approx(gates.mean())
    assert (told.open, told.shut, told.outside) == (4 / 8, 2 / 8, 1 / 8)
    assert (told.always_open, told.never_open) == (1, 1)
    assert told.across_units == pytest.approx(gates.mean(0).std())
    assert told.across_images == pytest.approx(np.sqrt(gates.var(0).mean()))


def test_means_and_deviations_within_classes() -> None:
    draw = np.random.default_rng(2)
    gates, labels = draw.random((9, 3)), np.array([0, 0, 1, 1, 1, 1, 2, 2, 2])
    mean, deviation = class_means(*stacked(gates, labels))
    for label in range(3):
        np.testing.assert_allclose(mean[label], gates[labels == label].mean(0))
        np.testing.assert_allclose(deviation[label], gates[labels == label].std(0), atol=1e-12)
