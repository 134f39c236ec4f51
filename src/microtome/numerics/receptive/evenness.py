"""How evenly a network reads its input pixels: coverage by strides, the forecast without data or weights, folding, roughness.

A kernel of k taps at stride s reads pixels unequally often unless s divides k. What whole networks make of that is the gradient
of the surrogate in which every kernel is even, every maximum a mean, every activation and norm left out. Each tap of a kernel passes on
1 / k² of a position's share. For a chain of layers that is, up to a factor, the expected squared input gradient whatever the variance of
its independent random weights. Where branches join, their fractions depend on those variances: the surrogate gives all the same, as He
initialisation does (2 / fan-in before each ReLU); torch's own default (1 / 3 fan-in) weakens a branch by six with each layer.

Source: Kim et al. 2021, arXiv:2108.13576, sec. 3 (smoothness, eq. 3-4); coverage, forecast and folding are derived by us.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from microtome.numerics.arrays import Array


def phase_coverage(kernel: int, stride: int, dilation: int = 1) -> Int[Array, " phase"]:
    """How many windows read a pixel of each phase (its place modulo the stride), far from the edges."""
    counts = np.zeros(stride, dtype=np.int64)
    for tap in range(kernel):
        counts[(tap * dilation) % stride] += 1
    return counts


def even_kernel(kernel: int, stride: int) -> int:
    """The smallest kernel from `kernel` on that reads all pixels equally often."""
    return math.ceil(kernel / stride) * stride


def fold_phases(field: Float64[Array, "row col"], period: int, margin: int) -> Float64[Array, "phase phase_"]:
    """The mean of `field` over equal places modulo `period`, relative to its mean, without `margin` px at each edge.

    Rows and columns are counted from pixel 0 of the image, so that phase (0, 0) is where its corner lies.
    """
    sides: list[tuple[int, int]] = []
    for side in field.shape:
        first = math.ceil(margin / period) * period
        count = (side - margin - first) // period
        sides.append((first, count) if count > 0 else (0, side // period))
    (top, down), (left, across) = sides
    if not (down and across):
        return np.full((period, period), np.nan)
    inner = field[top : top + down * period, left : left + across * period]
    phases = inner.reshape(down, period, across, period).mean((0, 2))
    return phases / phases.mean() if phases.mean() else np.full((period, period), np.nan)


def phase_ratio(phases: Float64[Array, "phase phase_"]) -> float:
    """The weakest phase as a fraction of the strongest: 1 where all pixels count alike, 0 where some do not count at all."""
    top = float(phases.max())
    return float(phases.min()) / top if top > 0 else float("nan")


def roughness(field: Float64[Array, "row col"]) -> tuple[float, float]:
    """(L1, L2): mean absolute first and second differences along rows and columns, halved."""
    first = [np.abs(np.diff(field, axis=axis)).mean() for axis in (0, 1)]
    second = [np.abs(np.diff(field, n=2, axis=axis)).mean() for axis in (0, 1)]
    return float(sum(first)) / 2, float(sum(second)) / 2


class SurrogateMode(TorchFunctionMode):
    """While this is entered, a network runs with even kernels, means for maxima, and no activation, norm or gate.

    Its output is then linear and positive in a positive image, whatever its weights; nothing of it is changed.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        rule = _SURROGATES.get(getattr(func, "__name__", ""))
        return func(*args, **named) if rule is None else rule(func, args, named)


def _even_weight(weight: Tensor, outputs: int, groups: int = 1) -> Tensor:
    """A kernel whose every tap passes 1 / (taps of the window) of a position's share back to each input unit."""
    taps = math.prod(weight.shape[2:]) if weight.dim() > 2 else 1
    return torch.full_like(weight, 1.0 / (taps * max(1, outputs // groups)))


def _conv_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    weight, rest = named.pop("weight", args[1] if len(args) > 1 else None), args[3:]
    named.pop("bias", None)
    groups = int(named.get("groups", rest[3] if len(rest) > 3 else 1))
    return func(args[0], _even_weight(weight, int(weight.shape[0]), groups), None, *rest, **named)


def _transposed_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    weight, rest = named.pop("weight", args[1] if len(args) > 1 else None), args[3:]
    named.pop("bias", None)
    return func(args[0], _even_weight(weight, int(weight.shape[1])), None, *rest, **named)


def _linear_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    weight = args[1] if len(args) > 1 else named["weight"]
    return func(args[0], _even_weight(weight, int(weight.shape[0])))


def _pool_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    def given(place: int, name: str, default: Any) -> Any:
        return args[place] if len(args) > place else named.get(name, default)

    kernel = given(1, "kernel_size", 1)
    stride = given(2, "stride", None) or kernel
    return F.avg_pool2d(args[0], kernel, stride, given(3, "padding", 0), bool(named.get("ceil_mode", False)))


def _identity_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    return args[0] if args else named["input"]


def _halving_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    return torch.full_like(args[0] if args else named["input"], 0.5)


def _uniform_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    x, dim = args[0], int(named.get("dim", args[1] if len(args) > 1 else -1))
    return torch.full_like(x, 1.0 / x.shape[dim])


def _attention_surrogate(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    q, value = args[0], args[2] if len(args) > 2 else named["value"]
    mean = value.mean(-2, keepdim=True)
    if value.dim() > 3 and value.shape[-3] > 1:  # grouped queries: each head of the values answers several of the queries'
        mean = mean.repeat_interleave(q.shape[-3] // value.shape[-3], dim=-3)
    return mean.expand(*q.shape[:-1], value.shape[-1])  # one head of values for all queries is spread by the expansion


_SURROGATES: dict[str, Callable[[Any, Sequence[Any], dict[str, Any]], Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv_surrogate),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _transposed_surrogate),
    "linear": _linear_surrogate,
    **dict.fromkeys(("max_pool2d", "_max_pool2d", "max_pool2d_with_indices"), _pool_surrogate),
    "adaptive_max_pool2d": lambda func, args, named: F.adaptive_avg_pool2d(args[0], args[1]),
    **dict.fromkeys(
        ("relu", "relu_", "relu6", "gelu", "silu", "silu_", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "leaky_relu",
         "leaky_relu_", "elu", "elu_", "celu", "selu", "mish", "prelu", "softplus", "tanh", "clamp_min", "batch_norm",
         "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"), _identity_surrogate,
    ),
    **dict.fromkeys(("sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"), _halving_surrogate),
    "softmax": _uniform_surrogate,
    "scaled_dot_product_attention": _attention_surrogate,
}  # fmt: skip


def forecast_phases(run: Callable[[Tensor], Tensor], picture: Tensor) -> Float64[Array, "row col"]:
    """The fraction of each pixel in the sum of `run`'s outputs under the surrogate, relative to the mean over pixels.

    `picture` (1, rgb, row, col) gives the size; `run` maps it to the network's output.
    """
    x = torch.ones_like(picture, requires_grad=True)
    with torch.enable_grad(), SurrogateMode():
        total = run(x).sum()
    (slope,) = torch.autograd.grad(total, x)
    shares = slope[0].double().mean(0).cpu().numpy()
    return shares / shares.mean() if shares.mean() else shares
