"""Which blocks to remove together: greedy or beam search on the images to choose by, from the features before each change.

Every step removes one block more from each of the best sets so far. Of a set, the features before a block are computed once and taken for
every candidate that changes nothing before it. Ties go to the set that saves more multiply-adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from microtome.analyses.slimming.bench import Bench
from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.repairs import estimate_norms, fit_linear
from microtome.instruments.prefix_runs import PrefixRuns
from microtome.networks.stand_ins import LinearBlock


@dataclass(frozen=True)
class SetScore:
    """A set of removed blocks and how many of the images to choose by it has right."""

    blocks: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Search:
    """A search over sets of blocks, `width` of them at a time; `repair` is done to every candidate before it is judged."""

    bench: Bench
    width: int
    repair: Literal["none", "norms", "linear"]

    def full(self) -> int:
        """How many of the images to choose by the full network has right."""
        bench = self.bench
        key = ["choose", [], self.repair]
        runs = PrefixRuns(bench.specimen, bench.specimen.net, bench.search_images.batches)
        return int(bench.journal.answers(key, lambda: bench.selection(bench.specimen.net, runs)).sum())

    def step(self, sets: Sequence[SetScore], saved: dict[str, float]) -> list[SetScore]:
        """The best sets with one block more; `saved` (block) are the multiply-adds that its removal saves."""
        scores: dict[tuple[str, ...], SetScore] = {}
        for each in sets:
            for candidate, right in self._larger(each.blocks).items():
                scores[candidate.blocks] = SetScore(candidate.blocks, right)
        ranked = sorted(scores.values(), key=lambda each: (-each.right, -sum(saved[name] for name in each.blocks), each.blocks))
        return ranked[: self.width]

    def _larger(self, blocks: tuple[str, ...]) -> dict[SmallerNetwork, int]:
        """Every set with one block more, and how many images it has right."""
        bench = self.bench
        linear = self.repair == "linear"
        names = bench.slimmer.replaceable if linear else bench.slimmer.removable
        candidates = [bench.slimmer.several((*blocks, name), linear) for name in names if name not in blocks]
        total = len(bench.slimmer.plans)
        candidates = [candidate for candidate in candidates if len(candidate.blocks) < total]
        if linear:
            return self._larger_linear(blocks, candidates)
        runs: dict[str, PrefixRuns] = {}
        base: nn.Module | None = None
        right: dict[SmallerNetwork, int] = {}
        for candidate in candidates:
            key = ["choose", list(candidate.blocks), self.repair]
            if not bench.journal.knows(key):
                if base is None:
                    base = self._network(blocks)
                    runs = {"judge": PrefixRuns(bench.specimen, base, bench.search_images.batches)}
                    repairs_apart = self.repair == "norms" and bench.judge_images is not None
                    own = PrefixRuns(bench.specimen, base, bench.chosen.batches) if repairs_apart else runs["judge"]
                    runs["repair"] = own
                (added,) = set(candidate.blocks) - set(blocks)
                unit = next(unit for unit in bench.specimen.anatomy.units if unit.path == added)
                for each in {id(part): part for part in runs.values()}.values():
                    each.advance(unit)
                net = bench.slimmer.network(candidate)
                _take_statistics(net, base)
                if self.repair == "norms":
                    estimate_norms(net, runs["repair"], unit)
                bench.journal.answers(key, lambda net=net, runs=runs["judge"]: bench.selection(net, runs))
            right[candidate] = int(bench.journal.answers(key, _never).sum())
            bench.passed()
        return right

    def _larger_linear(self, blocks: tuple[str, ...], candidates: Sequence[SmallerNetwork]) -> dict[SmallerNetwork, int]:
        """The same with linear maps in place of the blocks: those before the new block stay, the later ones are fitted again."""
        bench = self.bench
        base: nn.Module | None = None
        runs = [PrefixRuns(bench.specimen, bench.specimen.net, part.batches) for part in (bench.chosen, bench.search_images)]
        right: dict[SmallerNetwork, int] = {}
        for candidate in sorted(candidates, key=lambda each: bench.units(each)[0].entry.begun):
            key = ["choose", list(candidate.blocks), self.repair]
            if not bench.journal.knows(key):
                base = self._network(blocks) if base is None else base
                units = bench.units(candidate)
                for each in runs:
                    each.advance(units[0])
                net = bench.slimmer.network(candidate, linear=True)
                _take_stand_ins(net, base)
                (added,) = (unit for unit in units if unit.path not in blocks)
                fit_linear(net, bench.specimen, runs[0], [unit for unit in units if unit.entry.begun >= added.entry.begun])
                bench.journal.answers(key, lambda net=net: bench.selection(net, runs[1]))
            right[candidate] = int(bench.journal.answers(key, _never).sum())
            bench.passed()
        return right

    def _network(self, blocks: tuple[str, ...]) -> nn.Module:
        """The network without a set of blocks, repaired."""
        bench = self.bench
        if not blocks:
            return bench.specimen.net
        candidate = bench.slimmer.several(blocks, self.repair == "linear")
        net = bench.slimmer.network(candidate)
        units = bench.units(candidate)
        if self.repair != "none":
            runs = PrefixRuns(bench.specimen, bench.specimen.net, bench.chosen.batches)
            runs.advance(units[0])
            if self.repair == "norms":
                estimate_norms(net, runs, units[0])
            else:
                fit_linear(net, bench.specimen, runs, units)
        return net


def _take_stand_ins(net: nn.Module, base: nn.Module) -> None:
    """Give the linear maps of `net` the weights of those at the same places of `base`."""
    for path, module in base.named_modules():
        if isinstance(module, LinearBlock):
            net.get_submodule(path).load_state_dict(module.state_dict())


def _take_statistics(net: nn.Module, base: nn.Module) -> None:
    """Give the norms of `net` the statistics of the same norms of `base`, where they have as many channels."""
    buffers = dict(base.named_buffers())
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if name in buffers and buffers[name].shape == buffer.shape:
                buffer.copy_(buffers[name])


def _never() -> np.ndarray[Any, Any]:
    raise AssertionError("the row was just written")
