"""What one forward pass of a module costs: parameters, and multiply-adds as torch itself counts them.

Source: torch.utils.flop_counter.FlopCounterMode; a multiply-add is two of its operations. It does not know every kernel that multiplies
matrices: fused attention on the CPU (Q K^T and A V over n tokens of width d are 2 n^2 d multiply-adds, masked or not), fused recurrent
layers (every weight matrix once for each step), bilinear layers and products with vectors are added here. Pooling, normalisation,
activation, and products of maps with gates are not in the count; `uncounted_operations` names what a network has of them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from microtome.numerics.graph.dispatching import Dispatching, slow_attention

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


def _recurrent(x: Shape, weights: Sequence[Shape]) -> int:
    """Every matrix among the weights of all layers and directions, once for each step of each image; `x` is (…, width)."""
    return 2 * prod(x[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)


def _onednn_recurrent(x: Shape, of_input: Shape, of_state: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return _recurrent(x, [of_input, of_state])


def _cudnn_recurrent(x: Shape, weights: Sequence[Shape], *_: Any, out_shape: Any = None, **__: Any) -> int:
    return _recurrent(x, weights)


def _mps_recurrent(x: Shape, _: Any, weights: Sequence[Shape], *__: Any, out_shape: Any = None, **___: Any) -> int:
    return _recurrent(x, weights)


def _bilinear(left: Shape, weight: Shape, right: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Of a weight (output, left, right): the left input with every matrix, then what comes out with the right one."""
    outputs, rows, cols = weight
    return 2 * prod(left[:-1]) * outputs * cols * (rows + 1)


_FORMULAS: dict[str, Callable[..., int]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "mv": _matrix_vector,
    "addmv": _added_matrix_vector,
    "addbmm": _added_products,
    "dot": _dot,
    "mkldnn_rnn_layer": _onednn_recurrent,
    "_cudnn_rnn": _cudnn_recurrent,
    "miopen_rnn": _cudnn_recurrent,
    "_lstm_mps": _mps_recurrent,
    "_trilinear": _bilinear,
}
# parts of the names of operations that are not counted -> what they are called; the first that fits
_UNCOUNTED = {
    "pool": "pooling", "norm": "normalisation", "softmax": "softmax", "upsample": "interpolation", "grid_sampl": "sampling on a grid",
    "relu": "activation", "gelu": "activation", "silu": "activation", "sigmoid": "activation", "tanh": "activation", "elu": "activation",
    "hardswish": "activation", "mish": "activation", "softplus": "activation", "clamp": "activation", "threshold": "activation",
    "add": "element-wise arithmetic", "sub": "element-wise arithmetic", "mul": "element-wise arithmetic",
    "div": "element-wise arithmetic", "pow": "element-wise arithmetic", "sqrt": "element-wise arithmetic",
    "exp": "element-wise arithmetic", "neg": "element-wise arithmetic", "abs": "element-wise arithmetic", "mean": "means and sums",
    "sum": "means and sums", "var": "means and sums", "amax": "means and sums", "max": "means and sums",
}  # fmt: skip
# operations that only make, move or compare values
_MOVES = {
    "clone", "_to_copy", "copy", "fill", "cat", "stack", "empty", "zeros", "ones", "full", "arange", "linspace", "zero", "scalar_tensor",
    "index", "index_select", "index_put", "gather", "scatter", "embedding", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
    "roll", "flip", "repeat", "where", "masked_fill", "tril", "triu", "eq", "ne", "lt", "gt", "le", "ge", "bitwise_and", "bitwise_not",
    "logical_not", "logical_and", "new_zeros", "new_ones", "new_full", "new_empty", "empty_like", "zeros_like", "ones_like", "full_like",
    "lift_fresh", "topk", "sort", "argsort", "argmax", "channel_shuffle", "pixel_shuffle", "expand_as", "meshgrid",
    "_local_scalar_dense", "dropout", "rand", "randn", "bernoulli", "_unsafe_view", "_reshape_alias", "resize", "empty_strided",
    "as_strided", "_unsafe_index", "col2im", "native_channel_shuffle", "im2col", "select_scatter", "slice_scatter", "one_hot", "isfinite",
    "any",
}  # fmt: skip


def count_parameters(net: nn.Module) -> int:
    """How many numbers a training would change; a parameter used twice counts once."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_operations(net: nn.Module, x: Tensor) -> int:
    """Floating-point operations of one forward pass over `x` (image, rgb, row, col), without gradients."""
    with torch.inference_mode(), slow_attention(), _counter() as counter:
        net(x)
    return int(counter.get_total_flops())


def count_multiply_adds(net: nn.Module, x: Tensor) -> float:
    """Multiply-adds of one forward pass over `x`: half the operations."""
    return count_operations(net, x) / 2


def uncounted_operations(net: nn.Module, x: Tensor) -> list[str]:
    """What one forward pass over `x` computes beside what is counted, in words, sorted: "pooling"; an unknown operation by its name."""
    counter = _counter()
    with torch.inference_mode(), slow_attention(), _OperationNames() as names, counter:
        net(x)
    counted = {str(operation).rpartition(".")[2] for operation in counter.flop_registry}
    plain = {name.rstrip("_") for name in names.seen if name not in counted} - _MOVES
    words = (next((word for part, word in _UNCOUNTED.items() if part in name), f"the operation {name}") for name in plain)
    return sorted(set(words))


def _counter() -> FlopCounterMode:
    known: Mapping[Any, Callable[..., int]] = {
        getattr(torch.ops.aten, name): formula for name, formula in _FORMULAS.items() if hasattr(torch.ops.aten, name)
    }
    return FlopCounterMode(display=False, custom_mapping=dict(known))


class _OperationNames(Dispatching):
    """Notes the names of operations, views left out; below a counter it sees what that has taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))
