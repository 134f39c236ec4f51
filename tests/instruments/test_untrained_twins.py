"""Verdicts against several twins, by hand, and their arrays put together."""

import numpy as np
import xarray as xr

from microtome.instruments.untrained_twins import doubts_about_twins, over_twins, stack_twins, verdicts

TWINS = np.array([[1.0, 1.0], [1.1, 1.1], [0.9, 0.9], [1.05, 1.05], [0.95, 0.95]])


def test_a_value_beyond_every_twin_by_the_prediction_interval() -> None:
    # std of the five is 0.079; Student's 2.776 times 0.079 times sqrt(1.2) is 0.240: 1.24 is the bound above
    assert verdicts([1.2, 1.3], [1.4, 1.4], TWINS) == ["within the twins' range", "above all twins"]
    assert verdicts([0.1, 0.1], [0.7, 0.8], TWINS) == ["below all twins", "within the twins' range"]
    assert verdicts([9.0, 9.0], [9.0, 9.0], TWINS, "trained") == ["no verdict"] * 2
    assert verdicts([9.0, 9.0], [9.0, 9.0], TWINS[:1]) == ["within the twins' range"] * 2  # nothing from one twin


def test_arrays_over_twins_are_mean_smallest_and_largest() -> None:
    found = [{"twin_x": xr.DataArray([1.0 * n, 2.0], dims="layer"), "seen": xr.DataArray(n)} for n in (1, 2, 6)]
    arrays = over_twins(found, same=["seen"])
    assert arrays["twin_x"].values.tolist() == [3, 2]
    assert (arrays["twin_x_low"].values[0], arrays["twin_x_high"].values[0]) == (1, 6)
    assert int(arrays["seen"]) == 1 and "seen_low" not in arrays
    assert stack_twins(found, "twin_x").tolist() == [[1, 2], [2, 2], [6, 2]]


def test_a_doubt_begins_above_five_per_cent() -> None:
    assert doubts_about_twins(None) == doubts_about_twins({"unchanged": 0.05}) == []
    assert doubts_about_twins({"unchanged": 0.25})[0].startswith("25.0% of the untrained twins' weights")
