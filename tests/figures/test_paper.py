"""What all figures share: names that fit, labels with units, styles that stay distinct."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.figures.paper import (
    COLOURS,
    array_label,
    coordinates,
    escape_math,
    fit_ticks,
    is_text,
    line_styles,
    new_sheet,
    shorten,
    unit_suffix,
)
from microtome.finding import array
from microtome.panels import Bars


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="$"), max_size=60), st.integers(4, 40))
def test_a_shortened_name_keeps_its_ends_and_its_limit(name: str, longest: int) -> None:
    short = shorten(name, longest)
    if len(name) <= longest:
        assert short == name
    else:
        head, _, tail = short.partition("…") if "…" not in name else (short[: longest // 3], "", short[longest // 3 + 1 :])
        assert len(short) == longest and name.startswith(head) and name.endswith(tail)
        assert len(head) == longest // 3


def test_dollars_are_escaped() -> None:
    assert (escape_math("a$b$"), shorten("$")) == (r"a\$b\$", r"\$")


@pytest.mark.parametrize(
    ("count", "length", "inches", "step", "turn"),
    [
        (4, 5, 6.0, 1, 0),  # 1.5 inches each, names of 0.3
        (4, 30, 6.0, 1, 40),  # names of 1.8 inches do not fit into 1.5
        (30, 10, 6.0, 1, 90),  # 0.2 inches each: too narrow for slanted names
        (200, 10, 6.0, 4, 90),  # 0.03 inches each: every fourth
    ],
)
def test_names_are_turned_and_thinned_as_they_fit(count: int, length: int, inches: float, step: int, turn: int) -> None:
    fit = fit_ticks(np.array(["n" * length] * count, dtype=object), inches)
    assert (len(fit.texts), fit.step, fit.turn) == (count, step, turn)
    assert inches / count * fit.step >= 0.115
    assert fit_ticks(np.array([0.5, 10.0]), 4.0).texts == ["0.5", "10"]


def test_lines_stay_distinct_and_those_in_order_get_an_ordered_scale() -> None:
    styles = [tuple(one.values()) for one in line_styles(3 * len(COLOURS), "specimen")]
    assert len(set(styles)) == 24 and "--" not in {stroke for _, stroke in styles}
    ordered = line_styles(12, "layer_")
    assert {one["linestyle"] for one in ordered} == {"-"}
    brightness = [sum(one["color"][:3]) for one in ordered]
    assert brightness == sorted(brightness)
    assert [one["color"] for one in line_styles(3, "layer")] == list(COLOURS[:3])


def test_labels_say_the_title_or_the_name_and_the_unit() -> None:
    titled, bare = array([1.0], ("layer",), "px", title="σ"), array([1.0], ("layer",), "1")
    text = array(np.array(["a"], dtype=object), ("layer",), "text")
    labels = array_label(titled, "x"), array_label(bare, "twin/zero_pixels"), array_label(text, "why")
    assert labels == ("σ [px]", "zero pixels", "why")
    assert [unit_suffix(one) for one in (titled, bare, text)] == [" [px]", "", ""]
    assert coordinates(titled, "layer").tolist() == [0]
    assert coordinates(array([1.0, 2.0], ("layer",), "px", {"layer": ["a", "b"]}), "layer").tolist() == ["a", "b"]
    assert (is_text(text.values), is_text(np.array([True])), is_text(np.arange(2))) == (True, False, False)


def test_room_is_added_for_every_line_of_title_and_note() -> None:
    def height(title: str, note: str) -> float:
        return new_sheet(Bars(title=title, y=("a",), x="layer", note=note), 2.0, 3.0).get_figheight()

    assert height("short", "") == pytest.approx(3.2)
    assert height("word " * 10, "") == pytest.approx(3.4)  # 26 characters a line: 50 are two
    assert height("short", "word " * 10) == pytest.approx(3.48)  # 36 characters a line
