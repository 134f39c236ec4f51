"""Feature reuse in densely connected blocks: where they are, how strongly each layer reads each earlier one, and what follows.

Source: Huang et al. 2017, "Densely connected convolutional networks", arXiv:1608.06993, section 5 and figure 5.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor, nn

from microtome.numerics.arrays import Array
from microtome.numerics.graph.channels import ChannelRun

MIN_GROWTHS = 2  # how often a block must grow to count as dense: one concatenation with one's own input is a shortcut


@runtime_checkable
class ReaderLike(Protocol):
    """One call of a weight layer: what it is called, the source that it makes, and what it reads."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> int: ...
    @property
    def runs(self) -> tuple[ChannelRun, ...]: ...


class DenseBlock(NamedTuple):
    """A dense block: `targets` are places in the list of readers, `sources` are what they read, the block's input first.

    `inner` says which targets give something back to the block; the others (a transition, a classifier) read it only.
    """

    targets: tuple[int, ...]
    sources: tuple[ChannelRun, ...]
    inner: tuple[bool, ...]


def dense_blocks(readers: Sequence[ReaderLike], parents: Sequence[frozenset[int]]) -> list[DenseBlock]:
    """The blocks in which one layer after another reads what all before it gave, side by side, in order of execution.

    A layer follows another if it reads all that the other reads and besides only what was computed from the other's output.
    A block grows at least `MIN_GROWTHS` times. `parents[s]` are the sources that source s was computed from.
    """
    byset: dict[frozenset[ChannelRun], list[int]] = {}
    for place, reader in enumerate(readers):
        byset.setdefault(frozenset(reader.runs), []).append(place)
    before: dict[frozenset[ChannelRun], frozenset[ChannelRun]] = {}
    for runs in byset:
        smaller = [
            other
            for other in byset
            if other < runs
            and all(
                _derives_from(run.source, {readers[place].source for place in byset[other]}, parents) for run in runs - other
            )
        ]
        if smaller:
            before[runs] = max(smaller, key=len)
    chains: dict[frozenset[ChannelRun], list[frozenset[ChannelRun]]] = {}
    for runs in byset:
        root = runs
        while root in before:
            root = before[root]
        chains.setdefault(root, []).append(runs)
    blocks = [_make_block(sets, byset, before) for sets in chains.values() if len({len(runs) for runs in sets}) > MIN_GROWTHS]
    return sorted(blocks, key=lambda block: block.targets[0])


def _derives_from(source: int, wanted: set[int], parents: Sequence[frozenset[int]]) -> bool:
    """Whether `source` is one of `wanted`, or was computed from one."""
    if source in wanted:
        return True
    low = min(wanted)
    seen: set[int] = set()
    waiting = [source]
    while waiting:
        for parent in parents[waiting.pop()] - seen:
            if parent in wanted:
                return True
            seen.add(parent)
            if parent > low:
                waiting.append(parent)
    return False


def _make_block(
    sets: Sequence[frozenset[ChannelRun]],
    byset: Mapping[frozenset[ChannelRun], list[int]],
    before: Mapping[frozenset[ChannelRun], frozenset[ChannelRun]],
) -> DenseBlock:
    targets = sorted(place for runs in sets for place in byset[runs])
    followed = {before[runs] for runs in sets if runs in before}
    inner = {place for runs in sets if runs in followed for place in byset[runs]}
    sources = sorted({run for runs in sets for run in runs}, key=lambda run: (run.source, run.start))
    return DenseBlock(tuple(targets), tuple(sources), tuple(place in inner for place in targets))


def channel_strength(module: nn.Module, width: int) -> Float[Array, " channel"]:
    """Mean absolute weight on each of the `width` input channels of a convolution or linear layer, float64.

    In a grouped convolution a channel is seen by the units of its group alone.
    """
    weight: Tensor = module.weight.detach().abs().double().cpu()  # type: ignore[operator, union-attr]
    groups = int(getattr(module, "groups", 1))
    if isinstance(module, nn.modules.conv._ConvTransposeNd) or type(module).__name__ == "Conv1D":  # pyright: ignore[reportPrivateUsage]
        return weight.flatten(1).mean(1).numpy()
    split = weight.unflatten(0, (groups, -1)).flatten(3) if weight.dim() > 2 else weight.unflatten(0, (groups, -1))[..., None]
    strength = split.mean(dim=(1, 3)).flatten()
    assert len(strength) == width
    return strength.numpy()


def source_row(
    values: Float[Array, " channel"], runs: Sequence[ChannelRun], sources: Sequence[ChannelRun]
) -> Float[Array, " source"]:
    """The mean of `values` over each source's channels; NaN for a source that is not read."""
    row = np.full(len(sources), np.nan)
    place = 0
    for run in runs:
        width = run.width * run.cells
        row[sources.index(run)] = values[place : place + width].mean()
        place += width
    return row


def scale_matrices(matrices: Mapping[str, Float[Array, "_ _"]], scaling: str) -> dict[str, Float[Array, "_ _"]]:
    """The matrices as they are ("none"), each row by its largest value ("target"), or all by the largest of all ("global")."""
    if scaling == "none":
        return dict(matrices)
    peak = max((float(np.nanmax(matrix)) for matrix in matrices.values()), default=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: matrix / (np.nanmax(matrix, axis=1, keepdims=True) if scaling == "target" else peak)
            for name, matrix in matrices.items()
        }


def source_evenness(weights: Float[Array, " source"]) -> float:
    """How many of the sources a layer uses, as a fraction of them: exp(entropy)/n, 1 where all are read alike, 1/n for a single one.

    NaN for fewer than two sources, and where all weights are zero.
    """
    known = weights[~np.isnan(weights)]
    total = known.sum()
    if len(known) < 2 or not total > 0:
        return math.nan
    share = known[known > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()) / len(known))


def faintest_source(weights: Float[Array, " source"]) -> float:
    """The weight on the source that is read least, over the mean of all; NaN for fewer than two sources or weights of zero."""
    known = weights[~np.isnan(weights)]
    return float(known.min() / known.mean()) if len(known) > 1 and known.sum() > 0 else math.nan


def least_read(weights: Float[Array, " source"]) -> tuple[bool, float]:
    """Whether the block's input (first) gets less weight than every other source, and its weight over their mean."""
    known = weights[~np.isnan(weights)]
    others = known[1:].mean() if len(known) > 1 else math.nan
    return bool(len(known) > 1 and known[0] < known[1:].min()), float(known[0] / others) if others > 0 else math.nan


class LateLean(NamedTuple):
    """How a layer leans to late sources: mean of the last third over that of the first third, rank correlation, its p (one-sided)."""

    ratio: float
    correlation: float
    p: float


def late_lean(weights: Float[Array, " source"]) -> LateLean:
    """How a layer that reads all sources in order leans to the late ones; not numbers for fewer than three sources or equal weights."""
    known = weights[~np.isnan(weights)]
    third = len(known) // 3
    if not third or not known[:third].sum() > 0:
        return LateLean(math.nan, math.nan, math.nan)
    ratio = float(known[-third:].mean() / known[:third].mean())
    if np.ptp(known) <= 1e-12 * np.abs(known).max():
        return LateLean(ratio, math.nan, math.nan)
    test = spearmanr(np.arange(len(known)), known, alternative="greater")
    return LateLean(ratio, float(test.statistic), float(test.pvalue))  # type: ignore[union-attr]


class Observations(NamedTuple):
    """The four observations of section 5 as numbers; not numbers where the network has no place for one."""

    evenness: float  # 1: median over the layers within blocks that read at least three sources
    faint: float  # 1: weight on the source that is read least over the mean of all, median over the same layers
    transitions: float  # 2: the smallest evenness of a transition
    transitions_faint: float  # 2: the same, smallest over the transitions
    least: int  # 3: layers of later blocks that read their block's input least of all
    layers: int  # 3: of how many that read at least two sources
    ratio: float  # 3: weight on the input over the mean weight on the others, median over these layers
    lean: LateLean  # 4: of the classifier


def observe_blocks(blocks: Sequence[DenseBlock], rows: Sequence[Float[Array, "_ _"]], head: int | None) -> Observations:
    """The four observations in `rows` (one matrix per block); `head` is the reader that gives the class scores."""
    even: list[tuple[float, float]] = []
    across: list[tuple[float, float]] = []
    least: list[tuple[bool, float]] = []
    last = LateLean(math.nan, math.nan, math.nan)
    for number, (block, matrix) in enumerate(zip(blocks, rows, strict=True)):
        for target, inner, weights in zip(block.targets, block.inner, matrix, strict=True):
            count = int((~np.isnan(weights)).sum())
            if inner:
                even += [(source_evenness(weights), faintest_source(weights))] if count > 2 else []
                least += [least_read(weights)] if count > 1 and number else []
            elif target == head:
                last = late_lean(weights)
            else:
                across.append((source_evenness(weights), faintest_source(weights)))
    return Observations(
        *_reduce_columns(even, np.median),
        *_reduce_columns(across, np.min),
        sum(first for first, _ in least),
        len(least),
        _reduce_columns([(ratio, ratio) for _, ratio in least], np.median)[0],
        last,
    )


def _reduce_columns(pairs: Sequence[tuple[float, float]], of: Callable[[Array], Any]) -> tuple[float, float]:
    """`of` each column of the pairs that are numbers; NaN where there are none."""
    known = [pair for pair in pairs if not math.isnan(pair[0])]
    return (float(of(np.array(known)[:, 0])), float(of(np.array(known)[:, 1]))) if known else (math.nan, math.nan)
