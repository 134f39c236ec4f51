"""One-sided non-negative factorisation of kernels, all units at once: a few spatial maps for every unit.

A unit's kernel, positions by input channels, is split into its positive and its negative part side by side (channels become twice
as many), and that non-negative matrix is factorised: the spatial maps are non-negative, the channel loadings in effect signed.

Source: one-sided NMF of weights, Petrov et al. 2021 (Weight Banding, doi:10.23915/distill.00024.009); hierarchical alternating
least squares with several inner sweeps, Gillis & Glineur 2012, arXiv:1107.5194; carried further, Ang & Gillis 2019,
arXiv:1805.06604; the start, Boutsidis & Gallopoulos 2008 (NNDSVDa). Doing all units at once is ours.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 1 << 19  # values of the split kernels that are worked on together: what memory is bounded by
MAX_ROUNDS, INNER_SWEEPS, CHECK_EVERY = (
    200,
    2,
    5,
)  # at most so many rounds, inner sweeps in each, rounds between two looks at the objective
TOLERANCE = 1e-3  # relative fall of the squared error between two looks below which a unit is done
TINY = 1e-20


class NmfFactors(NamedTuple):
    """Maps (unit, position, factor), loadings (unit, factor, 2 channels; positive parts first), squared error of each unit."""

    maps: Float[Tensor, "unit position factor"]
    loadings: Float[Tensor, "unit factor loading"]
    error: Float[Tensor, " unit"]


def factorise(
    kernels: Float[Tensor, "unit channel position"], count: int = 3, *, rounds: int = MAX_ROUNDS, tolerance: float = TOLERANCE
) -> NmfFactors:
    """The one-sided factorisation of every unit into `count` factors; nothing is drawn at random.

    Map and loading of a factor have the same norm, so that maps of one unit can be compared; a unit of only zeros has zero maps.
    With fewer positions or channels than `count` the factors that are left over are zero. Memory beyond input and result is
    bounded, whatever the number of units.
    """
    channels, positions = kernels.shape[1:]
    some = max(1, CHUNK // (2 * channels * positions))
    parts = [_factorise_chunk(split_signs(part), count, rounds, tolerance) for part in kernels.split(some)]
    if not parts:
        return NmfFactors(*(kernels.new_zeros(0, *sides) for sides in ((positions, count), (count, 2 * channels), ())))
    return NmfFactors(*(torch.cat(each) for each in zip(*parts, strict=True)))


def split_signs(kernels: Float[Tensor, "unit channel position"]) -> Float[Tensor, "unit position loading"]:
    """Positive and negative parts side by side along the channels: non-negative, and positive minus negative is the kernel."""
    values = kernels.transpose(1, 2).float()
    return torch.cat([values.clamp(min=0), (-values).clamp(min=0)], 2)


def _factorise_chunk(whole: Float[Tensor, "unit position loading"], count: int, rounds: int, tolerance: float) -> NmfFactors:
    largest = whole.amax((1, 2), keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    maps, loadings = _alternate(whole / scale, count, rounds, tolerance)
    one, two = (torch.linalg.vector_norm(side, dim=2) for side in (maps, loadings))
    both = (one * two * scale[:, :, 0]).sqrt()
    maps = maps * torch.where(both > 0, both / one.clamp(min=TINY), 0.0)[:, :, None]
    loadings = loadings * torch.where(both > 0, both / two.clamp(min=TINY), 0.0)[:, :, None]
    error = (whole - maps.mT @ loadings).square_().sum((1, 2))
    return NmfFactors(maps.mT.contiguous(), loadings, error)


def _alternate(
    values: Float[Tensor, "unit position loading"], count: int, rounds: int, tolerance: float
) -> tuple[Float[Tensor, "unit factor position"], Float[Tensor, "unit factor loading"]]:
    """Maps and loadings after alternating, each step carried a little further; a unit whose error rises goes back and is tamer."""
    maps, loadings = _initial_factors(values, count)
    ahead, apart = maps, loadings  # where the next round starts from; `maps` and `loadings` are the best so far
    total = values.square().sum((1, 2))
    error, seen = torch.full_like(total, float("inf")), torch.full_like(total, float("inf"))
    reach, limit = torch.full_like(total, 0.5), torch.ones_like(total)
    for turn in range(rounds):
        apart = _sweep(apart, ahead @ values, ahead @ ahead.mT)
        apart = torch.lerp(loadings, apart, 1 + reach[:, None, None]).clamp_(min=0)
        inner, squares = apart @ values.mT, apart @ apart.mT
        step = _sweep(ahead, inner, squares)
        now = total - 2 * (step * inner).sum((1, 2)) + ((step @ step.mT) * squares).sum((1, 2))
        worse = now > error
        back = worse[:, None, None]
        ahead = torch.where(back, maps, torch.lerp(maps, step, 1 + reach[:, None, None]).clamp_(min=0))
        maps = torch.where(back, maps, step)
        if bool(worse.any()):
            apart = torch.where(back, loadings, apart)
        loadings = apart
        limit = torch.where(worse, reach, (1.05 * limit).clamp(max=1))
        reach = torch.where(worse, reach / 1.5, torch.minimum(limit, 1.1 * reach))
        error = torch.where(worse, error, now)
        if turn % CHECK_EVERY == CHECK_EVERY - 1:
            if bool((seen - error <= tolerance * error.clamp(min=1e-6 * total)).all()):
                break
            seen = error
    return maps, loadings


def _sweep(
    factors: Float[Tensor, "unit factor side"],
    inner: Float[Tensor, "unit factor side"],
    squares: Float[Tensor, "unit factor _"],
) -> Float[Tensor, "unit factor side"]:
    """Each row in turn the non-negative best, given the others, a few times over. A factor that nothing reads becomes zero."""
    rows = list(factors.unbind(1))
    own = torch.diagonal(squares, dim1=1, dim2=2)
    inverse = torch.where(own > TINY, 1 / own.clamp(min=TINY), 0.0)
    share, goal = squares * inverse[:, :, None], inner * inverse[:, :, None]
    for _ in range(INNER_SWEEPS):
        for row in range(len(rows)):
            step = goal[:, row].clone()
            for other in range(len(rows)):
                if other != row:
                    step.addcmul_(share[:, row, other, None], rows[other], value=-1)
            rows[row] = step.clamp_(min=0)
    return torch.stack(rows, 1)


def _initial_factors(values: Float[Tensor, "unit position loading"], count: int) -> tuple[Tensor, Tensor]:
    """NNDSVD with the mean in place of zeros: the larger-signed parts of the leading singular pairs."""
    units, positions, width = values.shape
    rank = min(count, positions, width)
    squares, left = torch.linalg.eigh((values @ values.mT).double())
    left = left[:, :, -rank:].flip(2).to(values.dtype)
    size = squares[:, -rank:].flip(1).clamp(min=0).sqrt().to(values.dtype)
    right = left.mT @ values / size.clamp(min=TINY)[:, :, None]
    left = left.mT
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for sign in (1, -1):
        one, two = (sign * left).clamp(min=0), (sign * right).clamp(min=0)
        parts.append((one, two, torch.linalg.vector_norm(one, dim=2) * torch.linalg.vector_norm(two, dim=2)))
    positive = parts[0][2] >= parts[1][2]
    one, two = (torch.where(positive[:, :, None], parts[0][place], parts[1][place]) for place in (0, 1))
    weight = torch.where(positive, parts[0][2], parts[1][2])
    maps, loadings = values.new_zeros(units, count, positions), values.new_zeros(units, count, width)
    for target, part in ((maps, one), (loadings, two)):
        norm = torch.linalg.vector_norm(part, dim=2).clamp(min=TINY)
        target[:, :rank] = part * ((size * weight).sqrt() / norm)[:, :, None]
    mean = values.mean((1, 2))[:, None, None]
    for target in (maps, loadings):
        own = target[:, :rank]
        target[:, :rank] = torch.where(own > 0, own, mean)
    return maps, loadings
