"""A cheaper network is chosen only where the images show that it loses at most the margin."""

import numpy as np

from microtome.analyses.compare.decision import Decision, decide, label_more
from microtome.analyses.compare.prices import Prices
from microtome.numerics.statistics.equivalence import compare_paired
from microtome.numerics.statistics.paired_ratios import paired_ratios

NAMES = ["cheap", "dear"]


def sizes(*values: float) -> Prices:
    return Prices("size", np.array(values), {"size": np.array(values), "operations": np.full(len(values), np.nan)})


def times(rounds: list[list[float]], parameters: list[float], operations: list[float]) -> Prices:
    """Latencies (network, round), timed in turn."""
    measured = np.array(rounds)
    exact = {"size": np.array(parameters), "operations": np.array(operations)}
    return Prices("time", np.median(measured, axis=1), exact, paired_ratios(measured))


def decision(cheap: np.ndarray, dear: np.ndarray, price: tuple[float, float] = (1.0, 4.0), margin: float = 0.02) -> Decision:
    paired = compare_paired(np.stack([cheap, dear]))
    return decide(NAMES, np.arange(2), paired, sizes(*price), np.array([True, True]), margin)


def answers(images: int, wrong: int) -> np.ndarray:
    right = np.ones(images)
    right[:wrong] = 0
    return right


def test_equal_answers_on_many_images_choose_the_cheaper() -> None:
    found = decision(answers(2000, 200), answers(2000, 198))
    assert found.choice == "cheap" and found.rank.tolist() == [1, 2]
    assert found.reason.startswith("Choose cheap: 90.0% on 2000 images, fewer parameters and at most ")


def test_few_images_decide_nothing_and_a_clear_loss_the_other_way() -> None:
    few = decision(answers(20, 2), answers(20, 1))
    assert few.choice == "dear" and few.reason.startswith("Not enough evidence between dear")
    clear = decision(answers(2000, 600), answers(2000, 100))
    assert clear.choice == "dear" and "significantly more accurate than every cheaper network" in clear.reason


def test_costs_within_a_quarter_are_equal() -> None:
    found = decision(answers(2000, 200), answers(2000, 100), price=(1.0, 1.2), margin=0.2)
    assert found.choice == "dear" and found.reason.endswith("none is clearly cheaper.")


def test_nothing_trained_or_judged_or_only_one() -> None:
    paired, price = compare_paired(np.stack([answers(50, 5)])), sizes(1.0, 2.0)
    trained = np.array([True, True])
    assert "none of these networks is trained" in decide(NAMES, np.arange(2), paired, price, ~trained, 0.02).reason
    assert "no network has an accuracy" in decide(NAMES, np.arange(0), None, price, trained, 0.02).reason
    alone = decide(NAMES, np.array([1]), paired, price, trained, 0.02)
    assert alone.choice == "" and "only 1 network could be judged, dear" in alone.reason
    assert np.isnan(alone.rank[0]) and alone.rank[1] == 1


STEADY, LOUD = [1.0] * 9, [1.0, 9.0, 0.2, 5.0, 1.0, 0.1, 7.0, 1.0, 0.3]
GOOD, ALIKE = answers(2000, 200), answers(2000, 198)


def choose(prices: Prices) -> Decision:
    return decide(NAMES, np.arange(2), compare_paired(np.stack([GOOD, ALIKE])), prices, np.array([True, True]), 0.02)


def test_the_reason_is_the_true_one() -> None:
    half = [0.5 * each for each in STEADY]
    assert ", lower latency and at most " in choose(times([half, STEADY], [9, 1], [9, 1])).reason
    assert ", fewer parameters and at most " in choose(times([LOUD, STEADY], [1, 9], [9, 1])).reason
    assert ", fewer operations and at most " in choose(times([LOUD, STEADY], [9, 9], [1, 9])).reason
    assert choose(times([LOUD, STEADY], [9, 9], [9, 9])).reason.endswith("the most accurate, and none is clearly cheaper.")


def test_3_percent_less_is_not_cheaper() -> None:
    """Neither by latency, though it is shown, nor by operations where latencies say nothing."""
    for prices in (times([[0.97] * 9, STEADY], [9, 9], [9, 9]), times([LOUD, STEADY], [9, 9], [97, 100])):
        found = choose(prices)
        assert found.choice == "dear" and found.reason.endswith("none is clearly cheaper.")


def test_reasons_that_form_a_circle_still_name_a_cheaper_one() -> None:
    """a is faster than c, b smaller than a, c smaller than b; c is the most accurate, so only a is cheaper than it by latency."""
    slow, between = [2.0] * 9, [0.5, 1.0, 2.0, 4.0, 1.4, 0.7, 3.0, 1.0, 2.0]
    prices = times([STEADY, between, slow], [9, 4, 1], [1, 1, 1])
    paired = compare_paired(np.stack([GOOD, GOOD, ALIKE]))
    found = decide(["a", "b", "c"], np.arange(3), paired, prices, np.array([True] * 3), 0.02)
    assert found.reason.startswith("Choose a: 90.0% on 2000 images, lower latency and at most ")


def test_images_are_asked_for_by_class() -> None:
    """60 more of 7 classes are 8.6 a class, so 9; of one class or an unknown number, 60."""
    assert label_more(300, 240, 7) == "label about 9 more images per class"
    assert label_more(300, 240, 0) == label_more(300, 240, 1) == "label about 60 more images"
    paired = compare_paired(np.stack([answers(20, 2), answers(20, 1)]))
    needed = paired.images_to_decide(0, 1, 0.02)
    assert needed is not None
    found = decide(NAMES, np.arange(2), paired, sizes(1.0, 4.0), np.array([True, True]), 0.02, classes=4)
    assert found.reason.endswith(label_more(needed, 20, 4) + ".")
