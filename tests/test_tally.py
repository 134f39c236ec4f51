"""The law of tallies: add(a) then add(b) = add(a) merged with add(b), and a restored tally goes on where it stood."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.tally import Bundle, Rows, Top, Total


def totals(*parts: tuple[int, float]) -> Total:
    tally = Total()
    for count, value in parts:
        tally.add(count, {"a": [value, 2 * value], "b": value})
    return tally


def test_total_sums_by_hand() -> None:
    tally = totals((2, 1.5), (3, 2.5))
    assert tally.count == 5
    assert tally["a"].tolist() == [4.0, 8.0]
    assert float(tally["b"]) == 4.0
    assert "a" in tally
    assert "c" not in tally


def test_total_merges_and_restores() -> None:
    whole, one, other = totals((2, 1.0), (3, 4.0)), totals((2, 1.0)), totals((3, 4.0))
    one.merge(other)
    again = Total()
    again.restore(whole.state())
    for tally in (one, again):
        assert tally.count == 5
        assert tally["a"].tolist() == whole["a"].tolist()


def test_total_does_not_alias_what_it_was_given() -> None:
    values = np.ones(2)
    tally = Total()
    tally.add(1, {"a": values})
    values += 5
    assert tally["a"].tolist() == [1.0, 1.0]


def test_rows_come_back_in_the_order_of_the_images() -> None:
    late, early = Rows(), Rows()
    late.add([4, 3], {"v": [[40.0], [30.0]]})
    early.add([0, 1], {"v": [[0.0], [10.0]]})
    late.merge(early)
    assert late.index.tolist() == [0, 1, 3, 4]
    assert late.column("v")[:, 0].tolist() == [0.0, 10.0, 30.0, 40.0]
    again = Rows()
    again.restore(late.state())
    assert again.column("v")[:, 0].tolist() == [0.0, 10.0, 30.0, 40.0]
    assert again.count == 4


def test_empty_rows_survive() -> None:
    again = Rows()
    again.restore(Rows().state())
    assert again.count == 0
    assert again.index.tolist() == []


def test_bundle_keeps_its_parts_apart() -> None:
    bundle, other = (Bundle({"x": Total(), "y": Rows()}) for _ in range(2))
    for place, one in enumerate((bundle, other)):
        one["x"].add(1, {"s": float(place + 1)})  # type: ignore[attr-defined]
        one["y"].add([place], {"s": [place]})  # type: ignore[attr-defined]
    bundle.merge(other)
    again = Bundle({"x": Total(), "y": Rows()})
    again.restore(bundle.state())
    assert float(again["x"]["s"]) == 3.0  # type: ignore[index]
    assert again["y"].column("s").tolist() == [0, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("one", "other"), [(Total(), Rows()), (Rows(), Total()), (Bundle({}), Total())])
def test_unlike_tallies_do_not_merge(one: Total, other: Rows) -> None:
    with pytest.raises(TypeError, match="cannot merge"):
        one.merge(other)


def tops(*parts: tuple[list[int], np.ndarray], k: int = 3) -> Top:
    """A Top of candidates (images, values (image, unit)); the cell is the image's number times ten."""
    tally = Top(k)
    for index, values in parts:
        tally.add("a", index, values, np.repeat(np.array(index)[:, None] * 10, values.shape[1], axis=1))
    return tally


def test_top_by_hand() -> None:
    tally = tops(([0, 1], np.array([[1.0, 5.0], [3.0, 4.0]])), ([2, 3], np.array([[2.0, np.nan], [9.0, 6.0]])))
    assert tally.values("a").T.tolist() == [[9.0, 3.0, 2.0], [6.0, 5.0, 4.0]]
    assert tally.images("a").T.tolist() == [[3, 1, 2], [3, 0, 1]]
    assert tally.positions("a").T.tolist() == [[30, 10, 20], [30, 0, 10]]


def test_top_holds_nothing_where_too_few_are_numbers() -> None:
    tally = tops(([4, 5], np.array([[np.nan, -1.0], [-2.0, np.nan]])))
    np.testing.assert_array_equal(tally.values("a"), [[-2.0, -1.0], [np.nan, np.nan], [np.nan, np.nan]])
    assert tally.images("a").tolist() == [[5, 4], [-1, -1], [-1, -1]]
    assert tally.positions("a").tolist() == [[50, 40], [-1, -1], [-1, -1]]


@given(st.lists(st.integers(0, 3), min_size=4, max_size=24), st.integers(1, 6), st.randoms(use_true_random=False))
def test_top_merges_to_the_bit_in_any_order(levels: list[int], k: int, dice: random.Random) -> None:
    """Few levels make many ties; the slow twin sorts everything by value, image and cell."""
    values = np.array(levels, dtype=np.float32)[:, None]
    whole = tops((list(range(len(levels))), values), k=k)
    slow = sorted(((-value, image) for image, value in enumerate(levels)))[:k]
    assert whole.images("a")[: len(slow), 0].tolist() == [image for _, image in slow]
    order = list(range(len(levels)))
    dice.shuffle(order)
    half = len(order) // 2
    one, other = (tops((part, values[part]), k=k) for part in (order[:half], order[half:]))
    again = Top(k)
    again.restore(one.state())
    again.merge(other)
    assert {name: part.tobytes() for name, part in again.state().items()} == {
        name: part.tobytes() for name, part in whole.state().items()
    }


def test_top_refuses_another_size() -> None:
    with pytest.raises(TypeError, match="cannot merge"):
        Top(3).merge(Top(4))
