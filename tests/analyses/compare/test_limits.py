"""Limits: units and verdicts by hand, who misses least, and how often one that misses the limit is taken for one that keeps it."""

import numpy as np
import pytest

from microtome.analyses.compare.limits import (
    KEPT,
    MISSED,
    UNDECIDED,
    UNMEASURED,
    joint_accuracy_intervals,
    judge_limit,
    nearest_network,
    networks_within,
    parse_limit,
)
from microtome.analyses.compare.named_criteria import CriterionColumn, parse_criterion
from microtome.errors import BadOption
from microtome.numerics.statistics.balanced import balanced_accuracy
from microtome.numerics.statistics.proportions import proportion_interval


def column(name: str, values: list[float], half: float = np.nan, unit: str = "1", larger: bool = False) -> CriterionColumn:
    middle = np.array(values, dtype=float)
    return CriterionColumn(
        parse_criterion(name, "limit"), unit, larger, middle, middle - half, middle + half, bool(np.isnan(half)), True, False
    )


@pytest.mark.parametrize(
    ("option", "text", "bound"),
    [
        ("max_latency", "20ms", 20.0), ("max_latency", "0.5 s", 500.0), ("max_params", "30M", 3e7), ("max_params", "1e6", 1e6),
        ("max_operations", "4.1G", 4.1e9), ("max_memory", "2GB", 2000.0), ("max_memory", "1MiB", 1.048576),
        ("min_accuracy", "80%", 0.8), ("min_accuracy", ".8", 0.8),
    ],
)  # fmt: skip
def test_units(option: str, text: str, bound: float) -> None:
    limit = parse_limit(option, text)
    assert limit.bound == pytest.approx(bound) and limit.upper == option.startswith("max")


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("max_latency", "20", "It needs a unit: ms, s"), ("max_latency", "20MB", "for example 20ms"), ("max_params", "many", "30M"),
        ("max_params", "-3M", "30M"), ("max_memory", "5", "It needs a unit"), ("min_accuracy", "80", "more than 100%"),
        ("min_accuracy", "0", "0.8 or 80%"),
    ],
)  # fmt: skip
def test_bad_limits_are_one_sentence(option: str, text: str, words: str) -> None:
    with pytest.raises(BadOption, match=words):
        parse_limit(option, text)


def test_verdicts_by_hand() -> None:
    """A limit of 20: 10 ± 2 keeps it, 30 ± 2 misses it, 19 and 21 ± 2 cannot be told, one was not measured."""
    judged = judge_limit(parse_limit("max_latency", "20ms"), column("latency", [10, 30, 19, 21, np.nan], 2.0, "ms"))
    assert judged.verdicts.tolist() == [KEPT, MISSED, UNDECIDED, UNDECIDED, UNMEASURED]
    assert judged.excess()[:2].tolist() == [-0.5, 0.5] and judged.text(1) == "latency 30 ms, limit 20 ms"
    exact = judge_limit(parse_limit("max_params", "20"), column("params", [20.0, 20.1]))
    assert exact.verdicts.tolist() == [KEPT, MISSED]
    least = judge_limit(parse_limit("min_accuracy", "0.8"), column("accuracy", [0.9, 0.7, 0.85], 0.06, "fraction", True))
    assert least.verdicts.tolist() == [KEPT, MISSED, UNDECIDED]
    assert networks_within([judged._replace(verdicts=judged.verdicts[:3]), least], 3).tolist() == [True, False, False]


def test_a_time_without_an_interval_cannot_be_told() -> None:
    timed = column("latency", [10.0], np.nan, "ms")._replace(exact=False)
    assert judge_limit(parse_limit("max_latency", "20ms"), timed).verdicts.tolist() == [UNDECIDED]


def test_who_misses_least() -> None:
    """a misses by 50%, b by 20% of one limit and keeps the other, c lacks a measurement; d cannot be told and comes before all."""
    params = judge_limit(parse_limit("max_params", "10"), column("params", [15.0, 12.0, np.nan, 9.0]))
    time = judge_limit(parse_limit("max_latency", "10ms"), column("latency", [5.0, 5, 5, 10], 1.0, "ms"))
    network, worst = nearest_network([params, time], np.array([0, 1, 2])) or (-1, params)
    assert network == 1 and worst.limit.criterion.name == "params" and worst.excess()[1] == pytest.approx(0.2)
    network, worst = nearest_network([params, time], np.arange(4)) or (-1, params)
    assert network == 3 and worst.verdicts[3] == UNDECIDED
    assert nearest_network([params], np.array([2])) is None


def test_joint_intervals_are_those_of_each_at_a_stricter_level() -> None:
    correct = np.array([[1.0] * 30 + [0.0] * 10, [1.0] * 20 + [0.0] * 20, [np.nan] * 40])
    low, high = joint_accuracy_intervals(correct, None)
    assert (low[0], high[0]) == proportion_interval(30, 40, 0.975)[1:] and np.isnan(low[2])
    classes = np.repeat([0, 1], 20)
    assert joint_accuracy_intervals(correct, classes)[0][1] == balanced_accuracy(correct[1], classes, 0.975).low


@pytest.mark.parametrize(("networks", "images"), [(1, 60), (5, 60), (5, 400), (12, 100)])
def test_networks_below_the_limit_are_rarely_taken_for_ones_that_keep_it(networks: int, images: int) -> None:
    """All lie just below 80%: in at most 2.5% of image sets any of them is let through, two standard errors allowed."""
    random = np.random.default_rng(networks * images)
    limit, draws, wrong = parse_limit("min_accuracy", "0.8"), 1500, 0
    level = 1 - 0.05 / networks
    lows = np.array([proportion_interval(right, images, level).low for right in range(images + 1)])
    for _ in range(draws):
        right = random.binomial(images, 0.7999, networks)
        wrong += bool((lows[right] >= limit.bound).any())
    assert wrong / draws <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / draws)
