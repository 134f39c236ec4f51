"""Arrays of all networks: gaps where a network was not judged, ratios only where times were taken in turn."""

import numpy as np
import pytest

from microtome.analyses.compare.criteria import Evidence
from microtome.analyses.compare.decision import Decision
from microtome.analyses.compare.network_arrays import latency_arrays, spread_arrays, table_arrays
from microtome.analyses.compare.prices import Prices
from microtome.analyses.compare.prior import Prior
from microtome.analyses.compare.recommending import Networks, Recommendation
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.numerics.statistics.equivalence import compare_paired
from microtome.numerics.statistics.paired_ratios import paired_ratios

RIGHT = np.array([[1.0] * 20, [np.nan] * 20, [1.0] * 10 + [0.0] * 10])


def networks() -> Networks:
    finding = Finding(analysis="cost", arrays={"x": array([1.0], ("rank",), "1")}, key_numbers=(KeyNumber(name="parameters", value=5),),
                      origin={"specimen": {"name": "a", "family": "deeper"}})  # fmt: skip
    evidence = Evidence("own head", np.array([True, False, True]))
    return Networks(["a", "b", "c"], {name: {"cost": finding} for name in "abc"}, np.ones(3, bool), evidence, RIGHT)


def recommendation() -> Recommendation:
    judged = np.array([0, 2])
    return Recommendation(
        Decision(np.array([1, np.nan, 2]), "a", "r.", 0), judged, compare_paired(RIGHT[judged]), [], "own head"
    )


def test_losses_and_ranks_are_those_of_the_judged() -> None:
    arrays = spread_arrays(networks(), recommendation(), 0)
    assert arrays["behind"].values.tolist() == pytest.approx([0, np.nan, 0.5], nan_ok=True)
    assert arrays["wins"].values.tolist() == pytest.approx([1, np.nan, 0], nan_ok=True)
    nobody = recommendation()._replace(paired=None)
    assert np.isnan(spread_arrays(networks(), nobody, 0)["wins"].values).all()


def test_the_table_has_the_prior_behind_what_was_measured() -> None:
    prices = Prices("size", np.array([5.0, 5, 5]), {})
    prior = Prior("r.csv", {"top1": np.array([0.7, np.nan, np.nan])}, [])
    arrays = table_arrays(networks(), prior, prices, ("parameters", "1"), recommendation(), np.zeros(3), np.ones(3, bool))
    assert arrays["table"].criterion.values.tolist() == ["parameters (1)", "top1 (prior) (fraction)"]
    assert arrays["table"].values[0].tolist() == [5, 0.7] and arrays["family"].values.tolist() == ["deeper"] * 3
    assert arrays["score"].attrs["title"] == "own head"


def test_ratios_of_latencies_in_turn() -> None:
    times = np.array([[1.0] * 9, [2.0] * 9, [4.0] * 9])
    prices = Prices("time", times[:, 0], {}, paired_ratios(times))
    arrays = latency_arrays(prices, ["a", "b", "c"], np.array([0, 2]), 1)
    assert arrays["latency_over_best"].values.tolist() == pytest.approx([0.25, 0.5, 1]), "best is the second of the judged, c"
    assert "latency_over_best" not in latency_arrays(prices, ["a", "b", "c"], np.array([0, 2]), None)
    assert latency_arrays(prices._replace(latency=None), ["a", "b", "c"], np.array([0, 2]), 1) == {}
