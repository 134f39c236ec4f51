"""DeepLift's rescale rule inside a network: each non-linearity passes the slope between image and reference in place of its gradient.

The rule is put where the operation is called, so that functions, modules and modules called several times are all reached, and nothing
is left on a module. A batch holds the images, then as many references. Maximum pooling gives each window's difference to the
position of the larger of both maxima; a position in several windows gets the sum.

Source: Shrikumar et al. 2017, arXiv:1704.02685, sec. 3.5.2; of pooling, Lundberg & Lee 2017, arXiv:1705.07874, sec. 4.2 (the code that came
with it).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

SMALL = 1e-5  # of the larger of both inputs: below that difference the slope is the mean of both gradients
ELEMENTWISE = {
    "relu", "relu6", "elu", "selu", "celu", "leaky_relu", "gelu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "softplus",
    "sigmoid", "tanh", "softsign", "logsigmoid", "clamp", "clamp_min", "clamp_max",
}  # fmt: skip


class RescaleRule(TorchFunctionMode):
    """Inside, non-linearities of a batch of `images` images and as many references pass multipliers in place of gradients."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(func, "__name__", ""))
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not x.requires_grad or x.shape[:1].numel() % (2 * self.images):
            return func(*args, **kwargs)
        if name.removesuffix("_") in ELEMENTWISE and not any(isinstance(value, Tensor) for value in args[1:]):
            return _rescale(func, x, args[1:], kwargs, name.endswith("_") or bool(kwargs.get("inplace")))
        if name == "max_pool2d" and x.dim() == 4:
            with torch.no_grad():
                output, places = F.max_pool2d_with_indices(x, *args[1:], **kwargs)
            return _PoolRule.apply(x, output, places)
        return func(*args, **kwargs)


def _rescale(func: Callable[..., Any], x: Tensor, rest: tuple[Any, ...], kwargs: dict[str, Any], in_place: bool) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        output = func(leaf.clone(), *rest, **kwargs)
        (slope,) = torch.autograd.grad(output.sum(), leaf)
    given = _ElementRule.apply(x.clone() if in_place else x, output.detach(), slope)
    return x.copy_(given) if in_place else given  # type: ignore[return-value]


class _KnownOutput(torch.autograd.Function):
    """Gives an output that is known already, and keeps it with x and `what` the way back needs."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, output: Tensor, what: Tensor) -> Tensor:
        ctx.save_for_backward(x, output, what)
        return output.clone()


class _ElementRule(_KnownOutput):
    """Back goes the slope between image and reference of an elementwise function; `what` is its slope at both."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        x, output, slope = ctx.saved_tensors
        change, given = _difference(x), _difference(output)
        near = change.abs() <= SMALL * torch.maximum(*(half.abs() for half in x.chunk(2)))
        mean = sum(slope.chunk(2)) / 2
        multiplier = torch.where(near, mean, given / change.where(~near, 1.0))
        return grad_outputs[0] * torch.cat([multiplier, multiplier]), None, None


class _PoolRule(_KnownOutput):
    """Back goes, for each position, its part of the differences of the pooling windows it is in; `what` are the places of maxima."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        x, output, places = ctx.saved_tensors
        (of_image, of_reference), (own, other) = output.chunk(2), (half.flatten(2) for half in places.chunk(2))
        gradient = grad_outputs[0].chunk(2)[0]
        larger = torch.maximum(of_image, of_reference)
        change = _difference(x).flatten(2)
        parts = torch.zeros_like(change)
        parts.scatter_add_(2, own, (gradient * (larger - of_reference)).flatten(2))
        parts.scatter_add_(2, other, (gradient * (of_image - larger)).flatten(2))
        plain = torch.zeros_like(change).scatter_add_(2, own, gradient.flatten(2))
        multiplied = torch.where(change == 0, plain, parts / change.where(change != 0, 1.0)).view_as(x.chunk(2)[0])
        return torch.cat([multiplied, torch.zeros_like(multiplied)]), None, None


def _difference(values: Tensor) -> Tensor:
    """Image minus reference, of a batch of both."""
    image, reference = values.chunk(2)
    return image - reference
