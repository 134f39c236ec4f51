"""The level of the intervals, by simulation: few draws of the cases of docs/coverage.md, seeded."""

import numpy as np
import pytest

from microtome.numerics.statistics.equivalence import compare_paired
from microtome.numerics.statistics.intervals import Interval, mean_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval, proportion_interval

DRAWS = 400
SLACK = 2 * np.sqrt(0.05 * 0.95 / DRAWS)  # two standard errors of a rate of 5%


def coverage(found: list[Interval], truth: float) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize("count", [3, 8])
def test_few_values_have_no_interval_of_a_mean_and_fractions_keep_their_level(count: int) -> None:
    """The percentile bootstrap covered 73% of 3 normal values and 88% of 8."""
    random = np.random.default_rng(count)
    assert all(np.isnan(mean_interval(random.normal(size=some))[1:]).all() for some in (count, 10, 19) for _ in range(20))
    right = [proportion_interval(int(random.binomial(count, 0.9)), count) for _ in range(DRAWS)]
    assert coverage(right, 0.9) >= 0.95 - SLACK
    between = [bounded_mean_interval(random.beta(5, 0.5, count), draws=500) for _ in range(DRAWS)]
    assert coverage(between, 10 / 11) >= 0.95 - SLACK


@pytest.mark.parametrize("count", [20, 50])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_the_interval_of_a_mean_keeps_its_level(count: int, shape: str) -> None:
    random = np.random.default_rng(count)
    draw, truth = (random.normal, 0.0) if shape == "normal" else (random.exponential, 1.0)
    found = [mean_interval(draw(size=count), draws=500, seed=seed) for seed in range(DRAWS)]
    assert 0.93 - SLACK <= coverage(found, truth) <= 0.97 + SLACK


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("ends", [(0.85, 0.85), (0.6, 0.95)])
def test_all_differences_are_held_together(count: int, ends: tuple[float, float]) -> None:
    """200 images: every one of the 10 or 45 true differences lies in its interval in at least 93% of runs."""
    random = np.random.default_rng(count)
    chance = np.linspace(*ends, count)
    truth = chance[None, :] - chance[:, None]
    held = 0
    for _ in range(DRAWS):
        found = compare_paired((random.random((count, 200)) < chance[:, None]).astype(float))
        held += bool(((found.low <= truth + 1e-9) & (truth <= found.high + 1e-9)).all())
    assert held / DRAWS >= 0.95 - SLACK
