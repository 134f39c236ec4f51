"""A network without its rectifiers: ReLUs removed, maximum pools averaged, so that weights several layers apart can be read.

Gates are held half open besides, which is ours: without rectifiers they would stand wide open or shut, at random.

Source: expanded weights of Voss et al. 2021, "Visualizing Weights", Distill, doi:10.23915/distill.00024.007: the gradient from a unit to
an earlier layer with the activation functions removed and maximum pools replaced by averages.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from microtome.errors import Unmeasurable

RECTIFIERS = frozenset(
    name + end
    for name in (
        "relu", "relu6", "leaky_relu", "rrelu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardtanh",
        "softplus", "threshold",
    )
    for end in ("", "_")
)  # fmt: skip
GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"})


class LineariseMode(TorchFunctionMode):
    """While it is entered, rectifying activations of any spelling give back what they got, and maximum pools average.

    Padding does not count in the averages; gates (sigmoids) give one half everywhere. Softmax, norms over the image and products
    of activations stay what they are. `removed`, `averaged` and `held` count the rectifiers, pools and gates.
    """

    def __init__(self) -> None:
        super().__init__()
        self.removed, self.averaged, self.held = 0, 0, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = str(getattr(func, "__name__", ""))
        if name in RECTIFIERS:
            self.removed += 1
            return args[0] if args else given["input"]
        if name in GATES:
            self.held += 1
            return torch.full_like(args[0] if args else given["input"], 0.5)
        if name in ("max_pool2d", "max_pool2d_with_indices"):
            self.averaged += 1
            return average_pool(*args, **given)
        if name in ("adaptive_max_pool2d", "adaptive_max_pool2d_with_indices"):
            self.averaged += 1
            size = args[1] if len(args) > 1 else given["output_size"]
            return functional.adaptive_avg_pool2d(args[0] if args else given["input"], size)
        return func(*args, **given)


def average_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The average over the windows that a maximum pool with these arguments looks at.

    Raises:
        Unmeasurable: the windows have holes, or the places of the maxima are wanted.
    """
    if return_indices or any(step != 1 for step in (dilation if isinstance(dilation, list | tuple) else (dilation,))):
        raise Unmeasurable("a maximum pool with holes, or one that also gives places, has no average in its place.")
    return functional.avg_pool2d(input, kernel_size, stride or None, padding, ceil_mode, count_include_pad=False)


def central_crop(weights: Tensor, grid: int) -> tuple[Tensor, float]:
    """The last two axes cropped to at most `grid` positions about the middle of what is not zero, and the fraction of energy inside."""
    strength = weights.double().square().flatten(0, -3).sum(0)
    total = float(strength.sum())
    if not total > 0:
        return weights[..., :grid, :grid], float("nan")
    for axis in (0, 1):
        alive = torch.nonzero(strength.sum(1 - axis))[:, 0]
        first, last = int(alive[0]), int(alive[-1])
        start = max(first, (first + last + 1 - grid + 1) // 2) if last - first + 1 > grid else first
        side = min(grid, last - first + 1)
        weights = weights.narrow(axis - 2, start, side)
    return weights, float(weights.double().square().sum()) / total
