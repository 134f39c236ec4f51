"""Attention on a grid of tokens: mean attention distances, and Gaussian fits of biases over offsets.

Source: mean attention distance, Dosovitskiy et al. 2021, arXiv:2010.11929, fig. 7; the Gaussian, Kim et al. 2023,
arXiv:2305.04722, who fit learned relative biases; the free constant of the fit is ours (softmax does not see it).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.optimize import minimize_scalar
from torch import Tensor

from microtome.numerics.arrays import Array

MIN_OFFSETS = 25  # offsets: the fit has four numbers, and over fewer than 5 x 5 offsets it would explain anything


class GaussianHill(NamedTuple):
    """The Gaussian nearest to a bias: height (negative for a pit), sigma in positions, and the fraction of variance explained."""

    height: float
    sigma: float
    r2: float


def cell_distances(grid: tuple[int, int], cell: tuple[float, float] = (1.0, 1.0)) -> Float64[Tensor, "token token"]:
    """Distances between the centres of all positions of a grid (rows, cols), numbered row by row; `cell` is the size of one."""
    rows, cols = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    places = torch.stack([rows.flatten() * cell[0], cols.flatten() * cell[1]], 1)
    apart = places[:, None] - places[None]
    return apart.square().sum(-1).sqrt()


def attention_distances(
    attention: Float[Tensor, "window head query key"], distance: Float64[Tensor, "token token"]
) -> Float64[Tensor, "window head"]:
    """Mean over the tokens of how far each looks, its attention to other tokens of the grid being made to sum to one.

    Tokens that stand before those of the grid (class, registers) have no place: they neither ask nor are looked at here.
    Tokens that give the grid nothing at all are left out of the mean; NaN where that is every one.
    """
    grid = len(distance)
    among = attention[..., -grid:, -grid:].double()
    total = among.sum(-1)
    looks = total != 0  # what is not a number stays so
    apart = torch.where(looks, (among * distance.to(among.device)).sum(-1) / total, 0.0)
    return apart.sum(-1) / looks.sum(-1)


def grid_attention(attention: Float[Tensor, "window head query key"], grid: int) -> Float64[Tensor, "window head"]:
    """The fraction of the attention of the grid's tokens (the last `grid`) that stays among them."""
    return attention[..., -grid:, -grid:].double().sum(-1).mean(-1)


def offset_table(bias: Float[Tensor, "head token token"], grid: tuple[int, int]) -> Float64[Array, "head row col"]:
    """A bias over pairs as a table over offsets from -(n - 1) to n - 1, each the mean over the pairs that lie so."""
    rows, cols = grid
    places = torch.arange(rows * cols)
    down = (places[:, None] // cols - places[None] // cols + rows - 1).flatten()
    right = (places[:, None] % cols - places[None] % cols + cols - 1).flatten()
    where = down * (2 * cols - 1) + right
    heads = len(bias)
    sums = torch.zeros(heads, (2 * rows - 1) * (2 * cols - 1), dtype=torch.float64)
    counts = torch.zeros(sums.shape[1], dtype=torch.float64).index_add(0, where, torch.ones(len(where), dtype=torch.float64))
    sums = sums.index_add(1, where, bias.detach().double().cpu().reshape(heads, -1))
    return (sums / counts).reshape(heads, 2 * rows - 1, 2 * cols - 1).numpy()


def fit_hill(table: Float64[Array, "row col"]) -> GaussianHill:
    """The Gaussian around offset zero, plus a constant, with the least squared error; NaN where the table is flat or too small.

    Sigma is sought between 0.3 positions and the table's longer side; a sigma at that end is a slope that never levels off.
    """
    spread = float(((table - table.mean()) ** 2).sum())
    if table.size < MIN_OFFSETS or not np.isfinite(table).all() or spread <= 1e-24 * max(1.0, float((table**2).sum())):
        return GaussianHill(float("nan"), float("nan"), float("nan"))
    rows, cols = (np.arange(n) - (n - 1) / 2 for n in table.shape)
    squared = rows[:, None] ** 2 + cols[None] ** 2
    centred = table - table.mean()

    def shape(width: float) -> Float64[Array, "row col"]:
        drop = np.exp(-squared / (2 * np.exp(2 * width)))
        return drop - drop.mean()

    def left(width: float) -> float:
        drop = shape(width)
        return spread - float((drop * centred).sum()) ** 2 / float((drop**2).sum())

    widths = np.linspace(np.log(0.3), np.log(max(table.shape)), 40)
    best = int(np.argmin([left(width) for width in widths]))
    around = widths[max(best - 1, 0)], widths[min(best + 1, len(widths) - 1)]
    width = float(minimize_scalar(left, bounds=around, method="bounded", options={"xatol": 1e-6}).x)  # pyright: ignore
    drop = shape(width)
    height = float((drop * centred).sum() / (drop**2).sum())
    return GaussianHill(height, float(np.exp(width)), 1 - left(width) / spread)
