"""How much of a kernel is stripes along the rows or along the columns, and what chance gives.

A unit's kernel X, centred over space in each channel, has the energy T = Σ X². The fraction that the means over each row keep is
η_row = kw Σ mean_col(X)² / T; for the columns likewise. D = η_row - η_col is 1 for horizontal stripes, -1 for vertical ones, near 0
for noise and for anything that looks the same turned by 90°; the mean of D over the units of a layer is its index A.

Source: weight banding is of Petrov et al. 2021 (doi:10.23915/distill.00024.009), which gives no number; η is the correlation
ratio (Fisher 1925), the permutation moments are Mantel's (1967), the orientation tensor Bigün & Granlund's (1987). The index,
its adjustment and its nulls are ours.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import normal_tail

CHUNK = 1 << 22  # values worked on together, in float64
STRONG_D = 0.5  # |D| from which a unit counts as banded
BANDED_A = 0.52  # |A| of NMF maps from which the published layers look banded; chosen on those 18 layers


class Bands(NamedTuple):
    """For each unit the fractions of energy in row means and in column means, and their difference; NaN where nothing varies."""

    rows: Float64[Array, " unit"]
    cols: Float64[Array, " unit"]
    direction: Float64[Array, " unit"]


class StructureTest(NamedTuple):
    """Against shuffled positions: how many standard deviations η_row + η_col lies above its mean, and the one-sided p."""

    z: float
    p: float


class Orientation(NamedTuple):
    """The angle of the stripes in degrees, 0 for horizontal and 90 for vertical ones, in (-90, 90]; and how strongly it rules, 0 to 1."""

    angle: float
    coherence: float


def band_indices(kernels: Float[Tensor, "unit channel row col"]) -> Bands:
    """η_row, η_col and D of every unit; units whose channels are all constant over space, or not finite, get NaN."""
    units, channels, rows, cols = kernels.shape
    tensors: list[Tensor] = []
    for part in kernels.split(max(1, CHUNK // max(1, channels * rows * cols))):
        values = part.double()
        values = values - values.mean((2, 3), keepdim=True)
        total = values.square().sum((1, 2, 3))
        along = [side * values.mean(axis).square().sum((1, 2)) for axis, side in ((3, cols), (2, rows))]
        noise = (torch.finfo(torch.float32).eps * part.double().abs().amax((1, 2, 3))) ** 2 * channels * rows * cols
        whole = torch.where(total > noise, total, torch.nan)
        tensors.append(torch.stack([each / whole for each in along]))
    row, col = torch.cat(tensors, 1).numpy() if tensors else np.empty((2, units))
    return Bands(row, col, row - col)


def chance_bands(rows: int, cols: int) -> tuple[float, float]:
    """The expected η_row and η_col when all positions of a kernel are exchangeable: exact for any weights."""
    return (rows - 1) / (rows * cols - 1), (cols - 1) / (rows * cols - 1)


def adjust_for_chance(share: Float[Array, " unit"], expected: float) -> Float[Array, " unit"]:
    """B = (η - e0) / (1 - e0): 1 for perfect stripes, 0 for chance."""
    return (share - expected) / (1 - expected)


def banding_index(direction: Float[Array, " unit"]) -> float:
    """A, the mean of D over the units where it is known; NaN where it is nowhere."""
    known = direction[~np.isnan(direction)]
    return float(known.mean()) if len(known) else math.nan


def strong_share(direction: Float[Array, " unit"]) -> float:
    """The fraction of the units with a known D whose |D| is above `STRONG_D`."""
    known = direction[~np.isnan(direction)]
    return float((np.abs(known) > STRONG_D).mean()) if len(known) else math.nan


def structure_test(kernels: Float[Tensor, "unit channel row col"]) -> StructureTest:
    """Whether positions matter at all: η_row + η_col, summed over units, against every shuffling of each unit's positions.

    Mean and variance over all shufflings are exact; p takes their sum over units for Gaussian, which wants a dozen units or more.
    Any smooth kernel is significant here: this is not banding.
    """
    channels, rows, cols = kernels.shape[1:]
    place = torch.arange(rows * cols)
    row, col = place // cols, place % cols
    layout = (row[:, None] == row) / cols + (col[:, None] == col) / rows
    sums = np.zeros(3)
    for part in kernels.split(max(1, CHUNK // max(1, channels * rows * cols))):
        values = part.double().flatten(2)
        values = values - values.mean(2, keepdim=True)
        grams = values.mT @ values
        total = torch.diagonal(grams, dim1=1, dim2=2).sum(1)
        known = band_indices(part).direction
        keep = torch.from_numpy(~np.isnan(known))
        grams = grams[keep] / total[keep, None, None]
        seen, mean, variance = _mantel_moments(layout.double(), grams)
        sums += [float(each.sum()) for each in (seen, mean, variance)]
    if not sums[2] > 0:
        return StructureTest(math.nan, math.nan)
    z = float((sums[0] - sums[1]) / math.sqrt(sums[2]))
    return StructureTest(z, float(normal_tail(z)))


def _mantel_moments(
    one: Float[Tensor, "place place_"], other: Float[Tensor, "unit place place_"]
) -> tuple[Tensor, Tensor, Tensor]:
    """For each unit Σ one·other off the diagonal, and its mean and variance when the places of `other` are shuffled."""
    n = len(one)
    off = 1 - torch.eye(n, dtype=one.dtype)
    a, b = one * off, other * off
    sums = [(x.sum((-2, -1)), x.square().sum((-2, -1)), x.sum(-1).square().sum(-1)) for x in (a, b)]
    (ga, da, ea), (gb, db, eb) = sums
    mean = ga * gb / (n * (n - 1))
    square = 2 * da * db / (n * (n - 1)) + 4 * (ea - da) * (eb - db) / (n * (n - 1) * (n - 2))
    square = square + (ga**2 - 4 * (ea - da) - 2 * da) * (gb**2 - 4 * (eb - db) - 2 * db) / (n * (n - 1) * (n - 2) * (n - 3))
    return (a * b).sum((-2, -1)), mean, (square - mean**2).clamp(min=0)


def sign_flip_p(direction: Float[Array, " unit"], draws: int = 999, seed: int = 0) -> float:
    """The two-sided p of |A| when each unit's sign is drawn at random, that is when each kernel may be transposed.

    (1 + draws at least as far from 0) / (1 + draws); with a few units it cannot get small, with many it says little about size.
    """
    known = direction[~np.isnan(direction)]
    if not len(known):
        return math.nan
    random = np.random.default_rng(seed)
    seen, beyond = abs(known.sum()) * (1 - 1e-12), 0
    step = max(1, CHUNK // len(known))
    for start in range(0, draws, step):
        signs = 1 - 2 * random.integers(0, 2, size=(min(step, draws - start), len(known)), dtype=np.int8)
        beyond += int((np.abs(signs @ known) >= seen).sum())
    return (1 + beyond) / (1 + draws)


def stripe_orientation(kernels: Float[Tensor, "unit channel row col"]) -> Orientation:
    """The angle of a layer's stripes by the orientation tensor of its gradients, each unit counting alike.

    Gradients are differences over cells of 2 x 2 places, doubled in angle and averaged. NaN where nothing varies. Rows run
    downwards, so 45 is a stripe that rises to the right. For turns other than 90°; it tells banded layers apart less well than A.
    """
    total, count = torch.zeros(2, dtype=torch.float64), 0
    for part in kernels.split(max(1, CHUNK // max(1, kernels[0].numel() if len(kernels) else 1))):
        values = part.double()
        down = values.diff(dim=2)
        right = values.diff(dim=3)
        down, right = (down[..., 1:] + down[..., :-1]) / 2, (right[:, :, 1:] + right[:, :, :-1]) / 2
        energy = (down.square() + right.square()).sum((1, 2, 3))
        keep = energy > 0
        if not bool(keep.any()):
            continue
        # a stripe runs across its gradient: the doubled angle changes sign
        double = torch.stack([(down.square() - right.square()).sum((1, 2, 3)), 2 * (right * down).sum((1, 2, 3))])
        total += (double[:, keep] / energy[keep]).sum(1)
        count += int(keep.sum())
    if not count:
        return Orientation(math.nan, math.nan)
    along, across = total.tolist()
    angle = math.degrees(math.atan2(across, along)) / 2
    return Orientation(angle + 180 if angle <= -90 else angle, math.hypot(along, across) / count)
