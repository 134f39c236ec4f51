"""Paired comparisons of several candidates: by hand for a small table, and simulated error rates of the verdicts."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from microtome.numerics.statistics.equivalence import compare_paired, critical_value, score_interval


def test_the_interval_is_the_published_one() -> None:
    """Airway hyper-responsiveness, Fagerland et al. 2014, table 8: of 21 pairs 1 and 7 differ; Tango's interval -0.517 to -0.026."""
    low, high = score_interval(np.array([1.0]), np.array([7.0]), 21, 1.959964)
    assert (low[0], high[0]) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("more", "fewer", "images"), [(3, 9, 40), (0, 5, 30), (12, 12, 60), (0, 0, 20)])
def test_the_ends_are_where_the_numerical_score_test_rejects(more: int, fewer: int, images: int) -> None:
    """An independent way: the likelihood under a supposed difference is maximised numerically, not by the formula of its root."""

    def likeliest(difference: float) -> float:
        def loss(only_first: float) -> float:
            only_other, neither = only_first + difference, 1 - 2 * only_first - difference
            parts = [(more, only_other), (fewer, only_first), (images - more - fewer, neither)]
            return -sum(count * np.log(max(p, 1e-300)) for count, p in parts if count)

        least, most = max(0.0, -difference), (1 - difference) / 2
        return float(minimize_scalar(loss, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x)

    found = score_interval(np.array([float(more)]), np.array([float(fewer)]), images, 1.96)
    for end, side in zip(found, (1.96, -1.96), strict=True):
        difference = float(end[0])
        variance = images * (2 * likeliest(difference) + difference - difference**2)
        assert (more - fewer - images * difference) / np.sqrt(variance) == pytest.approx(side, abs=2e-3)


def test_two_candidates_are_a_single_comparison_and_ten_are_not() -> None:
    assert critical_value(2) == pytest.approx(1.95996, abs=1e-5)
    assert critical_value(10) == pytest.approx(4.474 / np.sqrt(2), abs=1e-3)  # the usual table of the studentised range


def test_a_candidate_right_on_ten_more_of_100_images_is_better() -> None:
    correct = np.ones((2, 100))
    correct[0, :10] = 0
    found = compare_paired(correct)
    assert found.loss[0, 1] == pytest.approx(0.1)
    assert found.worse().tolist() == [True, False]
    assert found.within(0.01).tolist() == [False, True]


def test_no_image_at_all_gives_no_number() -> None:
    found = compare_paired(np.full((2, 3), np.nan))
    assert found.images == 0
    assert np.isnan(found.low).all() and not found.worse().any() and not found.within(0.01).any()


def test_agreement_on_few_images_is_not_equality() -> None:
    few, many = (compare_paired(np.ones((2, count))) for count in (20, 2000))
    assert few.high[0, 1] > 0.05
    assert not few.within(0.01).any()
    assert many.within(0.01).all()
    assert few.images_to_decide(0, 1, 0.01) > 20


@pytest.mark.parametrize("count", [5, 10])
def test_equal_candidates_are_rarely_separated(count: int) -> None:
    """200 images, all right with probability 0.85 independently: some pair is separated in at most 6% of 600 runs."""
    rng = np.random.default_rng(count)
    wrong = [compare_paired((rng.random((count, 200)) < 0.85).astype(float)).worse().any() for _ in range(600)]
    assert np.mean(wrong) <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_a_much_worse_candidate_is_not_called_as_good_on_50_images() -> None:
    rng = np.random.default_rng(0)
    runs = [compare_paired(np.stack([rng.random(50) < 0.9, rng.random(50) < 0.8]).astype(float)) for _ in range(400)]
    assert np.mean([run.within(0.01)[1] for run in runs]) <= 0.05


def test_a_true_loss_within_the_margin_is_shown_with_enough_images() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(20000) < 0.9
    other = base ^ (rng.random(20000) < 0.002)
    found = compare_paired(np.stack([base, other]).astype(float))
    assert found.within(0.01).all()
