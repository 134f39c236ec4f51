"""Rankings by hand: gains, verdicts against every baseline, losses against the best, too few images."""

import numpy as np
import pytest

from microtome.instruments.faithfulness.ranking import BETTER, UNKNOWN, enough_images, gain_interval, rank_methods

TITLES = {"random": "Random map", "centre": "Centre blob", "good": "Good", "middling": "Middling", "bad": "Bad"}
BASES = ("random", "centre")


def scores(count: int = 9) -> dict[str, np.ndarray]:
    steps = np.arange(count) / 100
    return {
        "good": 0.6 + steps, "middling": np.where(np.arange(count) % 2, 0.5, 0.1) + steps, "bad": -0.3 + steps,
        "random": 0.0 + steps, "centre": 0.2 + steps,
    }  # fmt: skip


def test_gains_and_verdicts_by_hand() -> None:
    ranking = rank_methods(scores(), BASES, TITLES)
    assert [standing.name for standing in ranking.standings] == ["good", "middling", "bad"]
    assert ranking.baseline == "centre" and ranking.images == 9
    assert ranking.baseline_gains["random"] == pytest.approx((-0.2,) * 3) and ranking.baseline_gains["centre"] == (0, 0, 0)
    good, middling, bad = ranking.standings
    assert good.gain == pytest.approx((0.4, 0.4, 0.4)) and good.over["random"].value == pytest.approx(0.6)
    assert good.verdict == BETTER and good.beats_all and not good.warns and not good.is_worse
    # five of nine lie 0.1 below the centre blob, four 0.3 above it
    assert middling.gain == pytest.approx((-0.1, -0.1, 0.3))
    assert middling.verdict == "not distinguishable from the centre blob" and middling.warns and middling.is_worse
    assert bad.verdict == "worse than the centre blob" and bad.loss.value == pytest.approx(0.9)
    assert ranking.of("bad") is bad and ranking.of("centre") is None


def test_one_unbeaten_baseline_leaves_it_open_and_a_loss_in_the_median_warns() -> None:
    given = scores()
    given["random"] = given["good"] + 0.05 * np.where(np.arange(9) % 2, 1, -1)
    standing = rank_methods(given, BASES, TITLES).of("good")
    assert standing is not None and standing.verdict == "not distinguishable from the random map" and not standing.warns
    given["random"] = given["good"] + 0.05 * np.where(np.arange(9) % 2, -1, 1)
    standing = rank_methods(given, BASES, TITLES).of("good")
    assert standing is not None and standing.verdict == "not distinguishable from the random map" and standing.warns


def test_ties_are_not_called_better() -> None:
    given = scores() | {"same": scores()["centre"]}
    standing = rank_methods(given, BASES, TITLES | {"same": "Same"}).of("same")
    assert standing is not None and standing.gain == (0, 0, 0) and standing.warns


def test_too_few_images_give_no_verdict() -> None:
    ranking = rank_methods(scores(5), BASES, TITLES)
    assert {standing.verdict for standing in ranking.standings} == {UNKNOWN}
    assert not any(standing.warns or standing.beats_all or standing.is_worse for standing in ranking.standings)
    assert not enough_images(5) and enough_images(6)


def test_the_interval_is_the_order_statistics_of_the_differences() -> None:
    other = np.zeros(9)
    assert gain_interval(np.arange(9.0), other) == (4.0, 1.0, 7.0)  # 96% lie between the second and the eighth
