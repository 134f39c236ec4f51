"""Observations of the paper: what holds, what holds in the untrained twins too, what does not apply; one twin is enough."""

from math import nan

import numpy as np

from microtome.analyses.reuse.observations import HOLDS, HOLDS_IN_BOTH, OBSERVATIONS, observation_arrays
from microtome.numerics.weights.dense_reuse import LateLean, Observations

SEEN = Observations(0.75, 0.2, 0.4, 0.1, least=3, layers=4, ratio=0.5, lean=LateLean(1.5, 0.9, 0.01))


def test_each_observation_is_judged_by_its_own_limit() -> None:
    arrays = observation_arrays(SEEN, SEEN, [SEEN._replace(evenness=0.25, least=1, lean=LateLean(1.5, 0.9, 0.2))])
    assert arrays["verdict"].criterion.values.tolist() == list(OBSERVATIONS)
    assert arrays["verdict"].values.tolist() == [HOLDS, "does not hold", HOLDS, HOLDS]
    assert arrays["measured"].values.tolist() == [0.75, 0.4, 0.75, 1.5]
    assert arrays["measured_untrained"].values.tolist() == [0.25, 0.4, 0.25, 1.5]
    assert arrays["seen"].values[0].startswith("75.0% of the sources") and "3 of 4 layers" in arrays["seen"].values[2]
    limits = SEEN._replace(evenness=0.5, lean=LateLean(1.0, 0.9, 0.01))  # no more than half; no later than early
    assert observation_arrays(limits, SEEN, [SEEN])["verdict"].values[[0, 3]].tolist() == ["does not hold"] * 2


def test_one_twin_in_which_it_holds_is_enough() -> None:
    arrays = observation_arrays(SEEN, SEEN, [SEEN._replace(evenness=0.1), SEEN])
    assert arrays["verdict"].values[0] == HOLDS_IN_BOTH
    assert arrays["untrained"].values[0].startswith("holds in 1 of 2; the first: 10.0% of the sources")


def test_what_the_network_does_not_have_does_not_apply() -> None:
    bare = Observations(nan, nan, nan, nan, least=0, layers=0, ratio=nan, lean=LateLean(nan, nan, nan))
    arrays = observation_arrays(bare, bare, [bare])
    assert arrays["verdict"].values.tolist() == ["does not apply"] * 4
    assert np.isnan(arrays["measured"].values).all() and arrays["seen"].values.tolist() == ["–"] * 4
