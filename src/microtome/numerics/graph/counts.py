"""What one forward pass of a module costs: parameters, and multiply-adds as torch itself counts them.

Source: torch.utils.flop_counter.FlopCounterMode; a multiply-add is two of its operations. Kernels that it does not know (pooling,
normalisation, activation, products of maps with gates) are not in the count.
"""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(net: nn.Module) -> int:
    """How many numbers a training would change; a parameter used twice counts once."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_operations(net: nn.Module, x: Tensor) -> int:
    """Floating-point operations of one forward pass over `x` (image, rgb, row, col), without gradients."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(x)
    return int(counter.get_total_flops())


def count_multiply_adds(net: nn.Module, x: Tensor) -> float:
    """Multiply-adds of one forward pass over `x`: half the operations."""
    return count_operations(net, x) / 2
