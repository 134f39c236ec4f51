"""In which order a heat map removes the pixels of an image, and the curve of what is left of a score.

Pixels go in square patches, so that maps of any fineness remove regions of the same size, the patch with the highest mean first. Patches
of equal heat go in a random order, the same for every map: a constant map removes at random, and a map that is zero at most places does
not begin at the top left. Always exactly the fraction asked for is removed; the last patch in part.

Source: regions of one size, Samek et al. 2017, arXiv:1509.06321; deletion and insertion, Petsiuk et al. 2018, arXiv:1806.07421; the
order of equal patches is ours.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from microtome.numerics.arrays import Array

DECIMALS = 6  # of a patch's heat over the hottest one: what differs by less is equal, so that rounding decides no order


def removal_order(heat: Float[Tensor, "image row col"], patch: int, seed: int = 0) -> Int[Tensor, "image pixel"]:
    """Every pixel of each image once, row by row in the patch with the highest mean heat, then in the next one."""
    rows, cols = int(heat.shape[1]), int(heat.shape[2])
    # windows at the far edges are cut, and averaged over what is in the image
    means = F.avg_pool2d(heat.double()[:, None], patch, ceil_mode=True)[:, 0]
    count = int(means[0].numel())
    flat = means.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    rounded = (flat / largest.where(largest > 0, 1.0)).round(decimals=DECIMALS)
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(heat.device)
    best_first = shuffled[rounded[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    place = torch.empty_like(best_first).scatter_(1, best_first, torch.arange(count, device=heat.device).expand_as(best_first))
    down, across = (torch.arange(side, device=heat.device) // patch for side in (rows, cols))
    patch_of_pixel = (down[:, None] * means.shape[2] + across[None, :]).flatten()
    return place[:, patch_of_pixel].argsort(dim=1, stable=True)


def first_pixels(order: Int[Tensor, "image pixel"], fraction: float, size: tuple[int, int]) -> Bool[Tensor, "image row col"]:
    """The pixels that are removed when `fraction` of all are: the first of `order`, exactly so many."""
    count = round(fraction * order.shape[1])
    removed = torch.zeros(order.shape, dtype=torch.bool, device=order.device).scatter_(1, order[:, :count], True)
    return removed.unflatten(1, size)


def area_under(curve: Float[Array, "*batch step"], fractions: Float[Array, " step"]) -> Float64[Array, "*batch"]:
    """The area under a curve over fractions from 0 to 1, by trapezoids: its mean height."""
    return np.asarray(np.trapezoid(np.asarray(curve, dtype=np.float64), fractions, axis=-1))
