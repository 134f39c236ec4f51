"""A contest on the same images: by hand where it is certain, by the binomial distribution where it is not."""

import numpy as np
import pytest

from microtome.numerics.statistics.choice import run_contest


def test_equal_candidates_tie_and_a_clear_loser_is_behind() -> None:
    right = np.ones((3, 40))
    right[2, :30] = 0
    found = run_contest(right)
    assert found.score.tolist() == [1, 1, 0.25]
    assert found.behind.tolist() == [0, 0, 0.75]
    assert found.wins.tolist() == [0.5, 0.5, 0]
    assert found.equal.tolist() == [True, True, False]
    # 30 of 40 resampled images are wrong: 0.75 with the standard error of a binomial fraction
    error = 1.96 * np.sqrt(0.75 * 0.25 / 40)
    assert found.behind_low[2] == pytest.approx(0.75 - error, abs=0.03)
    assert found.behind_high[2] == pytest.approx(0.75 + error, abs=0.03)


def test_images_without_an_answer_count_for_nobody() -> None:
    right = np.array([[1.0, 0, 1, 1], [0, 1, np.nan, 1]])
    assert run_contest(right).score.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_no_image_at_all_gives_no_number() -> None:
    found = run_contest(np.full((2, 3), np.nan))
    assert np.isnan([found.score, found.behind, found.wins]).all() and not found.equal.any()


def test_by_class_the_rare_class_counts_as_much():
    """One is right on the 18 images of a class, the other on the 2 of another and 10 of the first: 0.5 and 0.78."""
    classes = np.repeat([0, 1], [18, 2])
    right = np.stack([classes == 0, (np.arange(20) < 10) | (classes == 1)]).astype(float)
    assert run_contest(right, classes=classes).score.tolist() == pytest.approx([0.5, (10 / 18 + 1) / 2])
    assert run_contest(right, classes=classes).wins[1] > 0.95 > 0.05 > run_contest(right).wins[1]
