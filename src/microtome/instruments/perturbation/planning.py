"""Which part of a network to compute in windows: the plan by operation counts.

The first nodes of a tape are computed for the windows alone; there the windows are laid into copies of the clean maps, and the
rest runs on whole maps. Where to cut is decided by counting multiply-adds, positions moved and calls, before anything is computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from torch import Tensor

from microtome.instruments.perturbation.tape import INPUT, Node, Tape
from microtome.instruments.perturbation.windows import Box, Spans, sliding_window, spans_after, window_box
from microtome.numerics.arrays import Array

# What else costs time, in multiply-adds of a convolution; measured on one core of a server CPU, and only the order matters.
MOVE_COST = 16.0  # one number moved
CALL_COST = 2e6  # one operation called
LOAD_COST = 50.0  # one weight brought into the order that a kernel wants, at each call
MAX_JOBS = 64  # in one batch
CLASS_COUNTS = (1, 4)  # classes of jobs along each axis: with more, the smallest groups are too small to be fast
# Bytes of the largest maps of one batch: beyond about 32 MB each allocation comes from the system anew, at ten times the cost.
BATCH_VALUES = 16e6
Boxes = dict[int, Box]


@dataclass(frozen=True, eq=False)
class JobGroup:
    """Jobs that run as one batch, and where their windows lie in every value computed in windows."""

    jobs: Int[Array, " job"]
    boxes: Boxes

    def part(self, start: int, stop: int) -> "JobGroup":
        """The jobs at those places of the group."""
        boxes = {value: Box(box.rows[start:stop], box.cols[start:stop], box.size) for value, box in self.boxes.items()}
        return JobGroup(self.jobs[start:stop], boxes)


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """The first `cut` nodes are computed in the groups' windows, the rest for `batch` jobs at a time.

    `saved` is how many times fewer multiply-adds that takes than the plain loop, `gain` how many times less time, reckoned with
    what else costs; `limit` how many times fewer multiply-adds would do, were every node computed only in what each job can reach.
    """

    cut: int
    groups: tuple[JobGroup, ...]
    batch: int
    saved: float
    gain: float
    limit: float


def node_operations(node: Node, shapes: Mapping[int, tuple[int, ...]]) -> float:
    """Multiply-adds of one operation for one image."""
    if not node.gives:
        return 0.0
    made = float(np.prod(shapes[node.gives[0]]))
    if node.name == "convolution":
        weight = node.args[1]
        return made * float(np.prod(weight.shape[1:])) if isinstance(weight, Tensor) else made
    if node.name in ("addmm", "mm", "bmm", "baddbmm"):
        left = node.args[1] if node.name in ("addmm", "baddbmm") else node.args[0]
        return made * (shapes[left.value][-1] if hasattr(left, "value") else left.shape[-1])
    if "attention" in node.name:
        shape = shapes[node.args[0].value]
        return 2.0 * made * shape[-2]
    return 0.0


def cheapest_plan(
    tape: Tape, stop: int, spans: tuple[Spans, Spans], cut: int | None = None, parts: Sequence[int] = CLASS_COUNTS
) -> SweepPlan:
    """The cheapest plan for jobs whose changed pixels are `spans` (rows, cols), with windows for at most `stop` nodes.

    `cut` asks for windows of just so many; `parts` are numbers of classes of jobs along each axis to be tried.
    """
    count = len(spans[0])
    stop = stop if cut is None else cut
    flops = np.array([node_operations(node, tape.shapes) for node in tape.nodes])
    full = flops + np.array([MOVE_COST * _cell_count(node, tape.shapes) + _call_cost(node) / 16 for node in tape.nodes])
    rest = np.append(np.cumsum(full[::-1])[::-1], 0.0)
    reached = _reached_spans(tape, stop, spans)
    alive = np.array([sum(float(np.prod(tape.shapes[value])) for value in living_values(tape, cut)) for cut in range(stop + 1)])
    best, cheapest = count * rest[0], (0, 1, 1.0)
    for many in parts if cut is None else (1,):
        spent, used = _cumulative_cost(tape, stop, reached, _row_col_classes(reached, many))
        total = spent + count * (rest[: stop + 1] + 2 * MOVE_COST * alive)
        least = cut if cut is not None else 1 + int(total[1:].argmin()) if stop else 0
        if least and (total[least] < best or cut is not None):
            saved = count * flops.sum() / max(used[least] + count * flops[least:].sum(), 1.0)
            best, cheapest = total[least], (least, many, float(saved))
    where, many, saved = cheapest
    groups = _group_jobs(tape, where, reached, _row_col_classes(reached, many)) if where else ()
    return SweepPlan(
        where, groups, _batch_size(tape, where), saved, float(count * rest[0] / best), _flop_limit(tape, stop, reached, flops)
    )


def _batch_size(tape: Tape, cut: int) -> int:
    """As many jobs as the memory for whole maps allows, by the largest of them after the cut."""
    values = [*living_values(tape, cut), *(value for node in tape.nodes[cut:] for value in node.gives)]
    largest = max((4 * int(np.prod(tape.shapes[value])) for value in values if value in tape.moving), default=1)
    return int(np.clip(BATCH_VALUES // largest, 1, MAX_JOBS))


def _cell_count(node: Node, shapes: Mapping[int, tuple[int, ...]]) -> float:
    return float(np.prod(shapes[node.gives[0]])) if node.gives else 0.0


def _call_cost(node: Node, steps: int = 1) -> float:
    """What one call costs, however small: `steps` operations, and the weights."""
    weight = node.args[1] if node.name == "convolution" else None
    return steps * CALL_COST + (LOAD_COST * weight.numel() if isinstance(weight, Tensor) else 0.0)


def _cumulative_cost(
    tape: Tape, stop: int, reached: Mapping[int, tuple[Spans, Spans]], classes: tuple[Any, Any]
) -> Float64[Array, "2 node"]:
    """What the first 0, 1, … `stop` nodes cost in windows, and the multiply-adds in that, both (node,)."""
    shape = int(classes[0].max()) + 1, int(classes[1].max()) + 1
    members = np.zeros(shape)
    np.add.at(members, classes, 1)
    calls = float(np.ceil(members / MAX_JOBS).sum())
    costs = np.zeros((2, stop + 1))
    for place, node in enumerate(tape.nodes[:stop]):
        sides = [_largest_spans(reached[node.gives[0]][axis], classes[axis], shape[axis]) for axis in (0, 1)]
        whole = tape.shapes[node.gives[0]]
        share = float((members * np.outer(sides[0], sides[1])).sum()) / (whole[2] * whole[3])
        moved = MOVE_COST * _cell_count(node, tape.shapes) * share
        slide = sliding_window(node)
        if slide is not None and (slide.kernel, slide.stride) != ((1, 1), (1, 1)):
            read = [slide.extent(side, axis) for axis, side in enumerate(sides)]
            moved += 2 * MOVE_COST * tape.shapes[node.reads[0]][1] * float((members * np.outer(read[0], read[1])).sum())
        flops = node_operations(node, tape.shapes) * share
        costs[:, place + 1] = flops + moved + _call_cost(node, 4) * calls, flops
    return np.cumsum(costs, 1)


def _largest_spans(spans: Spans, classes: Any, count: int) -> Any:
    """The longest span of each class."""
    largest = np.zeros(count)
    np.maximum.at(largest, classes, (spans[:, 1] - spans[:, 0]).astype(float))
    return largest


def living_values(tape: Tape, cut: int) -> list[int]:
    """The values from before node `cut` that are read from it on."""
    made = {INPUT} | {value for node in tape.nodes[:cut] for value in node.gives}
    return [value for value in sorted(made) if tape.last.get(value, -1) >= cut or value == tape.output]


def _reached_spans(tape: Tape, stop: int, spans: tuple[Spans, Spans]) -> dict[int, tuple[Spans, Spans]]:
    reached = {INPUT: spans}
    for node in tape.nodes[:stop]:
        reached[node.gives[0]] = spans_after(node, reached, tape.shapes[node.gives[0]])
    return reached


def _row_col_classes(reached: Mapping[int, tuple[Spans, Spans]], parts: int) -> tuple[Any, Any]:
    """Classes of the jobs along rows and cols, in which windows are about equally large: at most `parts` each."""
    sizes = [sum(np.log1p((span[axis][:, 1] - span[axis][:, 0]).astype(float)) for span in reached.values()) for axis in (0, 1)]
    return _size_classes(np.asarray(sizes[0]), parts), _size_classes(np.asarray(sizes[1]), parts)


def _group_jobs(
    tape: Tape, cut: int, reached: Mapping[int, tuple[Spans, Spans]], classes: tuple[Any, Any]
) -> tuple[JobGroup, ...]:
    """The jobs of each pair of classes, and where their windows lie in the values up to the cut; no more than memory allows."""
    values = [INPUT, *(node.gives[0] for node in tape.nodes[:cut])]
    groups: list[JobGroup] = []
    for pair in product(*(np.unique(labels) for labels in classes)):
        members = np.flatnonzero((classes[0] == pair[0]) & (classes[1] == pair[1]))
        if not len(members):
            continue
        sizes = {value: [int((span[members, 1] - span[members, 0]).max()) for span in reached[value]] for value in values}
        largest = max(4 * tape.shapes[value][1] * (size[0] + 2) * (size[1] + 2) for value, size in sizes.items())
        most = int(np.clip(BATCH_VALUES // largest, 1, MAX_JOBS))
        for jobs in np.array_split(members, -(-len(members) // most)):
            inner = {value: (reached[value][0][jobs], reached[value][1][jobs]) for value in values}
            groups.append(JobGroup(jobs, {value: window_box(span, tape.shapes[value]) for value, span in inner.items()}))
    return tuple(groups)


def _size_classes(sizes: Any, parts: int) -> Int[Array, " job"]:
    """Jobs in at most `parts` classes of equal width by size."""
    distinct = np.unique(sizes.round(9), return_inverse=True)
    if len(distinct[0]) <= parts:
        return distinct[1].reshape(-1)
    low, high = float(sizes.min()), float(sizes.max())
    return np.minimum(((sizes - low) / (high - low) * parts).astype(int), parts - 1)


def _flop_limit(tape: Tape, stop: int, reached: Mapping[int, tuple[Spans, Spans]], flops: Any) -> float:
    count = len(reached[INPUT][0])
    least = 0.0
    for node, cost in zip(tape.nodes[:stop], flops[:stop], strict=True):
        rows, cols = reached[node.gives[0]]
        shape = tape.shapes[node.gives[0]]
        cells = ((rows[:, 1] - rows[:, 0]) * (cols[:, 1] - cols[:, 0])).sum()
        least += cost * float(cells) / (shape[2] * shape[3])
    return float(count * flops.sum() / max(least + count * flops[stop:].sum(), 1.0))
