"""The first part of a network computed in windows, and the clean maps that the windows lie in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from microtome.instruments.perturbation.planning import JobGroup, living_values
from microtome.instruments.perturbation.tape import INPUT, Node, Tape, run_node, without_overwriting
from microtome.instruments.perturbation.windows import (
    Box,
    MapWindows,
    padding_before,
    paste_windows,
    sliding_window,
    source_value,
)
from microtome.numerics.arrays import Array


class CleanValues:
    """The clean maps of the images at every value that windows read around themselves or are laid into."""

    def __init__(self, tape: Tape, cut: int, x: Tensor) -> None:
        wanted = set(living_values(tape, cut)) | set(tape.watched.values())
        for node in tape.nodes[:cut]:
            wanted |= set(node.reads)
        self.values = {INPUT: x}
        self.tables: dict[tuple[int, float], MapWindows] = {}
        last = {value: place for place, node in enumerate(tape.nodes[:cut]) for value in node.reads}
        for place, node in enumerate(tape.nodes[:cut]):
            self.values[node.gives[0]] = run_node(without_overwriting(node), self.values, len(x))[0]
            for value in node.reads:
                if last[value] == place and value not in wanted:
                    del self.values[value]

    def maps(self, value: int, pad: float = 0.0) -> MapWindows:
        """The clean maps of a value with that padding around."""
        if (value, pad) not in self.tables:
            self.tables[value, pad] = MapWindows(self.values[value], pad)
        return self.tables[value, pad]

    def copies(self, value: int, images: Int[Array, " job"], window: Tensor, own: Box) -> Tensor:
        """Whole maps (job, unit, row, col) with each job's window laid in."""
        made = self.values[value].permute(0, 2, 3, 1)[torch.from_numpy(images)].contiguous()
        return paste_windows(made, window, own, np.zeros_like(own.rows), np.zeros_like(own.cols)).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class UnitSums:
    """Which map of a watched value is summed, job by job."""

    value: int
    units: Int[Array, " job"]


def cut_windows(
    tape: Tape, cut: int, group: JobGroup, images: Int[Array, " job"], first: Tensor, clean: CleanValues, sums: UnitSums | None
) -> tuple[dict[int, Tensor], Tensor | None]:
    """The windows (job, unit, row, col) of the values that live at the cut, and by how much the watched sum changed (job,).

    `first` holds the windows of the input, the changed pixels in them.
    """
    windows = {INPUT: first}
    change: Tensor | None = None
    last = {value: place for place, node in enumerate(tape.nodes[:cut]) for value in node.reads}
    alive = set(living_values(tape, cut))

    def around(value: int, target: Box, pad: float) -> Tensor:
        own = group.boxes[value]
        same = own.size == target.size and (own.rows == target.rows).all() and (own.cols == target.cols).all()
        if same:
            return windows[value]
        made = clean.maps(value, pad).around(images, target.rows, target.cols, target.size)
        return paste_windows(made, windows[value], own, target.rows, target.cols).permute(0, 3, 1, 2)

    for place, node in enumerate(tape.nodes[:cut]):
        value = node.gives[0]
        windows[value] = _node_window(node, group.boxes[value], around)
        if sums is not None and sums.value == value:
            change = _window_change(windows[value], clean, value, group.boxes[value], images, sums.units)
        for read in node.reads:
            if last[read] == place and read not in alive:
                windows.pop(read, None)
    return {value: windows[value] for value in alive}, change


def _node_window(node: Node, target: Box, around: Callable[[int, Box, float], Tensor]) -> Tensor:
    slide, origin, name = sliding_window(node), source_value(node), node.name.rstrip("_")
    if slide is not None:
        assert origin is not None
        (rows, high), (cols, wide) = (
            slide.input_span(span, target.size[axis], axis) for axis, span in enumerate((target.rows, target.cols))
        )
        pooled = name.startswith("max_pool")
        inner = around(origin, Box(rows, cols, (high, wide)), -torch.inf if pooled else 0.0)
        if name == "convolution":
            then = node.args[9:]  # what is added, and whether a ReLU follows
            if then and then[0] is not None:
                then = (around(then[0].value, target, 0.0), *then[1:])
            return node.func(inner, *node.args[1:3], slide.stride, (0, 0), slide.dilation, False, (0, 0), node.args[8], *then)
        if pooled:
            return F.max_pool2d(inner, slide.kernel, slide.stride, 0, slide.dilation)
        return F.avg_pool2d(inner, slide.kernel, slide.stride)
    if name == "constant_pad_nd":
        assert origin is not None
        above, left = padding_before(node)
        fill = float(node.argument(2, "value", 0) or 0)
        return around(origin, Box(target.rows - above, target.cols - left, target.size), fill)
    known = {value: around(value, target, 0.0) for value in node.reads}
    return run_node(without_overwriting(node), known, len(target.rows))[0]


def _window_change(
    window: Tensor, clean: CleanValues, value: int, own: Box, images: Int[Array, " job"], units: Int[Array, " job"]
) -> Tensor:
    old = clean.maps(value).around(images, own.rows, own.cols, own.size)
    at = torch.arange(len(window), device=window.device), torch.from_numpy(units).to(window.device)
    now, then = window.permute(0, 2, 3, 1)[at[0], :, :, at[1]], old[at[0], :, :, at[1]]
    return (now.double() - then.double()).sum((1, 2))
