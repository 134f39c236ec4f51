"""The law of tallies: add(a) then add(b) = add(a) merged with add(b), and a restored tally goes on where it stood."""

import numpy as np
import pytest

from microtome.tally import Bundle, Rows, Total


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
