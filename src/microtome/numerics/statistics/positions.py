"""Sums over the positions of large feature maps, piece by piece: each piece stays in the cache of one core while it is worked on.

Whole temporaries of a map of 100 MB cost far more in memory traffic than the arithmetic on it does.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

PIECE_SIZE = 1 << 17  # values: 512 kB of float32


class FiringRates(NamedTuple):
    """What the units of a layer did on some images, summed over these."""

    energy: Float64[Tensor, " unit"]  # mean squares over positions
    fired: Float64[Tensor, " unit"]  # images with a value other than zero somewhere
    zero: float  # fractions of all values that are exactly zero
    negative: float  # fractions of all values below zero


def iterate_pieces(images: int, positions: int, units: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of positions that together cover all: about `PIECE_SIZE` values each on a CPU, else one piece."""
    most = PIECE_SIZE if device.type == "cpu" else max(1, images * positions * units)
    some, few = max(1, most // max(1, positions * units)), max(1, most // max(1, units))
    for image in range(0, images, some):
        for position in range(0, positions, few):
            yield slice(image, image + some), slice(position, position + few)


def position_means(values: Float[Tensor, "image unit position"]) -> Float64[Tensor, "image unit"]:
    """The mean over positions, on the CPU: pieces in float32 (float64 for float64 values), their sum in float64."""
    images, units, positions = values.shape
    total = torch.zeros(images, units, dtype=torch.float64)
    for some, few in iterate_pieces(images, positions, units, values.device):
        total[some] += at_least_float(values[some, :, few]).sum(2).cpu()
    return total / positions


def firing_rates(values: Float[Tensor, "image unit position"]) -> FiringRates:
    """How strongly and how often units fire, with how many values are zero or below it, on the CPU."""
    images, units, positions = values.shape
    energy, alive, below = torch.zeros(3, images, units, dtype=torch.float64)
    for some, few in iterate_pieces(images, positions, units, values.device):
        part = at_least_float(values[some, :, few])
        mark = torch.empty_like(part)  # counts are summed as floats: sums of booleans are slow
        energy[some] += part.square().sum(2).cpu()
        alive[some] += torch.ne(part, 0, out=mark).sum(2).cpu()
        if not bool(part.amin() >= 0):  # also where a value is not a number
            below[some] += torch.lt(part, 0, out=mark).sum(2).cpu()
    size = units * positions
    return FiringRates(
        energy.sum(0) / positions, (alive > 0).sum(0).double(), images - float(alive.sum()) / size, float(below.sum()) / size
    )


def at_least_float(values: Tensor) -> Tensor:
    """The values in float32 where they are of half precision, else as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
