"""Distance over training: exact zeros, the debiased CKA of one batch, the jackknife by hand, jumps, settling."""

import numpy as np
import pytest
import torch

from cka_oracle import debiased_cka
from microtome.numerics.statistics.cka import gram_matrix, u_centered
from microtome.numerics.statistics.drift import cka_drift, jump_rate, settling_point


def centred(features: np.ndarray, batch: int) -> np.ndarray:
    """Rows of U-centred Gram matrices, batch by batch, padded to `batch`."""
    rows = np.zeros((len(features), batch))
    for start in range(0, len(features), batch):
        part = torch.from_numpy(features[start : start + batch])
        rows[start : start + len(part), : len(part)] = u_centered(gram_matrix(part)).numpy()
    return rows


def test_the_same_features_are_exactly_no_distance_apart():
    rows = centred(np.random.default_rng(0).normal(size=(22, 5)), 8)
    assert cka_drift(rows, rows.copy(), np.arange(22) // 8).value == 0
    rows = centred(np.random.default_rng(0).normal(size=(70, 5)), 70)
    assert cka_drift(rows, rows.copy(), np.zeros(70, int)) == (0.0, 0.0, 0.0)


def test_one_batch_is_debiased_cka():
    random = np.random.default_rng(1)
    one, two = random.normal(size=(12, 6)), random.normal(size=(12, 9))
    two[:, :6] += one
    found = cka_drift(centred(one, 12), centred(two, 12), np.zeros(12, int))
    assert found.value == pytest.approx(1 - float(debiased_cka(torch.from_numpy(one), torch.from_numpy(two))), abs=1e-12)
    assert np.isnan(found.low)


def test_several_batches_are_summed_and_left_out_one_by_one():
    random = np.random.default_rng(2)
    one, batch = random.normal(size=(78, 6)), np.arange(78) // 8
    two = one + 0.5 * random.normal(size=(78, 6))
    left, right = centred(one, 8), centred(two, 8)

    def value(kept):
        def hsic(x, y):
            return sum(
                (x[batch == b] * y[batch == b]).sum() / ((batch == b).sum() - 3) for b in kept
            )  # HSIC_1 times the images

        return 1 - hsic(left, right) / np.sqrt(hsic(left, left) * hsic(right, right))

    found = cka_drift(left, right, batch)
    assert found.value == pytest.approx(value(range(10)), abs=1e-12)
    without = np.array([value([b for b in range(10) if b != out]) for out in range(10)])
    error = np.sqrt(9 / 10 * ((without - without.mean()) ** 2).sum())
    assert found.high - found.value == pytest.approx(2.262157 * error, rel=1e-6)  # Student, 9 degrees of freedom
    shuffled = cka_drift(left, centred(random.permutation(two), 8), batch)
    assert shuffled.value > 0.5 > found.value


def test_features_that_do_not_vary_have_no_distance():
    rows = centred(np.random.default_rng(0).normal(size=(8, 5)), 8)
    assert np.isnan(cka_drift(rows, np.zeros_like(rows), np.zeros(8, int)).value)


def test_jumps_by_hand():
    before, after = np.array([3, 3, 5, -1, 2]), np.array([3, 4, 5, 1, -1])
    share, chance = jump_rate(before, after)  # three units have an image on both sides: 3→3, 3→4, 5→5
    assert share == pytest.approx(1 / 3)
    assert chance == pytest.approx(1 - (2 / 3 * 1 / 3 + 1 / 3 * 1 / 3))
    assert jump_rate(before, before)[0] == 0
    assert np.isnan(jump_rate(np.array([-1, -1]), np.array([1, 2]))).all()


def test_settled_is_the_first_place_from_which_the_curve_stays():
    assert settling_point(np.array([1.0, 0.05, 0.3, 0.1, 0.0]), 0.1) == 3
    assert settling_point(np.array([0.0, 0.0, 0.0]), 0.1) == 0
    assert settling_point(np.array([0.9, 0.5, 0.0]), 0.1) == 2
    assert settling_point(np.array([0.0, np.nan, 0.0]), 0.1) == 2
