"""Every number is written in one way, and a key number survives JSON."""

import ast
import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome import key_numbers
from microtome.key_numbers import KeyNumber, format_change, format_interval, format_value

SOURCE = Path(key_numbers.__file__).parent


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


def test_changes_have_a_sign_unless_there_is_none() -> None:
    assert [format_change(1000, after) for after in (1012, 988, 1000, 3000, 1000.4)] == [
        "+1.2%",
        "-1.2%",
        "0%",
        "+200.0%",
        "+0.04%",
    ]
    assert format_change(0, 5) == "unknown"


def percentages_by_hand(tree: ast.AST) -> list[str]:
    """The parts of f-strings that write a value in per cent without the formatter: `{x:.0f} %`, `{x:.1%}`."""
    found: list[str] = []
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        for part, after in pairwise([*text.values, ast.Constant("")]):
            if isinstance(part, ast.FormattedValue):
                spec = ast.unparse(part.format_spec) if part.format_spec else ""
                sign = isinstance(after, ast.Constant) and str(after.value).lstrip()[:1] == "%"
                if sign or "%" in spec:
                    found.append(ast.unparse(part.value))
    return found


def test_percentages_by_hand_are_known() -> None:
    text = 'f"{a:.0f} % of", f"{b:.1%}", f"{100 * c}%", f"{d} of 5%", f"{e:.2f}"'
    assert percentages_by_hand(ast.parse(text)) == ["a", "b", "100 * c"]


def test_percentages_are_written_by_the_formatter_alone() -> None:
    by_hand = {
        path.relative_to(SOURCE).as_posix(): found
        for path in sorted(SOURCE.rglob("*.py"))
        if (found := percentages_by_hand(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert by_hand.pop("key_numbers.py") == ["middle", "below", "above", "number"]
    assert by_hand == {
        "analyses/objects/arrays.py": ["low", "high"],  # a coordinate, "0%-5%"
        "networks/page.py": ["high"],  # a page in per cent throughout
        # what the user asked for, as it was written
        "analyses/slimming/candidates.py": ["ratio"],
        "analyses/slimming/slimming.py": ["ratio"],
        "analyses/slimming/budget_search.py": ["limits.latency", "limits.multiply_adds"],
        "analyses/traits/image_claims.py": ["borders.small", "borders.large"],
        "edits/prune_channels.py": ["self.ratio"],
        "export/read_me.py": ["100 * budget"],
        "export/slim_run.py": ["100 * self.budget"],
    }


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


@given(*[st.floats(allow_nan=False, allow_infinity=True)] * 3)
def test_infinite_values_survive_saving_and_loading(value: float, low: float, high: float) -> None:
    number = KeyNumber(name="field", value=value, unit="px", low=low, high=high)
    again = KeyNumber.from_json(json.loads(json.dumps(number.json(), allow_nan=False)))
    assert (again.value, again.low, again.high, again.text) == (value, low, high, number.text)
    assert "inf" not in number.text and "nan" not in number.text
