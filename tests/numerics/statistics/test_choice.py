"""Who ranks first in bootstrap samples: by hand where it is certain, by the normal distribution where it is not."""

import numpy as np
import pytest
from scipy.stats import norm

from microtome.numerics.statistics.choice import first_rank_rate


def test_equal_candidates_share_the_first_rank_and_a_clear_loser_never_has_it() -> None:
    right = np.ones((3, 40))
    right[2, :30] = 0
    assert first_rank_rate(right).tolist() == [0.5, 0.5, 0]


def test_two_candidates_right_on_different_images_rank_first_equally_often() -> None:
    """Right on 10 images each, none in common: the difference is symmetric, and 2000 draws leave an error of 1.1 points."""
    right = np.zeros((2, 40))
    right[0, :10] = right[1, 10:20] = 1
    assert first_rank_rate(right)[0] == pytest.approx(0.5, abs=0.045)


def test_the_rate_is_the_probability_that_more_images_are_drawn_where_only_this_one_is_right() -> None:
    """The first alone is right on 30 of 100 images, the second alone on 24: 6 more on average, of variance 54 - 0.06 * 6."""
    right = np.ones((2, 100))
    right[1, :30] = right[0, 30:54] = 0
    first, second = first_rank_rate(right, draws=20_000)
    assert first == pytest.approx(norm.cdf(6 / np.sqrt(54 - 0.36)), abs=0.01) and first + second == pytest.approx(1)


def test_images_without_an_answer_count_for_nobody() -> None:
    right = np.array([[1.0, 1, 0], [1, 1, np.nan]])
    assert first_rank_rate(right).tolist() == [0.5, 0.5]


def test_no_image_at_all_gives_no_number() -> None:
    assert np.isnan(first_rank_rate(np.full((2, 3), np.nan))).all()


def test_by_class_the_rare_class_counts_as_much():
    """One is right on the 18 images of a class, the other on the 2 of another and 10 of the first: 0.5 and 0.78."""
    classes = np.repeat([0, 1], [18, 2])
    right = np.stack([classes == 0, (np.arange(20) < 10) | (classes == 1)]).astype(float)
    assert first_rank_rate(right, classes=classes)[1] > 0.95 > 0.05 > first_rank_rate(right)[1]
