"""What a change inside a box can touch, operation by operation, and those parts alone computed again.

A window is a box of positions at each of a layer's outputs that holds every position which the changed pixels can reach. Jobs (one change
each) of a group have windows of one size, each at its own place, so that a group runs as one batch. Positions around a window come
from the clean maps. Nothing is approximated: a window is never smaller than what changed.

Source: receptive-field arithmetic as in Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks"
(Distill), run forwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from microtome.instruments.perturbation.tape import INPUT, Node, Tape, ValueRef, norm_terms, out_of_place_function
from microtome.numerics.arrays import Array

POINTWISE = frozenset((
    "relu", "silu", "gelu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "mish", "softplus",
    "clamp", "clamp_min", "clamp_max", "neg", "abs", "exp", "sqrt", "rsqrt", "pow", "clone", "alias", "detach", "lift_fresh",
))  # fmt: skip
ELEMENTWISE = frozenset(("add", "sub", "mul", "div", "maximum", "minimum"))
Spans = Int[Array, "job side"]  # first position, and one past the last


@dataclass(frozen=True)
class SlidingWindow:
    """A sliding window over rows and cols, each (rows, cols)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def output_span(self, spans: Spans, axis: int, count: int) -> Spans:
        """The output positions, of `count`, that read any of the input positions; one of them where none does."""
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        reach = (kernel - 1) * self.dilation[axis]
        first = -(-(spans[:, 0] + padding - reach) // stride)
        past = (spans[:, 1] - 1 + padding) // stride + 1
        return _clip_spans(first, past, count)

    def input_span(self, first: Int[Array, " job"], size: int, axis: int) -> tuple[Int[Array, " job"], int]:
        """The first input position, and how many, that `size` output positions from `first` on read."""
        start = first * self.stride[axis] - self.padding[axis]
        return start, self.extent(size, axis)

    def extent(self, size: Any, axis: int) -> Any:
        """How many input positions `size` output positions side by side read."""
        return (size - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1


def _clip_spans(first: Any, past: Any, count: int) -> Spans:
    first = np.clip(first, 0, count - 1)
    return np.stack([first, np.clip(np.maximum(past, first + 1), 1, count)], 1)


def sliding_window(node: Node) -> SlidingWindow | None:
    """The window that the operation slides over its input, None where it slides none that is understood."""
    if node.name == "convolution":
        weight = node.args[1]
        plain = isinstance(weight, Tensor) and weight.dim() == 4 and node.args[6] is False
        return (
            SlidingWindow((weight.shape[2], weight.shape[3]), *(_as_pair(node.args[i]) for i in (3, 4, 5))) if plain else None
        )
    if node.name in ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"):
        kernel = _as_pair(node.args[1])
        stride = _as_pair(node.argument(2, "stride", []) or kernel)
        padding = _as_pair(node.argument(3, "padding", 0))
        average = node.name == "avg_pool2d"
        return SlidingWindow(kernel, stride, padding, (1, 1) if average else _as_pair(node.argument(4, "dilation", 1)))
    return None


def _as_pair(value: Any) -> tuple[int, int]:
    given = [int(number) for number in value] if isinstance(value, list | tuple) else [int(value)]
    return given[0], given[-1]


def is_cuttable(node: Node, shapes: Mapping[int, tuple[int, ...]], inside: set[int]) -> bool:
    """Whether windows of the node's output can be computed from windows of its inputs (the values in `inside`)."""
    if not node.gives or node.aliased or len(shapes[node.gives[0]]) != 4 or not set(node.reads) <= inside:
        return False
    if node.overwrites and (node.overwrites != (source_value(node),) or out_of_place_function(node) is None):
        return False
    name = node.name.rstrip("_")
    if source_value(node) is None and name != "cat":
        return False
    return _is_local(node, name, shapes)


def _is_local(node: Node, name: str, shapes: Mapping[int, tuple[int, ...]]) -> bool:
    shape = shapes[node.gives[0]]
    if name in POINTWISE or norm_terms(node) is not None:
        return len(node.reads) == 1
    if name in ELEMENTWISE:
        rest = node.args[1]
        if isinstance(rest, ValueRef):
            return shapes[rest.value] == shapes[node.reads[0]] == shape
        if isinstance(rest, Tensor):
            return rest.dim() == 0 or rest.numel() == 1 or (rest.dim() in (3, 4) and rest.shape[-2:] == (1, 1))
        return True
    if name == "cat":
        grids = {shapes[value][2:] for value in node.reads}
        return (
            node.argument(1, "dim", 0) in (1, -3) and len(grids) == 1 and all(isinstance(arg, ValueRef) for arg in node.args[0])
        )
    if name == "slice":
        return node.argument(1, "dim", 0) in (1, -3)
    if name == "constant_pad_nd":
        return len(node.args[1]) <= 4 and len(node.reads) == 1
    slide = sliding_window(node)
    return slide is not None and (name != "avg_pool2d" or _is_plain_mean(node, slide, shapes))


def _is_plain_mean(node: Node, window: SlidingWindow, shapes: Mapping[int, tuple[int, ...]]) -> bool:
    """Whether every mean is over as many positions: padding counts, or there is none, and no window hangs over the edge."""
    origin = source_value(node)
    assert origin is not None
    over = any(
        (shapes[node.gives[0]][2 + axis] - 1) * window.stride[axis] + window.kernel[axis]
        > shapes[origin][2 + axis] + 2 * window.padding[axis]
        for axis in (0, 1)
    )
    counted = window.padding == (0, 0) or node.argument(5, "count_include_pad", True) is True
    return counted and not over and node.argument(6, "divisor_override") is None


def source_value(node: Node) -> int | None:
    """The number of the value that the operation works on, its first argument."""
    first = node.args[0] if node.args else None
    return first.value if isinstance(first, ValueRef) else None


def reachable_nodes(tape: Tape) -> int:
    """How many nodes from the start of the tape on can be computed in windows."""
    inside = {INPUT}
    for place, node in enumerate(tape.nodes):
        if not is_cuttable(node, tape.shapes, inside):
            return place
        inside |= set(node.gives[:1])
    return len(tape.nodes)


def spans_after(node: Node, spans: Mapping[int, tuple[Spans, Spans]], shape: tuple[int, ...]) -> tuple[Spans, Spans]:
    """Which rows and which cols of the node's output each job can change, from those of its inputs; `shape` is the output's."""
    slide = sliding_window(node)
    made: list[Spans] = []
    for axis in (0, 1):
        read = [spans[value][axis] for value in node.reads]
        if slide is not None:  # what is added behind it comes as it is
            read[0] = slide.output_span(read[0], axis, shape[2 + axis])
        elif node.name == "constant_pad_nd":
            shift = padding_before(node)[axis]
            read[0] = _clip_spans(read[0][:, 0] + shift, read[0][:, 1] + shift, shape[2 + axis])
        first, past = np.min([span[:, 0] for span in read], axis=0), np.max([span[:, 1] for span in read], axis=0)
        made.append(np.stack([first, past], 1))
    return made[0], made[1]


def padding_before(node: Node) -> tuple[int, int]:
    """Rows above and cols to the left that padding adds."""
    amounts = [*node.args[1], 0, 0, 0, 0]
    return int(amounts[2]), int(amounts[0])


@dataclass(frozen=True, eq=False)
class Box:
    """Where the windows of a group lie in one value: first rows and cols (job,), and their size."""

    rows: Int[Array, " job"]
    cols: Int[Array, " job"]
    size: tuple[int, int]


def window_box(spans: tuple[Spans, Spans], shape: tuple[int, ...]) -> Box:
    """Windows of one size for all jobs of a group, moved inside the map where they would leave it."""
    sizes = tuple(int((span[:, 1] - span[:, 0]).max()) for span in spans)
    rows, cols = (np.minimum(span[:, 0], shape[2 + axis] - sizes[axis]) for axis, span in enumerate(spans))
    return Box(rows, cols, (sizes[0], sizes[1]))


class MapWindows:
    """Clean maps of one value (image, unit, row, col), as rows of units, one for each position, and one of padding at the end."""

    def __init__(self, value: Tensor, pad: float) -> None:
        self.rows, self.cols, units = value.shape[2], value.shape[3], value.shape[1]
        flat = value.permute(0, 2, 3, 1).reshape(-1, units)
        self.table = torch.cat([flat, flat.new_full((1, units), pad)])

    def around(self, images: Int[Array, " job"], rows: Any, cols: Any, size: tuple[int, int]) -> Tensor:
        """The clean positions (job, row, col, unit) from `rows`, `cols` on; padding beyond the edge."""
        down, across = rows[:, None] + np.arange(size[0]), cols[:, None] + np.arange(size[1])
        there = ((down >= 0) & (down < self.rows))[:, :, None] & ((across >= 0) & (across < self.cols))[:, None, :]
        at = (images[:, None, None] * self.rows + down[:, :, None]) * self.cols + across[:, None, :]
        index = torch.from_numpy(np.where(there, at, len(self.table) - 1).reshape(-1)).to(self.table.device)
        return self.table.index_select(0, index).view(len(images), *size, -1)


def paste_windows(made: Tensor, window: Tensor, own: Box, rows: Any, cols: Any) -> Tensor:
    """`made` (job, row, col, unit), which begins at `rows`, `cols`, with the windows (job, unit, row, col) of `own` laid over it."""
    height, width = made.shape[1:3]
    down, across = own.rows - rows, own.cols - cols
    whole = bool((down >= 0).all() and (across >= 0).all())
    whole = whole and bool((down + own.size[0] <= height).all() and (across + own.size[1] <= width).all())
    cells = window.permute(0, 2, 3, 1)
    if whole and (down == down[0]).all() and (across == across[0]).all():
        made[:, down[0] : down[0] + own.size[0], across[0] : across[0] + own.size[1]] = cells
        return made
    for job in range(len(made)):
        top, left = max(down[job], 0), max(across[job], 0)
        bottom, right = min(down[job] + own.size[0], height), min(across[job] + own.size[1], width)
        if bottom > top and right > left:
            cut = cells[job, top - down[job] : bottom - down[job], left - across[job] : right - across[job]]
            made[job, top:bottom, left:right] = cut
    return made
