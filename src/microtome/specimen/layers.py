"""The layers of a network by name: what kind each is, what shape it gives, and where rows and columns sit in that shape."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.specimen.tracing import BATCH, Call, Trace

Kind = Literal["conv", "linear", "norm", "act", "pool", "attention", "block", "container", "head", "other"]
Layout = Literal["nchw", "nhwc", "tokens", "vector", "other"]
Grid = tuple[int, int]

ATTENTION = re.compile(
    r"attention|attn|squeezeexcit|^se(module|layer|block|gate)?$|(^|_)eca|ecamodule|ceca|cbam|gatherexcite|effectivese", re.I
)
ACTIVATION = re.compile(r"relu|gelu|silu|swish|mish|sigmoid|tanh|softmax|softplus|(^|[a-z])act(ivation)?$", re.I)


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module.

    `shape` is for one image, without the batch axis. `layout` says which axes it has: "nchw" (unit, row, col), "nhwc" (row,
    col, unit), "tokens" (token, unit; the first `prefix` tokens are class or register tokens, the rest fill `grid` row by row),
    "vector" (unit), "other". `units` counts channels or features; `order` is the place in execution order, by first output.
    """

    name: str
    kind: Kind
    module: str
    shape: tuple[int, ...]
    layout: Layout
    grid: Grid | None
    units: int
    prefix: int
    parameters: int
    calls: int
    order: int
    path: str
    branch: int | None = None
    call: int | None = None

    def maps(self, value: Tensor) -> Tensor:
        """The layer's output as maps (image, unit, row, col): tokens without the prefix, a vector as one cell.

        `value` may come from another input size than the recipe's. Raises SpecimenError for layout "other".
        """
        if self.layout == "nchw":
            return value
        if self.layout == "nhwc":
            return value.permute(0, 3, 1, 2)
        if self.layout == "vector":
            return value[:, :, None, None]
        if self.layout == "tokens" and self.grid is not None:
            tokens = value[:, self.prefix :]
            rows, cols = fitted_grid(tokens.shape[1], self.grid)
            return tokens.transpose(1, 2).reshape(len(value), -1, rows, cols)
        raise SpecimenError(f"The layer '{self.name}' gives shape {self.shape}, in which rows and columns cannot be told.")


def fitted_grid(count: int, like: Grid) -> Grid:
    """(rows, cols) that hold `count` cells in about the proportion of `like`. Raises SpecimenError where none does."""
    if like[0] * like[1] == count:
        return like
    rows = round((count * like[0] / like[1]) ** 0.5)
    if rows and count % rows == 0:
        return rows, count // rows
    raise SpecimenError(f"{count} tokens do not fill a grid in the proportion {like[0]} x {like[1]}.")


def named_layers(found: Trace, net: nn.Module, blocks: frozenset[str]) -> tuple[Layer, ...]:
    """The layers of a trace in execution order; `blocks` are the module paths that are removable units."""
    by_path = found.by_path()
    reader = _LayoutReader(found, net)
    head = head_path(found)
    sizes = {path: sum(parameter.numel() for parameter in calls[0].module.parameters()) for path, calls in by_path.items()}
    layers: list[Layer] = []
    for call in found.calls:
        several, many = len(by_path[call.path]) > 1, len(call.outputs) > 1
        kind: Kind = "head" if call.path == head else "block" if call.path in blocks else kind_of(call.module)
        for branch, shape in enumerate(call.outputs):
            layout, own, grid, units, prefix = reader.read(call, shape)
            layers.append(
                Layer(
                    name=call.path + (f"#{call.index}" if several else "") + (f"[{branch}]" if many else ""),
                    kind=kind,
                    module=type(call.module).__name__,
                    shape=own,
                    layout=layout,
                    grid=grid,
                    units=units,
                    prefix=prefix,
                    parameters=sizes[call.path],
                    calls=len(by_path[call.path]),
                    order=len(layers),
                    path=call.path,
                    branch=branch if many else None,
                    call=call.index if several else None,
                )
            )
    return tuple(layers)


def kind_of(module: nn.Module) -> Kind:
    """What a module is by itself, by type where torch has one and else by name."""
    name = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
        return "conv"
    if isinstance(module, nn.Linear) or name in ("Conv1D", "NonDynamicallyQuantizableLinear"):
        return "linear"
    if is_norm(module):
        return "norm"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if ".activation" in type(module).__module__ and "MultiheadAttention" not in name:
        return "act"
    leaf = next(module.children(), None) is None
    if "pool" in name.lower() and not weight_layers(module):
        return "pool"
    if ATTENTION.search(name) and weight_layers(module):
        return "attention"
    if leaf:
        return "act" if ACTIVATION.search(name) else "other"
    return "container"


def is_norm(module: nn.Module) -> bool:
    """Whether the module normalises: torch's own classes, or a name with "Norm" and no convolution inside."""
    kinds = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)  # pyright: ignore[reportPrivateUsage]
    if isinstance(module, kinds):
        return True
    return "norm" in type(module).__name__.lower() and not weight_layers(module)


def is_weight(module: nn.Module) -> bool:
    """Whether the module is a convolution or a linear map."""
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear) or type(module).__name__ == "Conv1D"  # pyright: ignore[reportPrivateUsage]


def weight_layers(module: nn.Module) -> list[nn.Module]:
    """The convolutions and linear maps in a module, itself included."""
    return [part for part in module.modules() if is_weight(part)]


def output_count(found: Trace) -> int | None:
    """How many numbers the network gives for one image, None where its first output is not a vector."""
    shape = found.outputs[0] if found.outputs else ()
    shape = shape[: max((axis + 1 for axis, side in enumerate(shape) if axis < 2 or side != 1), default=0)]
    return int(shape[1]) if len(shape) == 2 and shape[0] == BATCH else None


def head_path(found: Trace) -> str | None:
    """The path of the last weight layer, if it has as many units as the network has outputs."""
    outputs = output_count(found)
    last = next((call for call in reversed(found.calls) if is_weight(call.module)), None)
    if last is None or outputs is None or not last.outputs:
        return None
    weight: Any = last.module.weight
    return last.path if isinstance(weight, Tensor) and outputs in weight.shape[:2] else None


class _LayoutReader:
    """Tells which axes of an output are rows, columns, units and tokens; remembers grids as the trace is read in order."""

    def __init__(self, found: Trace, net: nn.Module) -> None:
        self.size = found.grid
        prefix = getattr(net, "num_prefix_tokens", None)
        self.prefixes = (int(prefix), 0) if isinstance(prefix, int) else tuple(range(9))
        self.grids: list[Grid] = []
        self.layouts: dict[tuple[int, ...], Layout] = {}
        # within self-attention on tokens the heads are an axis: (head, token, feature) only looks like (unit, row, col)
        self.headed = tuple(
            call.path + "."
            for call in found.calls
            if kind_of(call.module) == "attention" and any(len(s) == 3 for s in call.outputs)
        )

    def read(self, call: Call, shape: tuple[int, ...]) -> tuple[Layout, tuple[int, ...], Grid | None, int, int]:
        own = _without_batch(shape)
        layout, grid, prefix = self._layout(call, own, shape)
        if grid is not None and layout != "vector":
            self.layouts[own] = layout
            if layout in ("nchw", "nhwc") and grid not in self.grids[-1:]:
                self.grids.append(grid)
        units = own[0] if layout in ("nchw", "vector") else own[-1] if own else 0
        return layout, own, grid, int(units), prefix

    def _layout(self, call: Call, own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Layout, Grid | None, int]:
        if len(own) == 1 and shape[0] == BATCH:
            return "vector", None, 0
        if not own or shape[0] != BATCH or len(own) not in (2, 3):
            return "other", None, 0
        if len(own) == 3:
            layout = self._planes(call, own)
            grid = own[1:] if layout == "nchw" else own[:2] if layout == "nhwc" else None
            return layout, None if grid is None else (grid[0], grid[1]), 0
        return self._tokens(own)

    def _planes(self, call: Call, own: tuple[int, ...]) -> Layout:
        if isinstance(call.module, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
            return "nchw"
        if call.path.startswith(self.headed):
            return "other"
        first, last = self._misfit(own[1], own[2]), self._misfit(own[0], own[1])
        if first is not None and last is not None:
            if type(call.module) in (nn.LayerNorm, nn.Linear):
                return "nhwc"
            return self.layouts.get(own, "nchw" if first <= last else "nhwc")
        return "nchw" if first is not None else "nhwc" if last is not None else "other"

    def _misfit(self, rows: int, cols: int) -> float | None:
        """By how many cells the grid is off the proportion of the input, None where that is too many to be a grid."""
        off = abs(rows - cols * self.size[0] / self.size[1])
        fits = rows <= self.size[0] + 8 and cols <= self.size[1] + 8 and off <= max(3.0, 0.15 * rows)
        square = self.size[0] == self.size[1]
        return off if fits and (not square or rows == cols) else None

    def _tokens(self, own: tuple[int, ...]) -> tuple[Layout, Grid | None, int]:
        for prefix in self.prefixes:
            for rows, cols in reversed(self.grids):
                if rows * cols > 1 and rows * cols + prefix == own[0]:
                    return "tokens", (rows, cols), prefix
        # token grids that shrink without a convolution (patch merging): the same proportion, no prefix
        merged = any(own[0] * factor == rows * cols for rows, cols in self.grids for factor in (4, 16, 64))
        rows = round((own[0] * self.size[0] / self.size[1]) ** 0.5)
        if (merged or not self.grids) and rows and own[0] % rows == 0:
            return "tokens", (rows, own[0] // rows), 0
        return "other", None, 0


def _without_batch(shape: Sequence[int]) -> tuple[int, ...]:
    if not shape:
        return ()
    if shape[0] == BATCH:
        return tuple(shape[1:])
    if len(shape) == 3 and shape[1] == BATCH:  # sequence first
        return (shape[0], shape[2])
    return (shape[0] // BATCH, *shape[1:]) if shape[0] % BATCH == 0 else tuple(shape)


def module_layers(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """Module path -> its layers: one, or one for each call and branch."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.path, []).append(layer)
    return found


def device_of(net: nn.Module) -> torch.device:
    """The device of the network's first parameter or buffer; the CPU where it has none."""
    first = next(net.parameters(), None)
    first = next(net.buffers(), None) if first is None else first
    return torch.device("cpu") if first is None else first.device
