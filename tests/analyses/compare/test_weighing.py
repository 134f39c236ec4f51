"""Preferences: words, utilities and gaps by hand; how often a network is wrongly called better; images that would decide."""

import numpy as np
import pytest

from microtome.analyses.compare.named_criteria import ACCURACY, CriterionColumn, parse_criterion
from microtome.analyses.compare.weighing import (
    first_rate_in_bootstrap,
    parse_preferences,
    utility_gap,
    weigh,
)
from microtome.errors import BadOption, UnknownName
from microtome.numerics.statistics.equivalence import compare_paired


def accuracy(values: np.ndarray) -> CriterionColumn:
    unknown = np.full(len(values), np.nan)
    return CriterionColumn(parse_criterion(ACCURACY, "x"), "fraction", True, values, unknown, unknown, False, True, False)


def cost(values: list[float], half: float = np.nan, name: str = "params") -> CriterionColumn:
    middle = np.array(values, dtype=float)
    return CriterionColumn(
        parse_criterion(name, "x"), "1", False, middle, middle - half, middle + half, bool(np.isnan(half)), False, True
    )


def words(*given: str, price: str = "time") -> dict[str, float]:
    return {criterion.name: weight for criterion, weight in parse_preferences(given, price)}


def test_what_counts_without_being_named() -> None:
    assert words() == {}
    assert words("robustness=2") == {"accuracy": 1, "batch_latency": 1, "robustness": 2}
    assert words("robustness=2", price="size") == {"accuracy": 1, "params": 1, "robustness": 2}
    assert words("latency=0.5") == {"accuracy": 1, "latency": 0.5}, "another cost takes the place of the default one"
    assert words("accuracy=0", "params=1") == {"params": 1}
    assert words("features.zeros", "most=1", "params=2") == {"accuracy": 1, "features.zeros, most": 1, "params": 2}


@pytest.mark.parametrize("given", ["accuracy", "accuracy=x", "accuracy=-1", "=2", "accuracy=inf"])
def test_bad_words_are_one_sentence(given: str) -> None:
    with pytest.raises(BadOption, match="for example robustness=2"):
        words(given)


def test_other_bad_preferences() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'robustness'"):
        words("robustnes=2")
    with pytest.raises(BadOption, match="twice"):
        words("latency=1", "latency=2")
    with pytest.raises(BadOption, match="weight 0"):
        words("accuracy=0", "params=0")


def test_utilities_by_hand() -> None:
    """90% and 80%; 1, 2 and 4 times the parameters are 0, 1 and 2 doublings: of 2, so 1, 1/2 and 0."""
    made = weigh([accuracy(np.array([0.9, 0.8, 0.85])), cost([4.0, 1.0, 2.0])], [1, 3])
    assert made.weights.tolist() == [0.25, 0.75]
    np.testing.assert_allclose(made.utilities, [[1, 0], [0, 1], [0.5, 0.5]])
    np.testing.assert_allclose(made.totals, [0.25, 0.75, 0.5])
    near = weigh([accuracy(np.array([0.9, 0.895])), cost([1.0, 1.1])], [1, 1])
    np.testing.assert_allclose(near.utilities, [[1, 1], [0.9, 1 - np.log2(1.1)]]), "small differences stay small"


def test_the_gap_of_an_exact_cost_is_exact_and_that_of_accuracy_is_the_paired_interval() -> None:
    right = np.stack([np.arange(400) < 380, np.roll(np.arange(400) < 340, 30)]).astype(float)
    paired = compare_paired(right)
    made = weigh([accuracy(paired.accuracy), cost([4.0, 1.0])], [1, 1])
    gap = utility_gap(made, 0, 1, paired).gap
    worth = 0.5 / (0.95 - 0.85)
    assert gap.value == pytest.approx(0.5 - 0.5)
    assert gap.low == pytest.approx(worth * paired.low[1, 0] - 0.5) and gap.high == pytest.approx(
        worth * paired.high[1, 0] - 0.5
    )


def test_the_gap_of_times_by_hand() -> None:
    """1 and 4 ms, each ± 1/2 ms: 2 doublings; ends 0.5 and 1.5, 3.5 and 4.5, so in doublings -1, 0.585, 1.807, 2.170."""
    made = weigh([cost([1.0, 4.0], 0.5, "latency")], [1])
    gap = utility_gap(made, 0, 1, None)
    assert gap.gap.value == pytest.approx(1)
    assert gap.gap.low == pytest.approx(1 - np.hypot(np.log2(1.5), 2 - np.log2(3.5)) / 2)
    assert gap.gap.high == pytest.approx(1 + np.hypot(1, np.log2(4.5) - 2) / 2)
    assert gap.images_needed(100) is None and gap.least_certain == "latency"


def test_images_that_would_decide_by_hand() -> None:
    """The gap is g and accuracy leaves h below it: n images decide once h·sqrt(n0/n) is below g."""
    right = np.stack([np.arange(100) < 95, np.roll(np.arange(100) < 93, 50)]).astype(float)
    paired = compare_paired(right)
    made = weigh([accuracy(paired.accuracy), cost([1.0, 1.2])], [1, 1])
    gap = utility_gap(made, 0, 1, paired)
    assert gap.gap.low < 0 < gap.gap.value
    needed = gap.images_needed(100)
    assert needed == int(np.ceil(100 * (gap.below["accuracy"] / gap.gap.value) ** 2))
    assert gap.least_certain == "accuracy"


def test_stability_by_hand_and_without_images() -> None:
    same = np.ones((2, 50))
    made = weigh([accuracy(np.ones(2)), cost([1.0, 2.0])], [1, 1])
    assert first_rate_in_bootstrap(made, same, None).tolist() == [1, 0]
    right = np.stack([np.arange(60) < 40, np.arange(60) >= 20]).astype(float)
    made = weigh([accuracy(right.mean(axis=1))], [1])
    rate = first_rate_in_bootstrap(made, right, None, seed=1)
    assert rate.sum() == pytest.approx(1) and abs(rate[0] - 0.5) < 0.06
    by_class = first_rate_in_bootstrap(made, right, np.repeat([0, 1, 2], 20), seed=1)
    assert by_class.sum() == pytest.approx(1)


@pytest.mark.parametrize(("candidates", "images"), [(2, 100), (2, 400), (5, 200)])
def test_a_network_is_rarely_called_better_by_the_weights_where_it_is_not(candidates: int, images: int) -> None:
    """Accuracies that balance the cost exactly: all true sums are equal, so every 'significantly above' is wrong; at most 5%."""
    random = np.random.default_rng(candidates + images)
    draws, wrong = 1000, 0
    doublings = np.linspace(0, 1, candidates)
    true = 0.80 + 0.05 * doublings  # scaled over 5 points and one doubling, each weight a half
    sizes = cost(list(2.0**doublings))
    for _ in range(draws):
        right = (random.random((candidates, images)) < true[:, None]).astype(float)
        paired = compare_paired(right)
        # the scale is that of the true accuracies, as in a large sample
        made = weigh([accuracy(true), sizes], [1, 1])
        totals = made.totals + made.weights[0] * made.worth[0] * (paired.accuracy - true)
        utilities = made.utilities + np.outer(made.worth[0] * (paired.accuracy - true), [1, 0])
        made = made._replace(utilities=utilities)
        first = int(np.argmax(totals))
        wrong += all(utility_gap(made, first, other, paired).gap.low > 0 for other in range(candidates) if other != first)
    assert wrong / draws <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)
