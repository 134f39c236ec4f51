"""Removed pixels filled in from those around them: each becomes the weighted mean of its eight neighbours, plus a little noise.

A removed pixel that is grey shows the network where something was removed. Here every removed pixel equals the mean of its
neighbours, those to the sides weighted twice the diagonal ones, which is one linear equation for each. They are solved together by
conjugate gradients, preconditioned by one multigrid cycle, which takes a handful of steps whatever the size of the hole.

Source: ROAD, Rong et al. 2022, arXiv:2202.00449, sec. 5.1 (weights 1/6 and 1/12, noise of standard deviation 0.01); Tatebe 1993, "The
multigrid preconditioned conjugate gradient method".
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

CORNER = 1 / 12  # weight of a neighbour at a corner; one beside counts twice as much
SMALLEST = 4  # px of the shorter side at which no coarser grid is made
SMOOTHING = 2  # damped Jacobi steps before and after each correction
DAMPING = 0.8
MAX_STEPS = 200
NOISE = 0.01
TOLERANCE = 1e-2  # largest error left, as a fraction of the standard deviation of the pixels: that of the noise


def linear_imputation(
    x: Float[Tensor, "image rgb row col"], removed: Bool[Tensor, "image row col"], tolerance: float = TOLERANCE
) -> Float[Tensor, "image rgb row col"]:
    """The images with every removed pixel at the weighted mean of its neighbours; zero where nothing is left of an image.

    Solved until a further step changes no pixel by more than `tolerance` times the standard deviation of all pixels.
    """
    whole = removed.flatten(1).all(1)[:, None, None]
    hole = (removed & ~whole)[:, None].to(x)
    known = x * ~removed[:, None]
    return known + _solve(hole * _around(known), hole, tolerance * (float(x.std()) or 1.0))


def noisy_linear_imputation(
    x: Float[Tensor, "image rgb row col"],
    removed: Bool[Tensor, "image row col"],
    seed: int,
    noise: float = NOISE,
    tolerance: float = TOLERANCE,
) -> Float[Tensor, "image rgb row col"]:
    """`linear_imputation` with noise of that standard deviation on the removed pixels, the same for every call of one seed."""
    drawn = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
    return linear_imputation(x, removed, tolerance) + noise * drawn * removed[:, None]


def _around(values: Tensor) -> Tensor:
    """The weighted sum of the eight neighbours; beyond the image's edge there is nothing."""
    # the kernel is (1, 2, 1) down times (1, 2, 1) across over 12, without its middle
    down = 2 * values
    down[:, :, 1:] += values[:, :, :-1]
    down[:, :, :-1] += values[:, :, 1:]
    both = 2 * down
    both[:, :, :, 1:] += down[:, :, :, :-1]
    both[:, :, :, :-1] += down[:, :, :, 1:]
    return both.sub_(values, alpha=4).mul_(CORNER)


def _solve(right: Tensor, hole: Tensor, tolerance: float) -> Tensor:
    """The values in the hole, zero elsewhere, whose equations have the right-hand side `right`."""
    grids = _grids(hole)
    hole, weights = grids[0]
    value, rest = torch.zeros_like(right), right
    direction, energy = torch.zeros_like(right), torch.ones_like(right[:, :, :1, :1])
    for _ in range(MAX_STEPS):
        ready = _cycle(rest, grids)
        new = (rest * ready).sum((2, 3), keepdim=True)
        direction = ready + new / energy.where(energy > 0, 1.0) * direction
        image = hole * (weights * direction - _around(direction))
        curvature = (direction * image).sum((2, 3), keepdim=True)
        step = new / curvature.where(curvature > 0, 1.0)
        value = value + step * direction
        rest = rest - step * image
        energy = new
        if float((step * direction).abs().max()) <= tolerance:
            break
    return value


def _grids(hole: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The hole and the sums of the weights in it, at every size from the image's own down."""
    grids = [(hole, _around(torch.ones_like(hole)))]
    while min(grids[-1][0].shape[2:]) >= 2 * SMALLEST:
        coarse = (F.avg_pool2d(grids[-1][0], 2, ceil_mode=True) == 1).to(hole)  # what is known stays known
        grids.append((coarse, _around(torch.ones_like(coarse))))
    return grids


def _cycle(right: Tensor, grids: list[tuple[Tensor, Tensor]]) -> Tensor:
    """One symmetric multigrid cycle from zero: an approximate solution for the right-hand side."""
    hole, weights = grids[0]
    scale = DAMPING * hole / weights
    value = scale * right
    for _ in range(SMOOTHING - 1):
        value = value + scale * (right - weights * value + _around(value))
    if len(grids) > 1:
        rest = hole * (right - weights * value + _around(value))
        # equations grow with the square of the distance of pixels, so that those of the mean are four times as large
        below = _cycle(grids[1][0] * 4 * F.avg_pool2d(rest, 2, ceil_mode=True), grids[1:])
        value = value + hole * F.interpolate(below, scale_factor=2, mode="nearest")[:, :, : value.shape[2], : value.shape[3]]
    for _ in range(SMOOTHING):
        value = value + scale * (right - weights * value + _around(value))
    return value
