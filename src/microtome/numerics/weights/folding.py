"""A convolution or linear layer and the batch norm after it, as one layer."""

import torch
from jaxtyping import Float
from torch import Tensor

PART = 32768  # weights in float64 at a time: so many stay in the cache


def fold_norm(
    weight: Float[Tensor, "unit *inputs"],
    bias: Float[Tensor, " unit"] | None,
    gamma: Float[Tensor, " unit"] | None,
    beta: Float[Tensor, " unit"] | None,
    mean: Float[Tensor, " unit"],
    var: Float[Tensor, " unit"],
    eps: float,
) -> tuple[Float[Tensor, "unit *inputs"], Float[Tensor, " unit"]]:
    """Weight and bias of the one layer that computes norm(layer(x)) in evaluation mode.

    Units are the first axis of the weight, whatever the groups. `gamma` and `beta` are None for a norm without its own scale.
    Scales are formed in float64 and rounded once.
    """
    scale = 1 / (var.double() + eps).sqrt()
    scale = scale if gamma is None else scale * gamma.double()
    shift = torch.zeros_like(mean) if bias is None else bias
    moved = (shift.double() - mean.double()) * scale
    moved = moved if beta is None else moved + beta.double()
    shape = (-1,) + (1,) * (weight.ndim - 1)
    units = max(1, PART * len(weight) // max(1, weight.numel()))
    both = zip(weight.split(units), scale.view(shape).split(units), strict=True)
    made = torch.cat([(part.double() * own).to(weight.dtype) for part, own in both])
    return made, moved.to(weight.dtype)
