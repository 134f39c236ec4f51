"""How much a block changes what passes through it: cosine and angle between its input and its output.

Both compare directions only; a block can look idle here and still be needed, so measure its removal too.

Source: block influence, Men et al. 2024 (ShortGPT), arXiv:2403.03853, eq. 1; angular distance, Gromov et al. 2024,
arXiv:2403.17887, eq. 7.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from microtome.numerics.statistics.positions import at_least_float, iterate_pieces

OPPOSED_CHORD = 1.9  # chord between unit vectors from which on the other chord is too short to follow from it


def influence_and_angle(
    x_in: Float[Tensor, "image position unit"], x_out: Float[Tensor, "image position unit"]
) -> tuple[Float64[Tensor, " image"], Float64[Tensor, " image"]]:
    """Block influence and angular distance, each averaged over positions, from one look at the features.

    Block influence is 1 - cosine between input and output: 0 where the block only rescales, 1 where it turns by 90°. Angular distance
    is arccos(cosine) / π: 0 for the same direction, 1/2 for a right angle, 1 for opposite. Positions where either side is all zeros
    have no direction and are left out; an image of only such is not a number.
    """
    apart, across = _chords(x_in, x_out)
    return (apart.square() / 2).nanmean(1), (2 / math.pi * torch.atan2(apart, across)).nanmean(1)


def _chords(x_in: Tensor, x_out: Tensor) -> tuple[Tensor, Tensor]:
    """|u - v| and |u + v| of the unit vectors at each position, in float64.

    1 - cos = |u - v|² / 2 keeps its digits where the two nearly agree, which is the case of interest; 1 - u·v would not. The other
    chord follows from |u - v|² + |u + v|² = 4, except where the two nearly oppose each other.
    """
    images, positions, units = x_in.shape
    kind = torch.float64 if x_in.dtype == torch.float64 else torch.float32
    apart = torch.empty(images, positions, dtype=kind, device=x_in.device)
    across = torch.empty_like(apart)
    for at in iterate_pieces(images, positions, units, x_in.device):
        first, second = (at_least_float(features[at]) for features in (x_in, x_out))
        length = first.norm(dim=-1)
        scale = (length / second.norm(dim=-1)).unsqueeze(-1)  # makes the output as long as the input
        apart[at] = torch.addcmul(first, second, scale, value=-1).norm(dim=-1) / length
        opposed = apart[at] > OPPOSED_CHORD
        across[at] = (4 - apart[at].square()).clamp_min(0).sqrt()
        if bool(opposed.any()):
            across[at] = torch.where(opposed, torch.addcmul(first, second, scale).norm(dim=-1) / length, across[at])
    return apart.cpu().double(), across.cpu().double()
