"""The words beside the best method."""

from microtome.analyses.faithfulness.arrays import beside_the_best
from microtome.instruments.faithfulness.ranking import Standing
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval


def standing(loss: Interval) -> Standing:
    return Standing("hirescam", UNKNOWN_INTERVAL, {}, "no verdict", loss)


def test_not_distinguishable_is_not_equal() -> None:
    words = {
        Interval(0.0, 0.0, 0.0): "the best, or the same map", Interval(0.1, 0.05, 0.2): "worse",
        Interval(0.1, -0.05, 0.2): "not significantly different", UNKNOWN_INTERVAL: "",
    }  # fmt: skip
    assert [beside_the_best(standing(loss)) for loss in words] == list(words.values())
