"""The spatial kernels of weight layers (unit, channel, row, col), or the reason why a layer has none with rows and columns."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from microtome.numerics.receptive.flattening import FlatMap
from microtome.numerics.weights.spectra import is_finite
from microtome.numerics.weights.tensors import weight_tensors

UNITS_AT_ONCE = 64  # units that are compared at once


class Kernel(NamedTuple):
    """A layer's kernel, float32 on the CPU and units first; `reason` states why it is not judged; empty if it is."""

    values: Float[Tensor, "unit channel row col"]
    reason: str = ""


@runtime_checkable
class LayerLike(Protocol):
    """One output of a module: where it lies."""

    @property
    def path(self) -> str: ...


def find_kernels(net: nn.Module, layers: Iterable[LayerLike], maps: Mapping[str, FlatMap]) -> dict[str, Kernel]:
    """Every convolution, and every fully connected layer that sees a flattened map, by path in the order of `layers`.

    `maps` are the maps that fully connected layers see, by path.
    """
    weights = weight_tensors(net)
    kernels: dict[str, Kernel] = {}
    for layer in layers:
        module = net.get_submodule(layer.path)
        convolution = isinstance(module, nn.modules.conv._ConvNd)  # pyright: ignore[reportPrivateUsage]
        values = weights[layer.path].values if layer.path in weights else packed_weights(module)
        if values is None or layer.path in kernels or not (convolution or isinstance(module, nn.Linear) or values.dim() > 2):
            continue
        if convolution:
            values = values.reshape(module.out_channels, -1, *module.kernel_size)  # also where there is one unit
        kernel = kernel_of(module, values, maps.get(layer.path))
        if kernel is not None:
            kernels[layer.path] = kernel
    return kernels


def kernel_of(module: nn.Module, values: Float[Tensor, "unit *inputs"], sees: FlatMap | None = None) -> Kernel | None:
    """The kernel of a convolution, or of a fully connected layer over the map that it `sees` flattened.

    `values` are the weights with the units first. Grouped convolutions have the channels of one group; dilation only spreads the
    positions. None for a layer that sees no map, which is no case for judging at all.
    """
    if isinstance(module, nn.Linear):
        if sees is None or values.dim() != 2 or values.shape[1] != sees.units * sees.rows * sees.cols:
            return None
        if sees.units_last:
            values = values.reshape(len(values), sees.rows, sees.cols, sees.units).movedim(3, 1)
        else:
            values = values.reshape(len(values), sees.units, sees.rows, sees.cols)
    elif values.dim() != 4:
        axes = values.dim() - 2
        return Kernel(values.new_zeros(0, 1, 1, 1), f"its kernel has {axes} spatial {'axis' if axes == 1 else 'axes'}, not 2")
    return Kernel(values, _no_kernel_reason(values, module))


def packed_weights(module: nn.Module) -> Tensor | None:
    """The weights of a packed integer convolution, which keeps them behind a method, as float32; None for any other module."""
    held: Any = getattr(module, "weight", None)
    if isinstance(held, Tensor) or not callable(held):
        return None
    weight = held()
    return weight.dequantize().float() if isinstance(weight, Tensor) and weight.is_quantized else None


def _no_kernel_reason(values: Float[Tensor, "unit channel row col"], module: nn.Module) -> str:
    _, channels, rows, cols = values.shape
    if rows == cols == 1:
        return "1×1: there is one position"
    if rows != cols:
        return f"{rows}×{cols}: rows and columns are not alike, so their fractions of energy cannot be compared"
    if channels == 1:
        deep = "depthwise" if int(getattr(module, "groups", 1)) > 1 else "one input channel"
        return f"{deep}: with one channel for each unit chance alone gives large indices"
    if not is_finite(values):
        broken = int((~torch.isfinite(values)).sum())
        return f"{broken} of its weights {'is' if broken == 1 else 'are'} NaN or infinite"
    if all(bool((some == some[:, :, :1, :1]).all()) for some in values.split(UNITS_AT_ONCE)):  # most end at the first
        return "all its weights are zero" if not bool(values.any()) else "its weights do not vary over positions"
    return ""
