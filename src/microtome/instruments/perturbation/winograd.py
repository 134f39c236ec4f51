"""Convolutions by 3 × 3 kernels with 2.25 times fewer multiplications, for many units.

Tiles of 2 × 2 outputs are computed from 4 × 4 inputs by 16 products for each pair of units instead of 36. The transforms only add,
subtract and halve, so the result is as close to the exact one as that of an ordinary kernel, or closer.

Source: Lavin & Gray 2016, arXiv:1509.09308, sec. 4.1, F(2 × 2, 3 × 3).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MIN_UNITS = 384  # read and given, at least: with fewer, the transforms cost more than they save
MAX_WASTE = 1.4  # positions computed for each one wanted, at most
TILES = 96  # worked on together: so many that their transforms stay in the cache
KERNELS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def transform_kernels(weight: Float[Tensor, "unit unit_ 3 3"]) -> Float[Tensor, "16 unit unit_"]:
    """The kernels as `convolve` wants them: by place in the 4 × 4 tile, units given, units read."""
    transform = weight.new_tensor(KERNELS)
    both = torch.einsum("ai,bj->abij", transform, transform).reshape(16, 9)
    flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (both @ flat).view(16, *weight.shape[:2])


def is_faster(rows: int, cols: int, units: int, read: int) -> bool:
    """Whether an output of so many rows and cols is computed faster so than by an ordinary kernel."""
    return min(units, read) >= MIN_UNITS and 4 * _half_up(rows) * _half_up(cols) <= MAX_WASTE * rows * cols


def convolve(
    x: Float[Tensor, "image row col unit_"],
    kernels: Float[Tensor, "16 unit unit_"],
    bias: Float[Tensor, " unit"] | None,
    padding: tuple[int, int],
) -> Float[Tensor, "image row_ col_ unit"]:
    """The convolution of maps (units last), stride 1, with so many rows and cols of zeros around; `kernels` from `transform_kernels`."""
    rows, cols = (x.shape[axis] + 2 * padding[axis - 1] - 2 for axis in (1, 2))
    down, across = _half_up(rows), _half_up(cols)
    beyond = (2 * down - rows, 2 * across - cols)
    around = (0, 0, padding[1], padding[1] + beyond[1], padding[0], padding[0] + beyond[0])
    wide = F.pad(x, around) if any(around) else x
    made = x.new_empty(len(x), rows, cols, kernels.shape[1])
    each = max(1, round(TILES / (down * across)))
    for start in range(0, len(x), each):
        _convolve_tiles(wide[start : start + each], kernels, bias, made[start : start + each])
    return made


def _convolve_tiles(x: Tensor, kernels: Tensor, bias: Tensor | None, made: Tensor) -> None:
    count, height, width, read = x.shape
    down, across = height // 2 - 1, width // 2 - 1
    rows = x.new_empty(4, count, down, width, read)
    _input_transform([x[:, i : i + 2 * down : 2] for i in range(4)], list(rows))
    tiles = x.new_empty(4, 4, count, down, across, read)  # row and col in the tile
    _input_transform([rows[:, :, :, i : i + 2 * across : 2] for i in range(4)], [tiles[:, i] for i in range(4)])
    products = torch.bmm(tiles.view(16, -1, read), kernels.transpose(1, 2)).view(4, 4, count, down, across, -1)
    for row, half in enumerate(_output_transform(list(products))):
        for col, part in enumerate(_output_transform(list(half))):
            into = made[:, row::2, col::2]
            kept = part[:, : into.shape[1], : into.shape[2]]
            into.copy_(kept) if bias is None else torch.add(kept, bias, out=into)


def _input_transform(parts: list[Tensor], out: list[Tensor]) -> None:
    """The input transform along one axis, from four slices two positions apart."""
    torch.sub(parts[0], parts[2], out=out[0])
    torch.add(parts[1], parts[2], out=out[1])
    torch.sub(parts[2], parts[1], out=out[2])
    torch.sub(parts[1], parts[3], out=out[3])


def _output_transform(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The output transform along one axis: the first and the second of two positions."""
    return (parts[1] + parts[2]).add_(parts[0]), (parts[1] - parts[2]).sub_(parts[3])


def _half_up(count: int) -> int:
    return -(-count // 2)
