"""Where a layer's grid positions really lie in the image, and maps carried from there to other grids.

A position's centre is not where a plain tiling puts it: padding, even kernels and the order of strides move it. In a ResNet
position j is centred on pixel 32·j, not on 32·(j + ½) - ½; in VGG on 32·j + 15.5. `following.Places` measures it. Pixels are
counted from 0, so the image reaches from -½ to size - ½.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 3-5.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from microtome.numerics.arrays import Array


@dataclass(frozen=True)
class Axis:
    """Equally spaced positions along one side of the image: position j is centred on pixel `start + jump · j`.

    `spread` is the largest disagreement, in pixels, of paths that were joined (their mean is taken); `exact` is False where an
    operation that is not followed changed the number of positions, and the finer positions were assumed to have been tiled evenly.
    """

    start: float
    jump: float
    count: int
    spread: float = 0.0
    exact: bool = True

    @property
    def centres(self) -> Float64[Array, " position"]:
        """The pixel that each position is centred on."""
        return self.start + self.jump * np.arange(self.count, dtype=np.float64)

    def extent(self, size: int) -> tuple[float, float]:
        """Where the outer edges of the first and the last position lie, as fractions of a side of `size` px; may leave [0, 1]."""
        near = self.start - self.jump / 2 + 0.5
        return near / size, (near + self.jump * self.count) / size

    def edges(self, size: int) -> Float64[Array, " edge"]:
        """Borders of the parts of the side that are nearest to each position's centre, as fractions; the first is 0, the last 1.

        A pixel takes the heat of the nearest position, so that each has one, also where the grid stops short of the edge.
        """
        between = (self.centres[1:] + self.centres[:-1]) / 2 + 0.5
        return np.concatenate([[0.0], (between / size).clip(0.0, 1.0), [1.0]])

    def regrid(self, count: int) -> "Axis":
        """The same stretch of image cut into `count` positions; itself where that is its own count."""
        if count == self.count:
            return self
        ratio = self.count / count
        return replace(
            self,
            start=self.start + (ratio - 1) / 2 * self.jump,
            jump=self.jump * ratio,
            count=count,
            exact=self.exact and _is_even(ratio),
        )


@dataclass(frozen=True)
class Where:
    """Where the positions of a tensor lie, and which of its dimensions are rows and columns (None: flattened into tokens).

    `paths` counts the ways from the image to the tensor, so that sums of many branches give each path the same weight.
    """

    row: Axis
    col: Axis
    dims: tuple[int, int] | None = (2, 3)
    paths: float = 1.0

    @property
    def counts(self) -> tuple[int, int]:
        """(rows, cols) of the grid."""
        return self.row.count, self.col.count

    def regrid(self, grid: tuple[int, int]) -> "Where":
        """The same stretch of image cut into that grid."""
        return replace(self, row=self.row.regrid(grid[0]), col=self.col.regrid(grid[1]))

    def extent(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """(top, bottom, left, right) outer edges of the grid, as fractions of an image of `size` (rows, cols) px."""
        return (*self.row.extent(size[0]), *self.col.extent(size[1]))

    @property
    def exact(self) -> bool:
        """Whether every operation on the way was followed."""
        return self.row.exact and self.col.exact


def tile(size: int, count: int) -> Axis:
    """`count` equal positions that tile a side of `size` px: what patches of a vision transformer do."""
    jump = size / count
    return Axis((jump - 1) / 2, jump, count)


def even_tiling(size: tuple[int, int], grid: tuple[int, int]) -> Where:
    """A grid that tiles the image evenly, both (rows, cols)."""
    return Where(tile(size[0], grid[0]), tile(size[1], grid[1]))


def resample_area(
    heat: Float[Tensor, "image row col"], where: Where, size: tuple[int, int], grid: tuple[int, int]
) -> Float64[Tensor, "image row_ col_"]:
    """The mean heat in each position of an even `grid` over the image of `size` px, each pixel taking that of its nearest centre.

    The mean over the image is kept, and an even map stays even. `grid = size` gives one value for each pixel.
    """
    down = _overlap_weights(where.row.edges(size[0]), grid[0]).to(heat.device)
    across = _overlap_weights(where.col.edges(size[1]), grid[1]).to(heat.device)
    return down @ heat.double() @ across.T


def interpolate(
    heat: Float[Tensor, "image row col"], where: Where, size: tuple[int, int], grid: tuple[int, int]
) -> Float64[Tensor, "image row_ col_"]:
    """The heat in the middle of each position of an even `grid`, linear between true centres, flat beyond them: for looking at."""
    down = _linear_weights(where.row, size[0], grid[0]).to(heat.device)
    across = _linear_weights(where.col, size[1], grid[1]).to(heat.device)
    return down @ heat.double() @ across.T


def _linear_weights(axis: Axis, size: int, bins: int) -> Float64[Tensor, "bin position"]:
    """Weights of linear interpolation at the middles of `bins` equal parts of a side of `size` px; rows sum to 1."""
    middles = (np.arange(bins) + 0.5) / bins * size - 0.5
    at = ((middles - axis.start) / axis.jump).clip(0, axis.count - 1)
    return torch.from_numpy((1 - np.abs(at[:, None] - np.arange(axis.count)[None, :])).clip(0.0, None))


def _overlap_weights(edges: Float64[Array, " edge"], bins: int) -> Float64[Tensor, "bin position"]:
    """The fraction of each of `bins` equal parts of [0, 1] that each stretch between neighbouring edges covers; rows sum to 1."""
    sides = np.arange(bins + 1) / bins
    near = np.maximum(edges[None, :-1], sides[:-1, None])
    far = np.minimum(edges[None, 1:], sides[1:, None])
    return torch.from_numpy(np.clip(far - near, 0.0, None) * bins)


def _is_even(ratio: float) -> bool:
    return ratio == round(ratio) or 1 / ratio == round(1 / ratio)
