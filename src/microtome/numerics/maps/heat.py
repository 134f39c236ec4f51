"""Arithmetic of heat maps: where their energy lies, how wide it spreads, how well it fits a mask.

Maps are (image, row, col) and raw, never stretched to [0, 1]. Only positive heat counts as energy; an image whose map has none
gives not-a-number, not zero.

Source: energy-based pointing game, Wang et al. 2020 (Score-CAM),
arXiv:1910.01279, sec. 4.3; pointing game, Zhang et al. 2016, arXiv:1608.00507; best threshold, Choe et al. 2020,
arXiv:2001.07437.
"""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

Extent: TypeAlias = tuple[float, float, float, float]  # top, bottom, left, right edge of the map, as fractions of the image

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def area_resample(
    heat: Float[Tensor, "image row col"], size: tuple[int, int], extent: Extent | None = None
) -> Float64[Tensor, "image row_ col_"]:
    """The map on a grid of `size` (rows, cols): each cell's heat goes to the cells it overlaps, by area, so the sum stays.

    `extent` says where the map's outer edges lie in the image (default: on the image's own). The heat of a cell that
    reaches over the image's edge goes to its part inside; a cell wholly outside is lost.
    """
    top, bottom, left, right = extent or (0.0, 1.0, 0.0, 1.0)
    down = _cell_overlaps(heat.shape[1], size[0], top, bottom).to(heat.device)
    across = _cell_overlaps(heat.shape[2], size[1], left, right).to(heat.device)
    return down @ heat.double() @ across.T


def energy_inside(
    heat: Float[Tensor, "image row col"], mask: Bool[Tensor, "image row_ col_"], extent: Extent | None = None
) -> tuple[Float64[Tensor, " image"], Float64[Tensor, " image"]]:
    """The fraction of the heat inside the mask, and the fraction of the image that the mask covers.

    The first grows with the object even for a map that knows nothing: compare it with the second.
    """
    fine = area_resample(heat.relu(), (mask.shape[1], mask.shape[2]), extent)
    inside = (fine * mask).sum((1, 2)) / fine.sum((1, 2))  # 0 / 0 is not a number: the map is empty
    return inside, mask.double().mean((1, 2))


def heat_coverage(heat: Float[Tensor, "image row col"], share: float) -> Float64[Tensor, " image"]:
    """The smallest fraction of the image that holds `share` of the heat; the last cell counts in part.

    Cells in part make the value the same on a finer grid of repeated cells, and `share` itself for an even map.
    """
    cells = heat.relu().double().flatten(1).sort(dim=1, descending=True).values
    sums = cells.cumsum(1)
    wanted = share * sums[:, -1:]
    last = torch.searchsorted(sums, wanted).clamp_max(cells.shape[1] - 1)
    before = sums.gather(1, last) - cells.gather(1, last)
    part = (wanted - before) / cells.gather(1, last)
    return ((last + part) / cells.shape[1])[:, 0].where(sums[:, -1] > 0, torch.nan)


def centre_prior(rows: int, cols: int, sigma: float = 0.25) -> Float64[Tensor, "row col"]:
    """A Gaussian blob in the middle, as a map to beat: photographers centre things. `sigma` is a fraction of each side; sum 1."""
    down, across = (((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) / sigma for count in (rows, cols))
    blob = torch.exp(-(down[:, None] ** 2 + across[None, :] ** 2) / 2)
    return blob / blob.sum()


def pointing_game(
    heat: Float[Tensor, "image row col"], mask: Bool[Tensor, "image row_ col_"], tolerance: float = 15.0
) -> Float64[Tensor, " image"]:
    """1 where the middle of the hottest position lies within `tolerance` px of the mask, else 0; NaN without heat or mask."""
    hits = torch.full((len(heat),), torch.nan, dtype=torch.float64)
    for place, (heat_map, wanted) in enumerate(zip(heat.relu().cpu(), mask.cpu().numpy(), strict=True)):
        if not (heat_map.max() > 0 and wanted.any()):
            continue
        row, col = divmod(int(heat_map.argmax()), heat_map.shape[1])
        spot = int((row + 0.5) * wanted.shape[0] / heat_map.shape[0]), int((col + 0.5) * wanted.shape[1] / heat_map.shape[1])
        rows, cols = np.nonzero(wanted)
        hits[place] = float(np.hypot(rows - spot[0], cols - spot[1]).min() <= tolerance)
    return hits


def ordering_auc(heat: Float[Tensor, "image row col"], mask: Bool[Tensor, "image row col"]) -> Float64[Tensor, " image"]:
    """The fraction of pairs of a pixel in the mask and one outside in which the one inside is hotter, ties counting half.

    The area under the ROC curve: 0.5 for a map that knows nothing, whatever the size of the object. NaN where one side is empty.
    """
    wanted = mask.flatten(1).double()
    inside, count = wanted.sum(1), wanted.shape[1]
    summed = (_ranks(heat.flatten(1)) * wanted).sum(1) + inside * (count + 1) / 2
    pairs = inside * (count - inside)
    return ((summed - inside * (inside + 1) / 2) / pairs).where(pairs > 0, torch.nan)


def rank_correlation(a: Float[Tensor, "*batch n"], b: Float[Tensor, "*batch n"]) -> Float64[Tensor, "*batch"]:
    """Spearman's rank correlation along the last axis, equal values sharing their mean rank; not a number for a constant."""
    return _pearson(_ranks(a), _ranks(b))


def partial_rank_correlation(
    a: Float[Tensor, "*batch n"], b: Float[Tensor, "*batch n"], given: Float[Tensor, "*batch n"]
) -> Float64[Tensor, "*batch"]:
    """Spearman's rank correlation of `a` and `b` along the last axis beyond what both owe to `given`; not a number for a constant.

    (r_ab - r_ac·r_bc) / √((1 - r_ac²)(1 - r_bc²)) with c the third (Kendall & Stuart, The Advanced Theory of Statistics II, ch. 27).
    """
    first, second, third = _ranks(a), _ranks(b), _ranks(given)
    ab, ac, bc = _pearson(first, second), _pearson(first, third), _pearson(second, third)
    return (ab - ac * bc) / ((1 - ac.square()) * (1 - bc.square())).sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis about their mean, equal values sharing theirs."""
    ordered = values.contiguous().sort(dim=-1).values
    below = torch.searchsorted(ordered, values.contiguous(), right=False)
    upto = torch.searchsorted(ordered, values.contiguous(), right=True)
    ranks = (below + upto + 1).double() / 2
    return ranks - ranks.mean(-1, keepdim=True)


def _pearson(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(-1) / (first.square().sum(-1) * second.square().sum(-1)).sqrt()


def _cell_overlaps(cells: int, bins: int, low: float, high: float) -> Float64[Tensor, "bin position"]:
    """The fraction of each of `cells` equal cells between `low` and `high` that lies in each of `bins` equal bins of [0, 1]."""
    if not high > low:
        raise ValueError(f"a map's far edge ({high}) must lie beyond its near edge ({low})")
    # In units of one bin over `cells`, default edges are whole numbers: equal cells share their heat exactly.
    at = torch.arange(cells + 1, dtype=torch.float64)
    edges = (low * cells + at * (high - low)) * bins
    sides = torch.arange(bins + 1, dtype=torch.float64) * cells
    near = torch.maximum(edges[None, :-1], sides[:-1, None])
    far = torch.minimum(edges[None, 1:], sides[1:, None])
    shared = (far - near).clamp_min(0)
    total = shared.sum(0)
    return torch.where(total > 0, shared / total, 0.0)
