"""Lengths of time and levels of effort, by hand."""

import pytest

from microtome.errors import BadOption
from microtome.planning.effort import check_effort, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2m", 120), ("1h30m", 5400), ("45", 45), ("0.5m", 30), (" 2M ", 120), ("1m 30s", None)]
)
def test_lengths_of_time(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(BadOption, match="write for instance 90s"):
            parse_duration(text)
    else:
        assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0s", "-2m", "2x", "two minutes", "2m,", "nan"])
def test_what_is_no_length_of_time_says_what_is(text: str) -> None:
    with pytest.raises(BadOption, match="2m or 1h30m"):
        parse_duration(text)


def test_times_are_written_in_one_unit() -> None:
    texts = [format_duration(seconds) for seconds in (0.2, 8.4, 99.4, 99.6, 150, 5969, 7200)]
    assert texts == ["1 s", "8 s", "99 s", "1.7 min", "2.5 min", "99.5 min", "2.0 h"]


def test_a_misspelt_effort_names_the_nearest() -> None:
    assert check_effort("quick") == "quick"
    with pytest.raises(BadOption, match="'quik' is not one of quick, standard, full.* 'quick'"):
        check_effort("quik")
