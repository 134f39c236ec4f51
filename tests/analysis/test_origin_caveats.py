"""Caveats that follow from a finding's origin: each where its reason is given, and none where it is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.analysis.origin_caveats import NAMED, about_channels, doubts_about_input, not_measured, unknown_intervals
from microtome.finding import Finding
from microtome.key_numbers import KeyNumber


def finding(images: dict[str, Any] | None = None, channels: int = 3, numbers: tuple[KeyNumber, ...] = ()) -> Finding:
    origin = {"images": images or {}, "specimen": {"recipe": {"channels": channels}}}
    return Finding(analysis="an", arrays={}, key_numbers=numbers, origin=origin)


def test_doubts_stand_in_their_order_and_empty_ones_are_left_out() -> None:
    assert doubts_about_input({"recipe_doubt": "B.", "batch_dependence": "A."}) == ["A.", "B."]
    assert doubts_about_input({"recipe_doubt": "", "batch_dependence": "A."}) == ["A."]
    assert doubts_about_input({}) == []


def test_layers_with_one_reason_share_a_caveat_that_names_the_first_of_them() -> None:
    layers = {f"layer{number}": "it has no map" for number in range(NAMED + 2)}
    lines = not_measured({"unmeasured": {**layers, "head": "it is a vector"}})
    assert lines == [
        "Not measured: layer0, layer1, layer2, layer3 and 2 more, since it has no map.",
        "Not measured: head, since it is a vector.",
    ]
    assert not_measured({}) == []


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sampled_from(["one reason", "another"]), max_size=12))
def test_every_reason_has_one_caveat_and_every_layer_is_counted(unmeasured: dict[str, str]) -> None:
    lines = not_measured({"unmeasured": unmeasured})
    assert len(lines) == len(set(unmeasured.values()))
    counts = [line.count(",") + (int(line.split(" and ")[1].split()[0]) if " more," in line else 0) for line in lines]
    assert sum(counts) == len(unmeasured)


def test_only_intervals_that_should_be_known_are_called_unknown() -> None:
    known = KeyNumber(name="known", value=0.5, low=0.4, high=0.6, has_interval=True)
    without = KeyNumber(name="without", value=3)
    unknown = KeyNumber(name="unknown one", value=0.5, has_interval=True)
    assert unknown_intervals(finding(numbers=(known, without))) == []
    (line,) = unknown_intervals(finding(numbers=(known, unknown, unknown, without)))
    assert line.startswith("Interval unknown: unknown one. ")


@pytest.mark.parametrize(
    ("images", "channels", "starts"),
    [
        ({"channels": 3}, 1, ["The network takes one channel"]),
        ({"channels": 1}, 3, ["The images have one channel"]),
        ({"channels": 3}, 3, []),
        ({"channels": 4, "shown_bands": [3, 2, 1]}, 4, ["The images have 4 channels; figures show"]),
        ({}, 1, []),
    ],
)
def test_channels_that_differ_are_named(images: dict[str, Any], channels: int, starts: list[str]) -> None:
    lines = about_channels(finding(images, channels))
    assert len(lines) == len(starts) and all(map(str.startswith, lines, starts)), lines
