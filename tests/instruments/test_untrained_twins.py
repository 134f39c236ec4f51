"""Verdicts against several twins, by hand, and their arrays put together."""

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import microtome as mt
from microtome.instruments.untrained_twins import (
    doubts_about_twins,
    name_missing,
    over_twins,
    range_text,
    split_turns,
    stack_twins,
    turn_count,
    twins_in_turn,
    twins_text,
    verdicts,
    without_twins,
)
from microtome.key_numbers import KeyNumber

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


def test_without_twins_what_bears_their_name_is_not_a_number() -> None:
    labels = {"source": ["network", "untrained twin"], "layer": ["twin_block", "last"]}
    both = xr.DataArray(np.ones((2, 2), np.float32), labels, ("source", "layer"))
    words = xr.DataArray(np.array(["no verdict", "no verdict"], dtype=object), dims="layer")
    arrays = without_twins({
        "loss": both, "count": both, "distance/twin_block": both.sel(source="network", drop=True), "twin_loss": both.sel(source="network"),
        "twin_image": xr.DataArray(np.full((1, 1, 3), 7, np.uint8), dims=("row", "col", "rgb")), "against_twins": words,
        "twin_text": xr.DataArray(np.array(["holds"], dtype=object), dims="layer"),
    })  # fmt: skip
    np.testing.assert_array_equal(arrays["loss"].values, [[1, 1], [np.nan, np.nan]])
    assert arrays["loss"].dtype == np.float32 and arrays["count"].values.tolist() == [[1, 1], [1, 1]]
    assert arrays["distance/twin_block"].values.tolist() == [1, 1] and np.isnan(arrays["twin_loss"].values).all()
    assert (arrays["twin_image"].values == 128).all() and arrays["twin_image"].dtype == np.uint8
    assert arrays["against_twins"].values.tolist() == ["no verdict"] * 2 and arrays["twin_text"].values.tolist() == [
        "not measured"
    ]


def test_key_numbers_of_twins_that_are_not_there_say_so() -> None:
    numbers = name_missing([
        KeyNumber(name="accuracy", value=0.9, baseline_name="untrained twins"),
        KeyNumber(name="layers above all untrained twins", value=np.nan), KeyNumber(name="other", value=np.nan, baseline_name="chance"),
    ])  # fmt: skip
    assert [(number.text, number.baseline_text) for number in numbers] == [
        ("0.900", "not measured"), ("not measured", ""), ("unknown", ""),
    ]  # fmt: skip
    assert [KeyNumber.from_json(number.json()).text for number in numbers] == [number.text for number in numbers]
    assert range_text(0.1, 0.25) == "0.100 to 0.250" and range_text(np.nan, 0.2, "not measured") == "not measured"


def test_one_run_stands_in_for_no_twin() -> None:
    run = [{"twin_x": xr.DataArray([1.0, 2.0], dims="layer")}]
    assert (
        all(np.isnan(values.values).all() for values in over_twins(run).values()) and np.isnan(stack_twins(run, "twin_x")).all()
    )
    assert over_twins(run, least=1)["twin_x"].values.tolist() == [1, 2]


def test_a_doubt_begins_above_five_per_cent() -> None:
    assert doubts_about_twins(None) == doubts_about_twins({"unchanged": 0.05}) == []
    assert doubts_about_twins({"unchanged": 0.25})[0].startswith("25.0% of the untrained twins' weights")
