"""The points of the proof: smaller networks by depth, by depth and width, and by Torch-Pruning alone, on one scale of latency."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import thread_time
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import microtome as mt
from benchmarks.torch_pruning_alone import Criterion, prune_alone
from microtome.analyses.slimming.bench import Bench
from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.repairs import estimate_norms, fit_linear
from microtome.instruments.prefix_runs import PrefixRuns
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.paired_ratios import turn_order
from microtome.specimen.calibration import estimate_statistics, has_statistics

Method = Literal["depth", "depth + width", "Torch-Pruning, magnitude", "Torch-Pruning, Taylor"]
WARM_UPS = 2  # rounds that are not timed
RATIOS = tuple(round(0.05 * step, 2) for step in range(1, 19))  # of channels removed, that are tried


@dataclass(frozen=True)
class Point:
    """One smaller network: blocks removed, then channels, by a criterion; `target` is the latency that it was made for."""

    method: Method
    blocks: tuple[str, ...] = ()
    ratio: float = 0.0
    target: float = 0.0
    purpose: Literal["latency", "parameters"] = "latency"

    @property
    def criterion(self) -> Criterion:
        """What channels are pruned by: Taylor in our own combination."""
        return "magnitude" if self.method == "Torch-Pruning, magnitude" else "Taylor"

    @property
    def key(self) -> list[Any]:
        """What the kept row of its answers is called."""
        return [self.method, list(self.blocks), self.ratio]


@dataclass
class Workshop:
    """Builds the points of one network and times them; `linear` says that linear maps stand in place of removed blocks."""

    bench: Bench
    linear: bool
    sizes: dict[tuple[Any, ...], int] = field(default_factory=dict[tuple[Any, ...], int])

    @cached_property
    def targets(self) -> Tensor:
        """The right outputs of the images to repair by."""
        return torch.from_numpy(np.asarray(self.bench.chosen.wanted)).long()

    def candidate(self, blocks: tuple[str, ...]) -> SmallerNetwork:
        """The set of blocks as a candidate of `slimming`."""
        return self.bench.slimmer.several(blocks, self.linear)

    def shape(self, point: Point) -> nn.Module:
        """A network of that point's shape, for timing and counting; its weights are not those of the point."""
        return self._pruned(self._shallow(point.blocks), point.ratio, "magnitude")

    def built(self, point: Point) -> nn.Module:
        """The point's network with weights of its own, its statistics estimated and its linear maps fitted; no fine-tune yet."""
        bench = self.bench
        net = self._shallow(point.blocks)
        if point.blocks:
            units = bench.units(self.candidate(point.blocks))
            runs = PrefixRuns(bench.specimen, bench.specimen.net, bench.chosen.batches)
            runs.advance(units[0])
            if self.linear:
                fit_linear(net, bench.specimen, runs, units)
            elif has_statistics(net):
                estimate_norms(net, runs, units[0])
        net = self._pruned(net, point.ratio, point.criterion)
        if point.ratio and has_statistics(net):
            estimate_statistics(net, bench.chosen.batches)
        return net

    def parameters(self, net: nn.Module) -> int:
        """How many parameters a network has."""
        return sum(parameter.numel() for parameter in net.parameters())

    def _shallow(self, blocks: tuple[str, ...]) -> nn.Module:
        if not blocks:
            return self.bench.slimmer.network(SmallerNetwork("set", ""), own_weights=True)
        return self.bench.slimmer.network(self.candidate(blocks), own_weights=True)

    def _pruned(self, net: nn.Module, ratio: float, criterion: Criterion) -> nn.Module:
        if not ratio:
            return net
        return prune_alone(self.bench.specimen, net, ratio, criterion, self.bench.chosen.batches, self.targets)


def latency_ratios(specimen: mt.Specimen, nets: Sequence[nn.Module], batch: int, rounds: int) -> list[list[float]]:
    """The latency of each network over the specimen's, with its interval: run in turn, the ratio taken within each round.

    It is the processor time of the one thread that runs them: what else runs on the machine takes turns with it, and does not count.
    """
    x = specimen.noise(batch)
    everything = [specimen.net, *nets]
    times = np.zeros((len(everything), rounds))
    with torch.inference_mode():
        for number in range(-WARM_UPS, rounds):
            for place in turn_order(len(everything), max(number, 0)):
                began = thread_time()
                everything[place](x)
                if number >= 0:
                    times[place, number] = thread_time() - began
    logs = np.log(times[1:]) - np.log(times[0])
    return [[round(float(value), 4) for value in np.exp(median_interval(row))] for row in logs]
