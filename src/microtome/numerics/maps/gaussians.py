"""Maps enlarged by Gaussians around the true centres of their positions.

L(p) = Σ M_ij · K(p - c_ij), with K a Gaussian that is separable in rows and columns. *partition* divides the weights of all positions at a
pixel by their sum, so that a constant map stays constant; *mass* divides the weights of a position at all pixels of the image by their
sum, so that the sum of the map stays. On an endless grid a constant map ripples by 4 · exp(-2π²σ² / stride²) of its mean from
peak to peak, less than 3% from σ = stride / 2 on.

Source: ours.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from microtome.numerics.arrays import Array
from microtome.numerics.receptive.geometry import Axis, Where

Normalise = Literal["partition", "mass"]


def gaussian_weights(
    axis: Axis, pixels: Float64[Array, " pixel"], sigma: float, normalise: Normalise
) -> Float64[Tensor, "pixel position"]:
    """The weight of each position at each pixel; the sum over positions is 1 (partition), or the sum over pixels is (mass)."""
    away = (pixels[:, None] - axis.centres[None, :]) / sigma
    return torch.from_numpy(-(away**2) / 2).softmax(1 if normalise == "partition" else 0)


def upsample_gaussian(
    heat: Float[Tensor, "image row col"],
    where: Where,
    size: tuple[int, int],
    sigma: tuple[float, float],
    normalise: Normalise = "partition",
) -> Float64[Tensor, "image row_ col_"]:
    """The map at each pixel of an image of `size` px, every position a Gaussian of `sigma` (row, col) px at its true centre."""
    down, across = (
        gaussian_weights(axis, np.arange(side, dtype=np.float64), width, normalise).to(heat.device)
        for axis, side, width in zip((where.row, where.col), size, sigma, strict=True)
    )
    return down @ heat.double() @ across.T
