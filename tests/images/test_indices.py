"""Which images are meant: as numpy indexes an array, and one clear sentence where it would raise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.errors import BadOption
from microtome.images.indices import resolve_indices


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(-n, n - 1), max_size=15))))
def test_places_are_those_that_numpy_takes(case: tuple[int, list[int]]) -> None:
    count, places = case
    expected = np.arange(count)[np.array(places, dtype=np.int64)]
    np.testing.assert_array_equal(resolve_indices(places, count), expected)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_truth_values_choose_where_they_are_true(chosen: list[bool]) -> None:
    expected = [place for place, value in enumerate(chosen) if value]
    assert resolve_indices(np.array(chosen), len(chosen)).tolist() == expected


def test_none_is_all() -> None:
    assert resolve_indices(None, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([5], "There is no image 5: there are 5, from 0 to 4"),
        ([-6, 1], "There is no image -6"),
        ([0.5], "a list of whole numbers below 5, or 5 truth values"),
        ([[0]], "a list of whole numbers"),
        ([True, False], "or 5 truth values"),
    ],
)
def test_what_does_not_exist_is_named(indices: object, words: str) -> None:
    with pytest.raises(BadOption, match=words):
        resolve_indices(indices, 5)  # type: ignore[arg-type]
