"""Axes and orders read from responses that are made by hand: every element looks at one place, with a weight of its own."""

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from microtome.numerics.graph.positions import (
    HALF,
    TokenOrder,
    find_order,
    likeness,
    misplacement,
    moving_axes,
    respond,
    row_by_row,
)


def made(grid: tuple[int, int], units: int, order: list[int], mixing: float) -> list[Tensor]:
    """Base and three changed values (token, unit); `mixing` of every token is the mean of all."""
    generator = torch.Generator().manual_seed(0)
    rows, cols = grid
    own = torch.randn(rows * cols, units, generator=generator, dtype=torch.float64)
    down = torch.linspace(0, 1, rows, dtype=torch.float64).repeat_interleave(cols)[:, None]
    right = torch.linspace(0, 1, cols, dtype=torch.float64).repeat(rows)[:, None]
    base = torch.randn(rows * cols, units, generator=generator, dtype=torch.float64)
    changes = [own, own * down, own * right]
    mixed = [change + mixing * change.mean(0, keepdim=True) for change in changes]
    return [value[order] for value in (base, *(base + 1e-3 * change for change in mixed))]


GRIDS = st.tuples(st.integers(2, 6), st.integers(2, 6))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(GRIDS, st.integers(3, 12), st.sampled_from([0.0, 0.3]), st.data())
def test_any_order_is_found(grid: tuple[int, int], units: int, mixing: float, data: Any) -> None:
    order = data.draw(st.permutations(range(grid[0] * grid[1])).map(list))
    response = respond(*made(grid, units, order, mixing))
    assert response is not None
    if mixing:
        return
    assert response.clear
    assert response.unit == 1
    found = find_order(response.energy, response.row, response.col)
    assert found is not None
    assert found.grid == grid
    assert [order[place] for place in found.order] == list(range(grid[0] * grid[1]))
    assert misplacement(found, response.row, response.col) < 1e-6
    if order != sorted(order):
        assert misplacement(row_by_row(grid, 0), response.row, response.col) > HALF


def test_axes_of_a_map_with_as_many_units_as_rows() -> None:
    values = [value.unflatten(0, (5, 5)) for value in made((5, 5), 5, list(range(25)), 0.0)]
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)):
        response = respond(*(value.permute(axes) for value in values))
        assert response is not None
        assert response.unit == axes.index(2)
        assert moving_axes(response) == ([axes.index(0)], [axes.index(1)])


def test_silent_tokens_are_the_prefix_wherever_they_lie() -> None:
    values = [
        torch.cat([value[:7], torch.ones(2, 4, dtype=value.dtype), value[7:]])
        for value in made((3, 4), 4, list(range(12)), 0.0)
    ]
    response = respond(*values)
    assert response is not None
    found = find_order(response.energy, response.row, response.col)
    assert found == TokenOrder((3, 4), 2, (7, 8, 0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13))


def test_tokens_without_places_have_no_order() -> None:
    generator = np.random.default_rng(0)
    assert find_order(np.ones(12), generator.random(12), generator.random(12)) is None
    assert abs(likeness(row_by_row((3, 4), 0), generator.random(12), generator.random(12))) < 0.9


def test_what_does_not_depend_on_the_image_does_not_respond() -> None:
    value = torch.randn(4, 5)
    assert respond(value, value, value, value) is None
    assert respond(torch.zeros(1, 5), torch.ones(1, 5), torch.ones(1, 5), torch.ones(1, 5)) is None
