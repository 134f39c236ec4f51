"""The layout of a module's output: which axes are rows, columns, units and tokens, found from one traced forward pass.

Convolutions, batch norms and pools say it themselves. What they gave is followed from tensor to tensor and, where functions lie
between the modules, by its shape; only where nothing is known of a tensor the proportion of the input decides, which a stride of
(2, 1) changes.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torch.nn.modules import batchnorm, conv, dropout, padding, pooling

from microtome.numerics.graph.positions import TokenOrder, row_by_row
from microtome.specimen.tracing import BATCH, Call, Mark

Layout = Literal["nchw", "nhwc", "tokens", "vector", "other"]
Grid = tuple[int, int]

UNITS_FIRST = (
    conv._ConvNd, batchnorm._BatchNorm, pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveMaxPoolNd,  # pyright: ignore[reportPrivateUsage]
    pooling._AdaptiveAvgPoolNd, pooling._LPPoolNd, pooling._MaxUnpoolNd, padding._ConstantPadNd, padding._ReflectionPadNd,  # pyright: ignore[reportPrivateUsage]
    padding._ReplicationPadNd, padding._CircularPadNd, dropout.Dropout2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.Upsample, nn.GroupNorm,  # pyright: ignore[reportPrivateUsage]
    nn.LocalResponseNorm, nn.ChannelShuffle,
)  # fmt: skip


class LayoutReader:
    """Finds which axes of an output are rows, columns, units and tokens; remembers its results as the trace is read in order.

    `size` is (rows, cols) of the input, `prefix` how many class and register tokens the network says it has, `headed` the paths
    (with a dot) of attention modules, within which an axis may hold heads.
    """

    def __init__(self, size: Grid, prefix: object, headed: tuple[str, ...]) -> None:
        self.size = size
        self.prefixes = (int(prefix), 0) if isinstance(prefix, int) else tuple(range(9))
        self.headed = headed
        self.grids: list[Grid] = []
        self.by_tensor: dict[Mark, Layout] = {}
        self.by_shape: dict[tuple[int, ...], Layout] = {}
        self.certain_shapes: set[tuple[int, ...]] = set()

    def enter(self, shape: Sequence[int]) -> None:
        """Remember the shape of a batch of images, (image, colour, row, col)."""
        if len(shape) == 4 and tuple(shape[2:]) == self.size:
            self.by_shape[tuple(shape[1:])] = "nchw"

    def read(self, call: Call, branch: int) -> tuple[Layout, tuple[int, ...], Grid | None, int, int]:
        """Layout, shape without the batch, grid, units and prefix tokens of one output."""
        shape = call.outputs[branch]
        own = without_batch(shape)
        layout, grid, prefix = self._layout(call, own, shape)
        if grid is not None and layout != "vector":
            if layout in ("nchw", "nhwc"):
                self.by_shape[own] = layout
                self.by_tensor[call.gives[branch]] = layout
                if grid not in self.grids[-1:]:
                    self.grids.append(grid)
        units = own[0] if layout in ("nchw", "vector") else own[-1] if own else 0
        return layout, own, grid, int(units), prefix

    def is_certain(self, call: Call, branch: int, layout: Layout) -> bool:
        """Whether the axes need no measuring: vectors, what convolutions and pools give, and what only looks like one such map."""
        shape = call.outputs[branch]
        own = tuple(shape[1:])
        if shape[:1] != (BATCH,) or len(shape) < 3:
            return len(shape) < 2 or (shape[0] == BATCH and (own != (BATCH,) or isinstance(call.module, nn.Linear)))
        if len(shape) != 4 or layout != "nchw" or call.path.startswith(self.headed):
            return False
        if isinstance(call.module, UNITS_FIRST):
            self.certain_shapes.add(own)
            return True
        return own in self.certain_shapes and own[0] not in own[1:]

    def suggest_order(self, own: tuple[int, ...]) -> TokenOrder | None:
        """The order that the number of tokens suggests, (token, unit) without the batch: row by row on a grid seen before."""
        _, grid, prefix = self._tokens(own) if len(own) == 2 else ("other", None, 0)
        return None if grid is None else row_by_row(grid, prefix)

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
        if isinstance(call.module, UNITS_FIRST):
            return "nchw"
        if call.path.startswith(self.headed):
            return "other"
        first, last = self._misfit(own[1], own[2]), self._misfit(own[0], own[1])
        if type(call.module) in (nn.LayerNorm, nn.Linear) and (last is not None or own[:2] in self.grids):
            return "nhwc"
        layout = self._by_input(call, own)
        if layout is not None:
            return layout
        if (first is None) != (last is None) and own not in self.by_shape:
            return "nchw" if last is None else "nhwc"
        if own in self.by_shape:
            return self.by_shape[own]
        if first is None or last is None:
            units_first, units_last = own[1:] in self.grids, own[:2] in self.grids
            return "other" if units_first == units_last else "nchw" if units_first else "nhwc"
        return "nchw" if first <= last else "nhwc"

    def _by_input(self, call: Call, own: tuple[int, ...]) -> Layout | None:
        """That of a tensor that went in, where what came out has as many units or its grid; None if that is not enough."""
        for mark, shape in zip(call.reads, call.inputs, strict=True):
            before = without_batch(shape)
            if len(before) != 3:
                continue
            layout = self.by_tensor.get(mark) or self.by_shape.get(before)
            turned = own != before and own in (before[1:] + before[:1], before[2:] + before[:2])
            if layout is None or turned:  # units may have been moved to the other end
                continue
            units, grid = (slice(0, 1), slice(1, 3)) if layout == "nchw" else (slice(2, 3), slice(0, 2))
            if before[units] == own[units] or before[grid] == own[grid]:
                return layout
        return None

    def _misfit(self, rows: int, cols: int) -> float | None:
        """By how many positions the grid is off the proportion of the input, None where that is too many to be a grid."""
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


def without_batch(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what one image gave, from that of a batch of two."""
    if not shape:
        return ()
    if shape[0] == BATCH:
        return tuple(shape[1:])
    if len(shape) == 3 and shape[1] == BATCH:  # sequence first
        return (shape[0], shape[2])
    return (shape[0] // BATCH, *shape[1:]) if shape[0] % BATCH == 0 else tuple(shape)
