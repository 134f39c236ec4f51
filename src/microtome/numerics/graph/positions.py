"""Where each part of a tensor looks in an image, from how it responds to noise that grows along rows and along columns.

One image is changed by faint noise everywhere; twice more by the same noise times a ramp, from 0 at the top to 1 at the bottom and from
left to right. What looks at one place responds to the ramp in proportion to its row (or column) there, so two ratios locate every
position of a tensor at once, whatever its axes are called and in whatever order its tokens lie. The measure is ours.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from microtome.numerics.arrays import Array

CLEAR = 2.0  # the other axes must explain the ramps so many times worse than the best
SILENT = 1e-8  # of the strongest response: tokens below it do not depend on the image
MAX_PREFIX = 8  # class and register tokens at most
HALF = 0.5  # positions: nearer than this to its place, a token is at that place
LIKE = 0.9  # correlation with an order, from which on the order is believed where mixing blurs the places


@dataclass(frozen=True)
class NoiseResponse:
    """What is known of one tensor (without the batch): the axis of units, and by position the energy and both ratios.

    `positions` are the other axes, in order; `energy`, `row` and `col` have one axis for each. `clear` says that no other axis could
    be the units'.
    """

    shape: tuple[int, ...]
    unit: int
    positions: tuple[int, ...]
    energy: Array
    row: Array
    col: Array
    clear: bool


class TokenOrder(NamedTuple):
    """Tokens on a grid: `order` lists the raw places of the prefix and then of the grid's tokens, row by row."""

    grid: tuple[int, int]
    prefix: int
    order: tuple[int, ...]


def respond(base: Tensor, even: Tensor, down: Tensor, right: Tensor) -> NoiseResponse | None:
    """The response of a tensor: its value for the image, with even noise, and with noise that grows down and to the right.

    None where it does not respond, or has fewer than two axes longer than one.
    """
    shape = tuple(base.shape)
    axes = [axis for axis, side in enumerate(shape) if side > 1]
    changes = even - base
    energy = changes.square()
    if len(axes) < 2 or not bool(torch.isfinite(energy).all()) or not bool(energy.any()):
        return None
    products = [changes * (ramp - base) for ramp in (down, right)]
    total = float((down - base).square().sum(dtype=torch.float64) + (right - base).square().sum(dtype=torch.float64))
    sums = {axis: [part.sum(axis, dtype=torch.float64) for part in (energy, *products)] for axis in axes}
    losses: dict[int, float] = {}
    for axis, (power, *parts) in sums.items():
        explained = sum(float((part.square() / power).nan_to_num(0.0, 0.0, 0.0).sum()) for part in parts)
        losses[axis] = max(1 - explained / total, 0.0) * shape[axis] / (shape[axis] - 1) if total > 0 else 0.0
    unit = min(losses, key=lambda axis: (losses[axis], -axis))
    others = [loss for axis, loss in losses.items() if axis != unit]
    power, down_part, right_part = (part.cpu().numpy() for part in sums[unit])
    with np.errstate(divide="ignore", invalid="ignore"):
        row, col = np.nan_to_num(down_part / power, nan=0.5), np.nan_to_num(right_part / power, nan=0.5)
    positions = tuple(axis for axis in range(len(shape)) if axis != unit)
    return NoiseResponse(shape, unit, positions, power, row, col, min(others) > CLEAR * losses[unit] + 1e-6)


def moving_axes(response: NoiseResponse) -> tuple[list[int], list[int]]:
    """The axes along which the places move from row to row, and from column to column."""
    return _moving(response, response.row), _moving(response, response.col)


def _moving(response: NoiseResponse, values: Array) -> list[int]:
    """Those of the position axes without which the values are not explained."""
    weight = response.energy / response.energy.sum()
    centre = (weight * values).sum()
    spread = float((weight * (values - centre) ** 2).sum())
    moving: list[int] = []
    for place, axis in enumerate(response.positions):
        if values.shape[place] < 2 or spread <= 0:
            continue
        means = (weight * values).sum(place, keepdims=True) / np.maximum(weight.sum(place, keepdims=True), 1e-300)
        if float((weight * (values - means) ** 2).sum()) > 0.05 * spread:
            moving.append(axis)
    return moving


def find_order(
    energy: Array, row: Array, col: Array, limit: float = HALF, prefix_counts: Collection[int] | None = None
) -> TokenOrder | None:
    """The grid that tokens fill and their order on it, from energy and ratios (token,).

    None where no grid places every token nearer than `limit` positions.

    Tokens that do not respond are the prefix, else as few as possible that respond less than half as much as any other; only so many as in
    `prefix_counts`, where given.
    """
    count = len(energy)
    silent = int((energy <= SILENT * energy.max()).sum())
    ranks = np.argsort(energy, kind="stable")
    for left_out in [silent] if silent else range(min(MAX_PREFIX, count - 2) + 1):
        if prefix_counts is not None and left_out not in prefix_counts:
            continue
        if left_out and energy[ranks[left_out - 1]] > 0.5 * energy[ranks[left_out]]:
            continue
        prefix = tuple(sorted(int(place) for place in ranks[:left_out]))
        order = _fill_grid(np.setdiff1d(np.arange(count), prefix), prefix, row, col, limit)
        if order is not None:
            return order
    return None


def _fill_grid(places: Array, prefix: tuple[int, ...], row: Array, col: Array, limit: float) -> TokenOrder | None:
    """The grid that these places fill best, if every one is near enough to its place."""
    best: tuple[float, TokenOrder] | None = None
    by_row = places[np.argsort(row[places], kind="stable")]
    for rows in range(1, len(places) + 1):
        if len(places) % rows or len(places) < 2:
            continue
        if rows > 1 and _off_line(row[by_row], np.repeat(np.arange(rows, dtype=float), len(places) // rows)) >= limit:
            continue
        down = by_row.reshape(rows, len(places) // rows)
        grid = np.stack([line[np.argsort(col[line], kind="stable")] for line in down])
        order = TokenOrder((rows, len(places) // rows), len(prefix), (*prefix, *(int(place) for place in grid.flatten())))
        worst = misplacement(order, row, col)
        if worst < limit and (best is None or worst < best[0]):
            best = worst, order
    return None if best is None else best[1]


def misplacement(order: TokenOrder, row: Array, col: Array) -> float:
    """By how many positions the token that fits worst is off its place in that order; infinite where places run backwards."""
    places = np.array(order.order[order.prefix :])
    both = row[places], col[places]
    worst = 0.0
    for axis, index in enumerate(_indices(order.grid)):
        values, other = both[axis], both[1 - axis]
        if index[-1] == 0:  # one row: the tokens must not lie apart the other way
            worst = max(worst, float(np.ptp(values)) / max(float(np.ptp(other)), 1e-300))
        else:
            worst = max(worst, _off_line(values, index))
    return worst


def _off_line(values: Array, index: Array) -> float:
    """By how many positions the value that fits worst is off the best straight line; infinite where that does not rise."""
    centred = index - index.mean()
    slope = float(centred @ values) / float(centred @ centred)
    return float(np.abs((values - values.mean()) / slope - centred).max()) if slope > 0 else float("inf")


def likeness(order: TokenOrder, row: Array, col: Array) -> float:
    """The smaller correlation of the tokens' ratios with rows and columns of that order; 1 along an axis of one position."""
    places = np.array(order.order[order.prefix :])
    likes: list[float] = []
    for values, index in zip((row[places], col[places]), _indices(order.grid), strict=True):
        if index.max() == 0:
            continue
        spread = float(values.std() * index.std())
        likes.append(float(((values - values.mean()) * (index - index.mean())).mean()) / spread if spread > 0 else 0.0)
    return min(likes, default=1.0)


def _indices(grid: tuple[int, int]) -> tuple[Array, Array]:
    rows, cols = np.indices(grid)
    return rows.flatten().astype(float), cols.flatten().astype(float)


def row_by_row(grid: tuple[int, int], prefix: int) -> TokenOrder:
    """Tokens row by row behind `prefix` others."""
    return TokenOrder(grid, prefix, tuple(range(prefix + grid[0] * grid[1])))
