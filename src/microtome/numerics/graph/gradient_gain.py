"""How a layer, group norm and activation change the size of the gradient that goes back through them, by the number of groups.

The gain is the mean square of the gradient by the layer's input over that of the gradient by the activation's output, for gradients
that are normal noise: 1 keeps the size, value by value. For rectified normal inputs, zero-mean weights and a rectifier it is, for maps,

    (n_out / n_in) / (1 - G / (pi n_out)) / stride²

with G groups, and for vectors (one position) with c = n_out / G units in a group (n_out / n_in) (c - 2) / (c - 3). Instance norm of equal
widths gives pi / (pi - 1).

Source: ours: the backward pass of group norm has the variance (1 - 2/m) / s² for m values in a group of spread s. It is not the formula
of Kim et al. 2023, arXiv:2302.03193, which says what it is for: the number of groups that keeps the gradient's size.
"""

from collections.abc import Callable, Sequence
from math import inf, log

import torch
from torch import Tensor
from torch.nn.functional import group_norm

MIN_GROUP_VALUES = 8  # values in a group at least
MIN_VALUES = 20_000  # values of noise for one gain; more draws where a layer gives fewer
DRAWS = 64  # at most


def group_divisors(units: int, cells: int, least: int = MIN_GROUP_VALUES) -> list[int]:
    """The numbers of groups that divide `units` and leave `least` values in each on `cells` positions, ascending; at least [1]."""
    return [count for count in range(1, units + 1) if units % count == 0 and (units // count * cells >= least or count == 1)]


def gradient_gains(
    x: Tensor,
    weigh: Callable[[Tensor], Tensor],
    activate: Callable[[Tensor], Tensor],
    groups: Sequence[int],
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    eps: float = 1e-5,
    seed: int = 0,
) -> list[float]:
    """The gain for each number of groups, on what enters the layer: `x` (image, unit, row, col) or (image, unit).

    `weigh` is the layer, `scale` and `shift` (unit) are the norm's. The same noise is sent back through all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        entered = x.detach().requires_grad_()
        weighed = weigh(entered)
        draws = min(DRAWS, max(1, -(-MIN_VALUES // weighed.numel())))
        noise = [torch.randn(weighed.shape, generator=generator).to(weighed) for _ in range(draws)]
        power = sum(float(block.double().square().mean()) for block in noise) / draws
        gains: list[float] = []
        for number in groups:
            inner = weighed.detach().requires_grad_()
            given = activate(group_norm(inner, number, scale, shift, eps))
            total = 0.0
            for block in noise:
                (slope,) = torch.autograd.grad(given, inner, block, retain_graph=True)
                (back,) = torch.autograd.grad(weighed, entered, slope, retain_graph=True)
                total += float(back.double().square().mean())
            gains.append(total / draws / power)
    return gains


def gain_distance(gain: float) -> float:
    """How far a gain is from 1, by ratio: |log gain|; infinite where it is no number above 0."""
    return abs(log(gain)) if 0 < gain < inf else inf


def best_groups(groups: Sequence[int], gains: Sequence[float]) -> int:
    """The number of groups whose gain is nearest to 1 by ratio; ties go to fewer groups."""
    return min(zip(groups, gains, strict=True), key=lambda pair: (gain_distance(pair[1]), pair[0]))[0]
