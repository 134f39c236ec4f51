"""How far a representation moves when its image does: relative distances, and maps against their own shifted copies.

Source: the distance of Zeiler & Fergus 2014, arXiv:1311.2901, fig. 5; division by the norm, and by the distance between
different images, are ours. Shifts by whole and by broken strides: Zhang 2019, arXiv:1904.11486, sec. 4.
"""

from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from microtome.numerics.arrays import Array

EDGE_CELLS = 1  # positions left out on every side: they see the padding first


def relative_distance(
    moved: Float[Tensor, "view image *rest"], still: Float[Tensor, "image *rest"]
) -> Float64[Tensor, "view image"]:
    """‖moved - still‖ / ‖still‖ over everything behind the image axis.

    Where `still` is zero everywhere it is 0 for what does not move, else infinite.
    """
    gap = _norm(moved - still, 2)
    return torch.where(gap > 0, gap / _norm(still, 1), 0.0)


def _norm(value: Tensor, first: int) -> Tensor:
    """The norm over all axes from `first` on, summed in double precision; in whatever order they lie in memory, without a copy."""
    return torch.linalg.vector_norm(value, dim=tuple(range(first, value.ndim)), dtype=torch.float64)


def distance_to_others(
    values: Float[Tensor, "image feature"], others: Float[Tensor, "other feature"], itself: Int64[Tensor, " image"]
) -> Float64[Tensor, " image"]:
    """The mean of ‖f(x) - f(y)‖ / ‖f(x)‖ over the other images y; not a number where there is none.

    `itself` says at which place of `others` each image stands, or is past the last.
    """
    start = others[:1].double()  # taken off first, so that features equal on all images are exactly no distance apart
    own, rest = values.double() - start, others.double() - start
    squares = own.square().sum(1)[:, None] + rest.square().sum(1)[None, :] - 2 * own @ rest.T
    gaps = squares.clamp_min(0).sqrt()
    same = itself.to(gaps.device)[:, None] == torch.arange(len(others), device=gaps.device)[None, :]
    count = (~same).sum(1)
    mean = torch.where(same, 0.0, gaps).sum(1) / count
    return torch.where(count > 0, mean / _norm(values, 1), torch.nan)


def equivariance_error(
    moved: Float[Tensor, "image unit row col"], still: Float[Tensor, "image unit row col"], cells: float
) -> Float64[Tensor, " image"]:
    """‖moved - S still‖ / ‖S still‖, where S moves maps down by `cells` (≥ 0), between positions linearly.

    Only positions that S fills from inside, `EDGE_CELLS` positions away from every side, are compared; NaN where fewer than two rows
    or columns are left.
    """
    whole = int(np.floor(cells))
    part = cells - whole
    first, last = int(np.ceil(cells)) + EDGE_CELLS, still.shape[2] - EDGE_CELLS
    if last - first < 2 or still.shape[3] - 2 * EDGE_CELLS < 2:
        return torch.full((len(still),), torch.nan, dtype=torch.float64)
    inner = slice(EDGE_CELLS, still.shape[3] - EDGE_CELLS)
    expected = still[:, :, first - whole : last - whole, inner]
    if part:
        expected = (1 - part) * expected + part * still[:, :, first - whole - 1 : last - whole - 1, inner]
    return relative_distance(moved[None, :, :, first:last, inner], expected)[0]


def view_agreement(classes: Int64[Array, "image view"]) -> Float64[Array, " image"]:
    """For each image the fraction of pairs of views that are given the same class; not numbers for a single view."""
    pairs = list(combinations(range(classes.shape[1]), 2))
    if not pairs:
        return np.full(len(classes), np.nan)
    return np.mean([classes[:, first] == classes[:, second] for first, second in pairs], axis=0)
