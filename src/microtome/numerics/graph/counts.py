"""What one forward pass of a module costs: parameters, and multiply-adds as torch itself counts them.

Source: torch.utils.flop_counter.FlopCounterMode; a multiply-add is two of its operations. It does not know every kernel that multiplies
matrices: fused attention on the CPU and products with vectors are added here (Q K^T and A V of an attention over n tokens of width d are
2 n^2 d multiply-adds, masked or not). Pooling, normalisation, activation, recurrent layers, and products of maps with gates are not in
the count.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from microtome.numerics.graph.dispatching import slow_attention

Shape = Sequence[int]


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Of shapes (…, head, token, width): both products, over all pairs of tokens, whatever a mask leaves out."""
    pairs = prod(query[:-2]) * query[-2] * key[-2]
    return 2 * pairs * (query[-1] + value[-1])


def _matrix_vector(matrix: Shape, vector: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _added_matrix_vector(_: Any, matrix: Shape, vector: Shape, *__: Any, out_shape: Any = None, **___: Any) -> int:
    return _matrix_vector(matrix, vector)


def _added_products(_: Any, left: Shape, right: Shape, *__: Any, out_shape: Any = None, **___: Any) -> int:
    return 2 * prod(left) * right[-1]


def _dot(left: Shape, right: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * left[0]


_FORMULAS: dict[str, Callable[..., int]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "mv": _matrix_vector,
    "addmv": _added_matrix_vector,
    "addbmm": _added_products,
    "dot": _dot,
}


def count_parameters(net: nn.Module) -> int:
    """How many numbers a training would change; a parameter used twice counts once."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_operations(net: nn.Module, x: Tensor) -> int:
    """Floating-point operations of one forward pass over `x` (image, rgb, row, col), without gradients."""
    known = {getattr(torch.ops.aten, name): formula for name, formula in _FORMULAS.items() if hasattr(torch.ops.aten, name)}
    with torch.inference_mode(), slow_attention(), FlopCounterMode(display=False, custom_mapping=known) as counter:
        net(x)
    return int(counter.get_total_flops())


def count_multiply_adds(net: nn.Module, x: Tensor) -> float:
    """Multiply-adds of one forward pass over `x`: half the operations."""
    return count_operations(net, x) / 2
