"""Differences over seeds and images: by hand, against scipy, and by simulation; a planted effect is found, a null is not."""

import numpy as np
import pytest
from scipy import stats

from microtome.training.experiment.differences import (
    FEW_SEEDS,
    HIGHER,
    LOWER,
    NO_SPREAD,
    UNDECIDED,
    accuracy_difference,
    image_interval,
    seed_difference,
)


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_the_interval_over_seeds_is_that_of_a_paired_t_test() -> None:
    first, second = by_seed(0.61, 0.66, 0.64, 0.71), by_seed(0.58, 0.60, 0.63, 0.62)
    difference = seed_difference(first, second)
    oracle = stats.ttest_rel(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert difference.by_seed == pytest.approx([0.03, 0.06, 0.01, 0.09])
    assert difference.over_seeds == pytest.approx((0.0475, oracle.low, oracle.high))
    # By hand: mean 0.0475, sd sqrt((0.0175² + 0.0125² + 0.0375² + 0.0425²) / 3) = 0.035, t(3, 97.5%) = 3.182; half 0.0557
    assert difference.over_seeds.low == pytest.approx(0.0475 - 3.1824 * 0.035 / 2, abs=1e-4)
    assert difference.verdict == UNDECIDED


def test_below_three_seeds_there_is_no_interval_and_no_verdict() -> None:
    difference = seed_difference(by_seed(0.9, 0.8), by_seed(0.1, 0.1))
    assert difference.over_seeds.value == pytest.approx(0.75) and np.isnan(difference.over_seeds[1:]).all()
    assert difference.verdict == FEW_SEEDS
    nothing = seed_difference({}, by_seed(0.1))
    assert nothing.by_seed == () and np.isnan(nothing.over_seeds.value) and nothing.verdict == FEW_SEEDS


def test_verdicts_follow_the_side_of_the_interval() -> None:
    zero = by_seed(0, 0, 0)
    assert seed_difference(by_seed(1.0, 1.1, 0.9), zero).verdict == HIGHER
    assert seed_difference(by_seed(-1.0, -1.1, -0.9), zero).verdict == LOWER
    assert seed_difference(by_seed(1.0, -1.1, 0.9), zero).verdict == UNDECIDED
    assert seed_difference(by_seed(5.0, 5.0, 5.0), zero).verdict == NO_SPREAD  # such as counts of parameters


def test_only_seeds_that_both_have_count() -> None:
    difference = seed_difference({0: 1.0, 2: 3.0, 3: np.nan, 4: 2.0}, {0: 0.5, 1: 9.0, 2: 1.0, 3: 1.0, 4: np.inf})
    assert difference.seeds == (0, 2) and difference.by_seed == (0.5, 2.0)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_over_seeds_holds_its_level(seeds: int) -> None:
    """Exact for normal differences: of 4000 experiments 95% ± 4 standard errors (0.0138) cover the true effect, seeds shared in pairs."""
    random = np.random.default_rng(7)
    shared, effect = random.normal(0, 5, (4000, seeds)), 0.3
    covered = 0
    for level in shared:
        reference = level + random.normal(0, 1, seeds)
        variant = level + effect + random.normal(0, 1, seeds)
        interval = seed_difference(by_seed(*variant), by_seed(*reference)).over_seeds
        covered += interval.low <= effect <= interval.high
    assert covered / 4000 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4000))


def test_a_null_is_seldom_called_an_effect_and_a_planted_one_mostly() -> None:
    """Under the null 5% ± 4 standard errors (0.0195) of 2000; three seeds see an effect of 6 spreads with a power of 0.9 or more."""
    random = np.random.default_rng(8)
    zero = by_seed(0, 0, 0)
    null = [seed_difference(by_seed(*random.normal(0, 1, 3)), zero).verdict for _ in range(2000)]
    planted = [seed_difference(by_seed(*random.normal(6, 1, 3)), zero).verdict for _ in range(200)]
    assert np.mean([verdict in (HIGHER, LOWER) for verdict in null]) == pytest.approx(0.05, abs=0.0195)
    assert np.mean([verdict == HIGHER for verdict in planted]) > 0.9  # exact power by the noncentral t: 0.985


def test_one_pair_of_networks_has_tangos_interval() -> None:
    """Tango 1998, table 1 has no such case; the oracle is his score solved with scipy for 100 images, 12 to 4."""
    first = np.zeros(100, bool)
    second = np.zeros(100, bool)
    first[:12] = True
    second[12:16] = True

    def score(supposed: float) -> float:
        more, fewer, count = 12, 4, 100
        a, b, c = 2 * count, -more - fewer + (2 * count - more + fewer) * supposed, -fewer * supposed * (1 - supposed)
        only = (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a)
        return (more - fewer - count * supposed) / np.sqrt(count * (2 * only + supposed * (1 - supposed)))

    from scipy.optimize import brentq

    low = brentq(lambda d: score(d) - stats.norm.ppf(0.975), -0.5, 0.08)
    high = brentq(lambda d: score(d) + stats.norm.ppf(0.975), 0.08, 0.5)
    assert image_interval([(first, second)]) == pytest.approx((0.08, low, high), abs=1e-6)


def test_several_pairs_are_averaged_image_by_image() -> None:
    random = np.random.default_rng(3)
    reference = {seed: random.random(400) < 0.6 for seed in (0, 1)}
    variant = {seed: right | (random.random(400) < 0.4) for seed, right in reference.items()}
    difference = accuracy_difference(variant, reference)
    each = np.mean([variant[seed].astype(float) - reference[seed] for seed in (0, 1)], 0)
    error = each.std(ddof=1) / 20
    assert difference.over_images.value == pytest.approx(each.mean()) == pytest.approx(np.mean(difference.by_seed))
    # The normal interval is the oracle; the bootstrap-t of 400 images differs from it by some per cent of its width.
    assert difference.over_images.low == pytest.approx(each.mean() - 1.96 * error, abs=0.3 * error)
    assert difference.over_images.high == pytest.approx(each.mean() + 1.96 * error, abs=0.3 * error)
    assert difference.verdict == FEW_SEEDS  # however sure the images are: two seeds do not make a claim about training


def test_images_and_seeds_answer_different_questions() -> None:
    """Each network differs surely from its pair on these images, seeds disagree on the sign: sure over images, undecided over seeds."""
    right, wrong = np.ones(400, bool), np.zeros(400, bool)
    half = np.arange(400) % 2 == 0
    variant, reference = {0: right, 1: wrong, 2: right}, {0: half, 1: half, 2: half}
    difference = accuracy_difference(variant, reference)
    assert difference.by_seed == (0.5, -0.5, 0.5) and difference.verdict == UNDECIDED
