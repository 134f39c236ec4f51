"""Raw outputs brought to (image, ...) and back: the one undoes the other, whatever the axes are."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.errors import SpecimenError
from microtome.specimen.arrangement import Arrangement


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_restoring_undoes_arranging(data: Any) -> None:
    outer, inner, images = (data.draw(st.integers(1, 3)) for _ in range(3))
    sides = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    batch = data.draw(st.integers(0, len(sides)))
    raw = torch.arange(0.0, outer * images * inner * torch.tensor(sides).prod().item())
    raw = raw.reshape(*sides[:batch], outer * images * inner, *sides[batch:])
    rest = len(sides) + (outer > 1) + (inner > 1)
    axes = tuple(data.draw(st.permutations(range(rest))))
    merged = data.draw(st.integers(0, rest))
    plain = Arrangement(batch, outer, inner, axes, merged)
    count = plain.arrange(raw).shape[1]
    order = data.draw(st.one_of(st.none(), st.permutations(range(count)).map(tuple)))
    arrangement = Arrangement(batch, outer, inner, axes, merged, order)
    value = arrangement.arrange(raw)
    assert value.shape[0] == images
    assert torch.equal(arrangement.restore(value, raw), raw)


def test_by_hand() -> None:
    raw = torch.arange(12).reshape(6, 2)  # windows 0, 1, 2 of images 0 and 1, images first
    assert Arrangement(0, 1, 3, (0, 1)).arrange(raw).tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    assert Arrangement(0, 3, 1, (0, 1)).arrange(raw).tolist() == [[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7], [10, 11]]]
    assert Arrangement(1, 1, 1, (0,)).arrange(raw).tolist() == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(SpecimenError, match="no multiple of 4 windows"):
        Arrangement(0, 1, 4, (0, 1)).arrange(torch.zeros(6, 3))
    with pytest.raises(SpecimenError, match="known for 2 of them, at the recipe's size; here are 3"):
        Arrangement(0, 1, 1, (0, 1), 1, (1, 0)).arrange(torch.zeros(1, 3, 4))
