"""Where the positions of a layer lie in the image, and how far that is from an even tiling."""

from collections.abc import Sequence

import torch
from torch import Tensor

from microtome.numerics.receptive.geometry import Where, even_tiling
from microtome.numerics.receptive.positions import PositionMode
from microtome.specimen import Specimen, watch


def cell_positions(specimen: Specimen, names: Sequence[str], x: Tensor) -> dict[str, Where]:
    """Where the positions of each layer lie in the input of `x`'s size, from one forward pass of its first image."""
    positions_by_layer: dict[str, Where | None] = {}
    probe = x[:1].clone()
    follow = PositionMode(probe)

    def look(name: str, value: Tensor) -> None:
        positions_by_layer[name] = follow.of(value)

    with torch.no_grad(), watch(specimen, names, each=look), follow:
        specimen.net(probe)
    size = (int(probe.shape[2]), int(probe.shape[3]))
    seated: dict[str, Where] = {}
    for name in names:
        grid = specimen.layer(name).grid
        known = positions_by_layer[name]
        assert grid is not None  # only layers with rows and columns come here
        seated[name] = even_tiling(size, grid) if known is None else known.regrid(grid)
    return seated


def offset_px(where: Where, size: tuple[int, int]) -> float:
    """By how many pixels the positions' centres lie off an even tiling of the image, at most."""
    even = even_tiling(size, where.counts)
    pairs = ((where.row, even.row), (where.col, even.col))
    return max(abs(float((true.centres - plain.centres).mean())) for true, plain in pairs)
