"""Weighted sums: scaled by hand, breakpoints by hand and against a dense sweep, intervals of sums by hand and by simulation."""

from itertools import pairwise

import numpy as np
import pytest

from microtome.numerics.statistics.weight_regions import (
    WeightRegion,
    regions_of_weight,
    scale_criterion,
    total_interval,
    utilities_by_weight,
)


def test_scaling_by_hand() -> None:
    utility, unit = scale_criterion(np.array([0.5, 0.9, np.nan, 0.7]), larger_is_better=True)
    assert utility.tolist() == pytest.approx([0, 1, np.nan, 0.5], nan_ok=True) and unit == pytest.approx(2.5)
    cost, unit = scale_criterion(np.array([1.0, 2.0, 16.0]), larger_is_better=False, logarithm=True)
    assert cost.tolist() == pytest.approx([1, 0.75, 0]) and unit == pytest.approx(0.25)


def test_small_differences_stay_small() -> None:
    utility, unit = scale_criterion(np.array([0.95, 0.951]), larger_is_better=True, least_range=0.05)
    assert utility.tolist() == pytest.approx([0.98, 1]) and unit == pytest.approx(20)
    assert scale_criterion(np.array([3.0, 3.0]), larger_is_better=False)[0].tolist() == [1, 1]
    assert np.isnan(scale_criterion(np.array([np.nan, np.nan]), larger_is_better=True)[0]).all()


def test_two_candidates_by_hand() -> None:
    """Accurate and slow (1, 0) against (0.5, 1): equal where 1·w = 0.5·w + 1 - w, at two thirds."""
    regions = regions_of_weight(np.array([[1.0, 0.0], [0.5, 1.0]]), np.array([0.5, 0.5]), 0)
    assert [region.winner for region in regions] == [1, 0]
    assert (regions[0].start, regions[1].end) == (0, 1) and regions[0].end == regions[1].start == pytest.approx(2 / 3)


def test_others_keep_their_proportions() -> None:
    """At weight w of the first, the others share 1 - w as 3 to 1: the sums are w and (1 - w)·0.75, equal at 3/7."""
    regions = regions_of_weight(np.array([[1.0, 0, 0], [0, 1.0, 0]]), np.array([0.2, 0.6, 0.2]), 0)
    assert regions[0] == WeightRegion(0.0, pytest.approx(3 / 7), 1) and regions[1].winner == 0


def test_one_criterion_and_equal_candidates() -> None:
    assert regions_of_weight(np.array([[0.2], [0.9]]), np.array([1.0]), 0) == [WeightRegion(0.0, 1.0, 1)]
    assert regions_of_weight(np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([0.5, 0.5]), 1) == [WeightRegion(0.0, 1.0, 0)]
    assert regions_of_weight(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0]), 0)[0].end == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_those_of_a_dense_sweep(seed: int) -> None:
    random = np.random.default_rng(seed)
    count, criteria = int(random.integers(2, 9)), int(random.integers(2, 6))
    utilities, weights = random.random((count, criteria)), random.random(criteria)
    if seed % 3 == 0:  # coarse values: ties and lines that meet in one point
        utilities = np.round(4 * utilities) / 4
    grid = np.linspace(0, 1, 2001)
    for criterion in range(criteria):
        regions = regions_of_weight(utilities, weights, criterion)
        assert regions[0].start == 0 and regions[-1].end == 1
        assert all(a.end == b.start and a.winner != b.winner for a, b in pairwise(regions))
        sums = utilities_by_weight(utilities, weights, criterion, grid)
        others = np.delete(weights, criterion) / np.delete(weights, criterion).sum()
        slow = [[w * u[criterion] + (1 - w) * (np.delete(u, criterion) @ others) for w in grid[::100]] for u in utilities]
        np.testing.assert_allclose(sums[:, ::100], slow, atol=1e-12)
        for region in regions:
            inside = (grid >= region.start) & (grid <= region.end)
            assert (sums[region.winner, inside] >= sums[:, inside].max(axis=0) - 1e-9).all()


def test_a_sum_by_hand() -> None:
    """Two parts of the same images widen by 3 + 1, an independent one by 3: 5 together."""
    interval = total_interval([1.0, 2, 3], [-2.0, 1, 0], [1.0, 2, 7], np.array([True, True, False]))
    assert interval == pytest.approx((6.0, 1.0, 10.0))


def test_the_interval_of_a_sum_covers_whether_or_not_parts_go_together() -> None:
    random = np.random.default_rng(0)
    for correlation in (0.0, 1.0):
        common, own, time = random.standard_normal((3, 4000))
        first, second = common, correlation * common + (1 - correlation) * own
        covered = [
            total_interval([a, b, c], [a - 1.96, b - 1.96, c - 1.96], [a + 1.96, b + 1.96, c + 1.96], np.array([1, 1, 0], bool))
            for a, b, c in zip(first, second, time, strict=True)
        ]
        rate = np.mean([interval.low <= 0 <= interval.high for interval in covered])
        assert 0.945 < rate <= (0.96 if correlation else 0.995)
