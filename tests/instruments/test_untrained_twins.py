"""Verdicts against several twins, by hand, and their arrays put together."""

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import microtome as mt
from microtome.instruments.untrained_twins import (
    doubts_about_twins,
    over_twins,
    split_turns,
    stack_twins,
    turn_count,
    twins_in_turn,
    twins_text,
    verdicts,
)

TWINS = np.array([[1.0, 1.0], [1.1, 1.1], [0.9, 0.9], [1.05, 1.05], [0.95, 0.95]])


def test_a_value_beyond_every_twin_by_the_prediction_interval() -> None:
    # std of the five is 0.079; Student's 2.776 times 0.079 times sqrt(1.2) is 0.240: 1.24 is the bound above
    assert verdicts([1.2, 1.3], [1.4, 1.4], TWINS) == ["within the twins' range", "above all twins"]
    assert verdicts([0.1, 0.1], [0.7, 0.8], TWINS) == ["below all twins", "within the twins' range"]
    assert verdicts([9.0, 9.0], [9.0, 9.0], TWINS, "trained") == ["no verdict"] * 2
    assert verdicts([9.0, 9.0], [9.0, 9.0], TWINS[:1]) == ["no verdict"] * 2  # nothing from one twin
    assert verdicts([9.0], [9.0], np.empty((0, 1))) == ["no verdict"]
    assert verdicts([np.nan, 9.0], [9.0, np.inf], TWINS) == ["no verdict"] * 2  # an interval that is not known


@given(st.integers(0, 12), st.integers(0, 40))
def test_every_image_is_shown_to_one_twin_and_twins_see_about_as_many(twins: int, count: int) -> None:
    parts = min(twins, count)
    turns = split_turns(np.arange(count), parts)
    assert sorted(np.concatenate([*turns, np.empty(0, int)]).tolist()) == (list(range(count)) if parts else [])
    assert not turns or max(map(len, turns)) - min(map(len, turns)) <= 1


def test_twins_are_drawn_only_as_far_as_there_are_images() -> None:
    net = mt.open("microtome:mini_resnet", weights=None).with_twins(3)
    images = mt.Images.scenes(4, seed=1)
    turns = list(twins_in_turn(net, images, 2))
    assert [twin.weights for _, twin, _ in turns] == ["untrained (seed 1)", "untrained (seed 2)"]
    assert [(number, places.tolist()) for number, _, places in turns] == [(0, [0]), (1, [1])]
    part = list(twins_in_turn(net, images, 5, np.array([1, 4, 2])))  # of five images in turn: 0, 3 | 1, 4 | 2
    assert [(number, rows.tolist()) for number, _, rows in part] == [(1, [0, 1]), (2, [2])]
    assert turn_count(net, 2) == 2 and turn_count(net, 9) == 3
    assert twins_text(1) == "one untrained twin" and twins_text(3) == "untrained twins"


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
