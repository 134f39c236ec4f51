"""Ratios of times measured in turn: exact where all is steady, blind to load that hits all alike, rare to claim what is not there."""

import numpy as np
import pytest

from microtome.numerics.statistics.paired_ratios import paired_ratios, rounds_needed, turn_order


def test_load_that_changes_from_round_to_round_cancels() -> None:
    load = np.array([1, 5, 1, 5, 2, 7, 1, 1, 9.0])
    found = paired_ratios(np.stack([3 * load, 2 * load]))
    for values in found:
        assert values[0, 1] == pytest.approx(1.5)
        assert values[1, 0] == pytest.approx(2 / 3)


def test_one_disturbed_round_at_each_end_is_left_out() -> None:
    for candidates in (2, 3, 10):
        times = np.ones((candidates, rounds_needed(candidates)))
        times[0] = 2
        times[0, 0], times[0, 1] = 100, 0.01
        found = paired_ratios(times)
        assert (found.low[0, 1], found.high[0, 1]) == (2.0, 2.0)
    # nine rounds by hand: 2 · (1 + 9) / 2^9 = 0.039 of draws lie outside the second of each end, of eight 0.07
    assert rounds_needed(2) == 9


@pytest.mark.parametrize("candidates", [2, 5])
def test_equal_candidates_are_told_apart_in_at_most_6_of_100_runs(candidates: int) -> None:
    rng, rounds = np.random.default_rng(0), rounds_needed(candidates)
    wrong = 0
    for _ in range(400):
        found = paired_ratios(np.exp(rng.standard_cauchy((candidates, rounds)).clip(-5, 5)))
        wrong += bool((found.high < 1).any())
    assert wrong / 400 <= 0.06


@pytest.mark.parametrize("candidates", [2, 3, 4, 5])
def test_everyone_comes_before_everyone_else_as_often_as_after(candidates: int) -> None:
    orders = [turn_order(candidates, number) for number in range(2 * candidates)]
    assert all(sorted(order) == list(range(candidates)) for order in orders)
    before = [[sum(order.index(a) < order.index(b) for order in orders) for b in range(candidates)] for a in range(candidates)]
    assert all(before[a][b] == candidates for a in range(candidates) for b in range(candidates) if a != b)


def test_what_was_not_timed_has_no_ratio() -> None:
    found = paired_ratios(np.array([[1.0] * 9, [np.nan] * 9]))
    assert np.isnan(found.ratio[0, 1]) and np.isnan(found.low[1, 0]) and found.ratio[0, 0] == 1
