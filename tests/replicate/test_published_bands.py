"""The ratio of means against its delta method; the published layers have the index of the methods page, where they are."""

import numpy as np
import pytest

from microtome.replicate.published_bands import published_directions, ratio_of_means
from shared_data import CONTEXT, needs_data

RANDOM = np.random.default_rng(0)


def test_the_ratio_of_two_means() -> None:
    over, under = RANDOM.normal(1, 0.5, 400), RANDOM.normal(2, 0.5, 300)
    value, low, high = ratio_of_means(over, under)
    assert value == pytest.approx(over.mean() / under.mean())
    error = value * np.hypot(over.std() / over.mean() / 20, under.std() / under.mean() / 300**0.5)
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.2 * error)


@needs_data
def test_published_layers() -> None:
    directions = published_directions(CONTEXT)
    assert len(directions) == 18 and sum(len(values) for values in directions.values()) == pytest.approx(7424, abs=20)
    # table of A3 in the methods page
    assert directions["Simplified-Base | 5b"].mean() == pytest.approx(0.94, abs=0.01)
    assert directions["AlexNet - modelzoo | conv5"].mean() == pytest.approx(0.28, abs=0.01)
