"""Maps carried from the positions of their layer to the image: at true centres, by nearest position, linearly, or by Gaussians."""

from collections.abc import Mapping

import torch
from torch import Tensor

from microtome.instruments.attribution.visible_layers import VisibleLayers
from microtome.numerics.maps.gaussians import upsample_gaussian
from microtome.numerics.receptive.geometry import Where, even_tiling, interpolate, resample_area


def positive_part(shown: VisibleLayers, name: str, signed: Tensor) -> Tensor:
    """The positive evidence of a layer on its own grid; where positions are drawn as Gaussians, evidence against is kept until then."""
    return signed if name in shown.sigma else signed.relu()


def resample_map(shown: VisibleLayers, name: str, heat: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The mean of a layer's map in each position of an even `grid` over the image of `size` px, (image, row, col)."""
    if name not in shown.sigma:
        return resample_area(heat, shown.where[name], size, grid)
    return resample_area(_gaussian(shown, name, heat, size), even_tiling(size, size), size, grid)


def resample_positive(shown: VisibleLayers, name: str, signed: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The mean positive evidence in each position of an even `grid`; with Gaussians that of the drawn map."""
    if name not in shown.sigma:
        return resample_area(signed.relu(), shown.where[name], size, grid)
    return resample_area(_gaussian(shown, name, signed, size).relu(), even_tiling(size, size), size, grid)


def draw_map(shown: VisibleLayers, name: str, signed: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """A layer's map for looking at, on an even `grid`: linear between true centres, or by Gaussians."""
    if name not in shown.sigma:
        return interpolate(signed, shown.where[name], size, grid)
    return resample_area(_gaussian(shown, name, signed, size), even_tiling(size, size), size, grid)


def bilinear_shift(where: Where, size: tuple[int, int]) -> tuple[float, float]:
    """By how many pixels (down, to the right) plain bilinear upsampling, which tiles the image evenly, would shift a map."""
    even = even_tiling(size, where.counts)
    down, right = (
        float((plain.centres - true.centres).mean()) for plain, true in ((even.row, where.row), (even.col, where.col))
    )
    return down, right


def fuse_maps(
    shown: VisibleLayers, maps: Mapping[str, Tensor], names: tuple[str, ...], size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """The mean of the maps of these layers on one grid (image, row, col), each divided by its mean size so that all have equal say.

    A map that is zero everywhere has none.
    """
    scaled: list[Tensor] = []
    for name in names:
        drawn = draw_map(shown, name, maps[name], size, grid)
        mass = drawn.abs().mean((1, 2), keepdim=True)
        scaled.append((drawn / mass.where(mass > 0, 1.0)).to(maps[name].dtype))
    return torch.stack(scaled).mean(0)


def _gaussian(shown: VisibleLayers, name: str, heat: Tensor, size: tuple[int, int]) -> Tensor:
    return upsample_gaussian(heat, shown.where[name], size, shown.sigma[name])
