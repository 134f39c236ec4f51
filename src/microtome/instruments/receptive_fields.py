"""Theoretical receptive fields of the layers of a specimen, by arithmetic on one forward pass, and the probe that checks them.

    fields(specimen)["layer4"].rows(3)  # first and last row of pixels that the positions of row 3 can depend on

The probe fills rows or columns of the input with NaN and watches which positions become NaN: it sees every structural dependence,
gates and weights of zero included, and needs 2 · log2(size) forward passes for one position.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.numerics.receptive.field import Field, ReachMode, expand_parts, field_of
from microtome.numerics.receptive.geometry import Where
from microtome.numerics.receptive.reach import WHOLE_IMAGE, Reach
from microtome.specimen import Specimen, watch


def receptive_fields(
    specimen: Specimen, at: str | Sequence[str] | None = None, size: tuple[int, int] | None = None
) -> dict[str, Field]:
    """Layer name -> theoretical receptive field, for the layers `at` (all where None) that have positions and see the image.

    From one forward pass of an image of `size` (rows, cols) px, the recipe's where None. Works on the meta device, except that
    attention masks computed there are not known.

    Raises UnknownName for a pattern that matches nothing.
    """
    names = [layer.name for layer in specimen.layers] if at is None else specimen.find(at)
    names = [name for name in names if specimen.layer(name).layout != "other"]
    rows, cols = size or specimen.recipe.size
    seen = _trace_fields(specimen, [*names, *(f"<{name}" for name in names)], (rows, cols))
    fields: dict[str, Field] = {}
    for name in names:
        if name in seen:
            shape, shade, where = seen[name]
            maps = [specimen.layer(name).maps(part) for part in expand_parts(shade, shape)]
            entered = seen.get(f"<{name}")
            field = field_of(maps, shade, where, (rows, cols))
            fields[name] = field if entered is None else replace(field, entering=_path_length(entered[1].small))
    return fields


def input_fields(specimen: Specimen, names: Sequence[str]) -> dict[str, Field]:
    """Convolution name -> theoretical receptive field of what goes into it, (image, unit, row, col), for an image of the recipe's size.

    Layers whose input does not come from the image are left out.
    """
    seen = _trace_fields(specimen, [f"<{name}" for name in names], specimen.recipe.size)
    return {
        name.removeprefix("<"): field_of(expand_parts(shade, shape), shade, where, specimen.recipe.size)
        for name, (shape, shade, where) in seen.items()
    }


def _trace_fields(
    specimen: Specimen, watched: Sequence[str], size: tuple[int, int]
) -> dict[str, tuple[torch.Size, Reach, Where]]:
    """What is watched -> its shape, what its elements see and where its positions lie, where it comes from the image."""
    picture = _blank_image(specimen, *size)
    reach = ReachMode(picture)
    seen: dict[str, tuple[torch.Size, Reach, Where]] = {}

    def look(name: str, value: Tensor) -> None:
        known = reach.of(value)
        if known is not None:
            seen[name] = (value.shape, *known)

    with torch.no_grad(), watch(specimen, watched, each=look), reach:
        specimen.net(picture)
    return seen


def _path_length(small: tuple[float, float]) -> tuple[float, float]:
    return small[0] if small[0] < WHOLE_IMAGE / 2 else inf, small[1] if small[1] < WHOLE_IMAGE / 2 else inf


def _blank_image(specimen: Specimen, rows: int, cols: int) -> Tensor:
    for parameter in specimen.net.parameters():
        if parameter.is_floating_point():
            return torch.zeros(1, specimen.recipe.channels, rows, cols, device=parameter.device, dtype=parameter.dtype)
    return torch.zeros(1, specimen.recipe.channels, rows, cols)


def probe_pixels(
    specimen: Specimen, name: str, cell: tuple[int, int], size: tuple[int, int] | None = None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """((first, last) row, (first, last) column) of the pixels that one position of a layer depends on, found by NaN and bisection.

    Clipped to the image of `size` (rows, cols) px. Raises Unmeasurable where NaN in the whole image does not reach the position.
    """
    shape = size or specimen.recipe.size
    picture = _blank_image(specimen, *shape) + 0.1

    def hit(axis: int, first: int, last: int) -> bool:
        ruined = picture.clone()
        ruined.narrow(2 + axis, first, last - first).fill_(float("nan"))
        turned: list[bool] = []

        def look(_: str, value: Tensor) -> None:
            turned.append(bool(specimen.layer(name).maps(value)[0, :, cell[0], cell[1]].isnan().any()))

        with torch.no_grad(), watch(specimen, name, each=look):
            specimen.net(ruined)
        return any(turned)

    extents: list[tuple[int, int]] = []
    for axis in (0, 1):
        if not hit(axis, 0, shape[axis]):
            raise Unmeasurable(f"{name}: NaN in the whole image does not reach position {cell}; its values hide or drop NaN.")
        low, high = 0, shape[axis] - 1  # the first pixel is the largest r for which rows [0, r) leave the position alone
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (low, middle - 1) if hit(axis, 0, middle) else (middle, high)
        begin, low, high = low, 0, shape[axis] - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if hit(axis, middle + 1, shape[axis]) else (low, middle)
        extents.append((begin, low))
    return extents[0], extents[1]


def inner_extents(specimen: Specimen, names: Sequence[str]) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """Convolution name -> (first, end) rows and columns of its input that depend on the image: the map without padding put on it.

    Found with an image of NaN: what stays finite around what does not is padding. Where NaN does not get through, all counts as map.
    """
    extents: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}

    def look(name: str, value: Tensor) -> None:
        reached = value[0].isnan().any(0)
        if bool(reached.any()):
            lines = [reached.any(1 - axis).nonzero().flatten() for axis in (0, 1)]
            rows, cols = ((int(line[0]), int(line[-1]) + 1) for line in lines)
            extents[name.removeprefix("<")] = rows, cols

    picture = torch.full_like(_blank_image(specimen, *specimen.recipe.size), float("nan"))
    with torch.no_grad(), watch(specimen, [f"<{name}" for name in names], each=look):
        specimen.net(picture)
    return extents
