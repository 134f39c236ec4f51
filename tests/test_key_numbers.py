"""Every number is written in one way, and a key number survives JSON."""

import json
import math

import pytest

from microtome.key_numbers import KeyNumber, format_difference, format_interval, format_value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9921, "fraction", "99.2%"), (0, "fraction", "0%"), (1, "fraction", "100%"), (0.0012, "fraction", "0.12%"),
        (0.75312, "1", "0.753"), (62, "px", "62 px"), (1.754, "ms", "1.75 ms"), (11_700_000, "1", "11.7 M"),
        (4.09e9, "FLOPs", "4.09 G FLOPs"), (1234, "1", "1,234"), (-0.0, "1", "0"), (math.nan, "px", "unknown"),
        (math.inf, "px", "unbounded"), (-math.inf, "1", "-unbounded"), (0.00001234, "1", "1.23e-05"),
        (-1e-9, "fraction", "-1.00e-07%"),
    ],
)  # fmt: skip
def test_values(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_intervals_have_the_digits_of_their_finest_end_and_one_scale() -> None:
    assert format_interval(0.753, 0.748, 0.758) == "0.753 [0.748, 0.758]"
    assert format_interval(0.992, 0.981, 0.9973, "fraction") == "99.2% [98.1%, 99.7%]"
    assert format_interval(1.2e6, 0.9e6, 1.5e6, "ops") == "1.20 M ops [0.90, 1.50]"
    assert format_interval(5, math.nan, 6, "px") == "5 px" and format_interval(math.nan, 1, 2) == "unknown"


def test_differences_have_a_sign_unless_they_are_zero() -> None:
    assert [format_difference(x, "fraction") for x in (0.012, -0.012, 0.0001, -0.0001)] == [
        "+1.2 points", "-1.2 points", "0.0 points", "0.0 points",
    ]  # fmt: skip
    assert [format_difference(x, "px") for x in (2, -2, 0, math.nan)] == ["+2 px", "-2 px", "0 px", "unknown"]


def test_a_key_number_survives_json_with_what_is_not_known() -> None:
    number = KeyNumber(name="accuracy", value=0.5, unit="fraction", low=0.4, high=0.6, better="higher", at="head")
    said = json.loads(json.dumps(number.json(), allow_nan=False))
    again = KeyNumber.from_json(said)
    assert math.isnan(again.baseline) and again.json() == number.json()
    assert said["text"] == "50.0% [40.0%, 60.0%]" and said["baseline"] is None and said["baseline_text"] == ""


def test_a_missing_interval_is_called_unknown_only_where_there_is_one() -> None:
    number = KeyNumber(name="lift", value=0.5, has_interval=True)
    assert number.text == "0.500 [interval unknown]"
    assert KeyNumber.from_json(number.json()) == number
    assert KeyNumber(name="parameters", value=0.5).text == "0.500"
    assert KeyNumber(name="lift", value=0.5, low=0.4, high=0.6, has_interval=True).text == "0.500 [0.400, 0.600]"
    assert KeyNumber(name="lift", value=math.nan, has_interval=True).text == "unknown"
    older = {key: value for key, value in number.json().items() if key != "has_interval"}
    assert not KeyNumber.from_json(older).has_interval
