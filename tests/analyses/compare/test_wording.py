"""Sentences about limits and weights: the number of images that a limit takes, by the interval itself."""

import numpy as np

from microtome.analyses.compare.limits import joint_accuracy_intervals, judge_limit, parse_limit
from microtome.analyses.compare.named_criteria import CriterionColumn, parse_criterion
from microtome.analyses.compare.wording import images_for_limit, no_evidence, region_text
from microtome.finding import Finding, array
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.statistics.weight_regions import WeightRegion


def test_images_for_a_limit_are_enough_and_not_many_more() -> None:
    for bound in (0.86, 0.93):
        correct = np.array([[1.0] * 90 + [0.0] * 10])
        column = CriterionColumn(
            parse_criterion("accuracy", "x"), "fraction", True, np.array([0.9]), *(np.full((2, 1), np.nan)), False, True, False
        )
        judged = judge_limit(parse_limit("min_accuracy", str(bound)), column, joint_accuracy_intervals(correct, None))
        needed = images_for_limit(judged, 0, 100)
        assert needed is not None

        def decided(count: int, bound: float = bound) -> bool:
            interval = proportion_interval(round(count * 0.9), count)
            return interval.low >= bound or interval.high < bound

        assert decided(needed) and not decided(int(0.93 * needed))
    on_it = judge_limit(parse_limit("min_accuracy", "0.9"), column, joint_accuracy_intervals(correct, None))
    assert images_for_limit(on_it, 0, 100) is None


def test_why_nothing_is_known() -> None:
    def alone(images: dict[str, object]) -> str:
        return no_evidence(
            {"a": {"cost": Finding(analysis="cost", arrays={"x": array([1.0], ("rank",), "1")}, origin={"images": images})}}
        )

    assert "2 images of 2 classes are too few" in alone({"classes": ["x", "y"], "count": 2})
    assert "no labels" in alone({"classes": None}) and "one class, x" in alone({"classes": ["x"]})
    assert "above chance" in alone({"classes": ["x", "y"], "count": 90}) and "above chance" in alone({})


def test_regions_in_words() -> None:
    assert region_text(WeightRegion(0.0, 0.25, 1)) == "0% to 25.0%"
