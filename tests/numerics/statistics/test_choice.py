"""Who is best on the same images: by hand where it is certain, by the binomial distribution where it is not."""

import numpy as np
import pytest
from scipy.stats import norm

from microtome.numerics.statistics.choice import win_fractions


def test_equal_candidates_share_the_wins_and_a_clear_loser_has_none() -> None:
    right = np.ones((3, 40))
    right[2, :30] = 0
    assert win_fractions(right).tolist() == [0.5, 0.5, 0]


def test_the_fraction_is_the_probability_that_more_images_are_drawn_where_only_this_one_is_right() -> None:
    """The first alone is right on 30 of 100 images, the second alone on 24: 6 more on average, of variance 54 - 0.06 * 6."""
    right = np.ones((2, 100))
    right[1, :30] = right[0, 30:54] = 0
    first, second = win_fractions(right, draws=20_000)
    assert first == pytest.approx(norm.cdf(6 / np.sqrt(54 - 0.36)), abs=0.01) and first + second == pytest.approx(1)


def test_images_without_an_answer_count_for_nobody() -> None:
    right = np.array([[1.0, 0, 1, 1], [1, 0, np.nan, 1]])
    assert win_fractions(right).tolist() == [0.5, 0.5]  # the third image would speak for the first


def test_no_image_at_all_gives_no_number() -> None:
    assert np.isnan(win_fractions(np.full((2, 3), np.nan))).all()
