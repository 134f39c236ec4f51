"""Arrays of limits, domination and weights: there only where they were asked for."""

import numpy as np
import pytest

from microtome.analyses.compare.choice_arrays import choice_panels, domination_arrays, limit_arrays, weight_arrays
from microtome.analyses.compare.decision import Decision
from microtome.analyses.compare.domination import DominatedPair
from microtome.analyses.compare.limits import judge_limit, parse_limit
from microtome.analyses.compare.named_criteria import CriterionColumn, parse_criterion
from microtome.analyses.compare.recommending import Recommendation
from microtome.analyses.compare.weighing import weigh
from microtome.finding import Finding
from microtome.numerics.statistics.weight_regions import regions_of_weight

NOTHING = Recommendation(Decision(np.array([1.0, 2.0]), "a", "r."), np.arange(2), None, [], "")


def column(name: str, values: list[float]) -> CriterionColumn:
    unknown = np.full(2, np.nan)
    return CriterionColumn(parse_criterion(name, "x"), "1", False, np.array(values), unknown, unknown, True, False, True)


def test_nothing_is_shown_that_nobody_asked_for() -> None:
    assert limit_arrays(NOTHING, ["a", "b"], 10) == domination_arrays([], ["a"]) == weight_arrays(NOTHING, ["a", "b"]) == {}
    assert choice_panels(Finding(analysis="compare", arrays={})) == []


def test_what_is_shown() -> None:
    columns = [column("params", [1.0, 4.0]), column("operations", [4.0, 1.0])]
    made = weigh(columns, [3, 1])
    regions = {each.name: regions_of_weight(made.utilities, made.weights, k) for k, each in enumerate(columns)}
    judged = judge_limit(parse_limit("max_params", "2"), columns[0])
    whole = NOTHING._replace(judgements=[judged], weighing=made, regions=regions)
    arrays = weight_arrays(whole, ["a", "b"])
    assert arrays["utility"].values.tolist() == [0.75, 0.25] and arrays["weight"].values.tolist() == [0.75, 0.25]
    assert arrays["first_network"].values.tolist() == ["b", "a", "a", "b"]
    assert arrays["first_network"].part.values.tolist()[0] == "params 0% to 50.0%"
    curve = arrays["by_weight_0"]
    assert curve.sel(specimen="a").values[[0, 50, 100]].tolist() == pytest.approx([0, 0.5, 1])
    limits = limit_arrays(whole, ["a", "b"], 10)["limits"]
    assert limits.measure.values.tolist() == ["params ≤ 2"] and limits.values.tolist() == [["kept: 1"], ["missed: 4"]]
    beaten = domination_arrays([DominatedPair(1, 0, ("latency",))], ["a", "b"])["dominated_by"]
    assert beaten.values.tolist() == ["no network", "a (not significant in latency)"]
    finding = Finding(analysis="compare", arrays=arrays | {"limits": limits, "dominated_by": beaten},
                      origin={"facts": {"front criteria": ["params", "operations"]}})  # fmt: skip
    titles = [panel.title for panel in choice_panels(finding)]
    assert titles[:3] == ["Limits", "Dominated networks", "Utility by your weights"] and len(titles) == 6
    assert "Your weight of params: 75.0%." in choice_panels(finding)[4].note
