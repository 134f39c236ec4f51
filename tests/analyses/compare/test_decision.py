"""A cheaper network is chosen only where the images show that it loses at most the margin."""

import numpy as np

from microtome.analyses.compare.decision import Decision, decide
from microtome.numerics.statistics.equivalence import compare_paired

NAMES = ["cheap", "dear"]


def decision(cheap: np.ndarray, dear: np.ndarray, price: tuple[float, float] = (1.0, 4.0), margin: float = 0.02) -> Decision:
    paired = compare_paired(np.stack([cheap, dear]))
    return decide(NAMES, np.arange(2), paired, np.array(price), np.array([True, True]), margin)


def answers(images: int, wrong: int) -> np.ndarray:
    right = np.ones(images)
    right[:wrong] = 0
    return right


def test_equal_answers_on_many_images_choose_the_cheaper() -> None:
    found = decision(answers(2000, 200), answers(2000, 198))
    assert found.choice == "cheap" and found.rank.tolist() == [1, 2]
    assert found.reason.startswith("Choose cheap: 90.0% on 2000 images, cheaper and at most ")


def test_few_images_decide_nothing_and_a_clear_loss_the_other_way() -> None:
    few = decision(answers(20, 2), answers(20, 1))
    assert few.choice == "dear" and few.reason.startswith("Not enough evidence for a cheaper network than dear")
    clear = decision(answers(2000, 600), answers(2000, 100))
    assert clear.choice == "dear" and "significantly more accurate than every cheaper network" in clear.reason


def test_costs_within_a_quarter_are_equal() -> None:
    found = decision(answers(2000, 200), answers(2000, 100), price=(1.0, 1.2), margin=0.2)
    assert found.choice == "dear" and found.reason.endswith("none is more than a quarter cheaper.")


def test_nothing_trained_or_judged_or_only_one() -> None:
    paired, price = compare_paired(np.stack([answers(50, 5)])), np.array([1.0, 2.0])
    trained = np.array([True, True])
    assert "0 of these networks are trained" in decide(NAMES, np.arange(2), paired, price, ~trained, 0.02).reason
    assert "0 networks have an accuracy" in decide(NAMES, np.arange(0), None, price, trained, 0.02).reason
    alone = decide(NAMES, np.array([1]), paired, price, trained, 0.02)
    assert alone.choice == "" and "only 1 network could be judged, dear" in alone.reason
    assert np.isnan(alone.rank[0]) and alone.rank[1] == 1
