"""The networks to be measured: without each block, ended after each block, without sets of blocks, and narrower; weights are shared."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from microtome.instruments.block_removal import BlockRemoval, apply_removals, removal_plans
from microtome.instruments.feature_cut import CutInfo, cut_at
from microtome.instruments.pruning.choice import PruningPlan, choose_widths
from microtome.instruments.pruning.widths import Widths
from microtome.specimen import Layer, Specimen
from microtome.specimen.copying import copy_network
from microtome.specimen.tracing import example_input

Kind = Literal["block", "cut", "set", "width"]
LINEAR_SUFFIX = ", linear maps in their place"


@dataclass(frozen=True)
class SmallerNetwork:
    """One smaller network: without `blocks` (a block, or a set of them), ended at the layer `at`, or narrowed to the `kept` channels.

    `from_end` counts blocks from the end, 1 the last: that of the one block, or of the last block that a cut keeps. With `linear`, linear
    maps stand in place of the blocks.
    """

    kind: Kind
    name: str
    blocks: tuple[str, ...] = ()
    at: str = ""
    from_end: int = 0
    kept: str = ""
    linear: bool = False


@dataclass(frozen=True)
class Slimmer:
    """Builds the candidates of a specimen; `plans` and `linear_plans` say how its blocks are removed."""

    specimen: Specimen
    plans: dict[str, BlockRemoval]
    linear_plans: dict[str, BlockRemoval]

    @classmethod
    def of(cls, specimen: Specimen) -> "Slimmer":
        """The slimmer of a specimen."""
        return cls(specimen, removal_plans(specimen), removal_plans(specimen, "linear"))

    @property
    def removable(self) -> list[str]:
        """The blocks that can be removed with nothing in their place, in execution order."""
        return [name for name, plan in self.plans.items() if plan.how]

    @property
    def replaceable(self) -> list[str]:
        """The blocks that a linear map can take the place of, in execution order."""
        return [name for name, plan in self.linear_plans.items() if plan.how == "linear"]

    @property
    def refusal_reasons(self) -> dict[str, str]:
        """The other blocks, each with the reason."""
        return {name: plan.reason for name, plan in self.plans.items() if not plan.how}

    def singles(self) -> list[SmallerNetwork]:
        """Every block alone that can be removed with nothing, or with a linear map, in its place."""
        possible = [name for name in self.plans if self.plans[name].how or self.linear_plans[name].how == "linear"]
        return [SmallerNetwork("block", name, (name,), from_end=self.from_end(name)) for name in possible]

    def cuts(self) -> list[SmallerNetwork]:
        """The network ended after every block but the last, in execution order; blocks that give several maps are left out."""
        cuts: list[SmallerNetwork] = []
        for block in self.specimen.blocks[:-1]:
            layer = self.specimen.layer(block.exit)
            if layer.branch is None and layer.layout in ("nchw", "nhwc", "tokens"):
                cuts.append(SmallerNetwork("cut", f"end at {block.exit}", at=block.exit, from_end=self.from_end(block.name)))
        return cuts

    def several(self, blocks: tuple[str, ...], linear: bool = False) -> SmallerNetwork:
        """A set of blocks, in execution order; with `linear`, linear maps take their places."""
        ordered = tuple(name for name in self.plans if name in blocks)
        return SmallerNetwork("set", " + ".join(ordered) + (LINEAR_SUFFIX if linear else ""), ordered, linear=linear)

    def narrower(self, ratio: float) -> SmallerNetwork:
        """The network without this fraction of its channels, the least in magnitude.

        Raises:
            Uneditable: they cannot be removed.
            MissingExtra: Torch-Pruning is not installed.
        """
        kept = choose_widths(self.specimen, PruningPlan(ratio)).encode()
        return SmallerNetwork("width", f"{ratio:.0%} of channels pruned", at=f"{ratio:g}", kept=kept)

    def from_end(self, name: str) -> int:
        """The place of a block from the end, 1 for the last."""
        return len(self.plans) - list(self.plans).index(name)

    def network(
        self, candidate: SmallerNetwork, linear: bool = False, own_weights: bool = False, classes: int = 0
    ) -> nn.Module:
        """The candidate as a network in eval mode, which shares weights with the specimen's unless they are to be its own.

        With `linear`, linear maps stand in place of the removed blocks. `classes` is the width of a cut's new head.
        """
        net = copy_network(self.specimen.net)
        if not own_weights:
            share_weights(net, self.specimen.net)
        if candidate.kind == "cut":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                layer = self.specimen.layer(candidate.at)
                cut_at(net, [layer], _plain_info(layer), example_input(net, self.specimen.recipe), classes)
        elif candidate.kind == "width":
            Widths.decode(candidate.kept).apply(net)
        else:
            linear = linear or candidate.linear or not self.can_be_empty(candidate)
            plans = self.linear_plans if linear else self.plans
            apply_removals(net, self.specimen, [plans[name] for name in candidate.blocks])
        device = self.specimen.device
        return net.to(device).eval()

    def can_be_empty(self, candidate: SmallerNetwork) -> bool:
        """Whether nothing need take the place of its blocks."""
        return not candidate.linear and all(self.plans[name].how for name in candidate.blocks)

    def can_be_linear(self, candidate: SmallerNetwork) -> bool:
        """Whether linear maps can take the place of all its blocks."""
        return candidate.kind not in ("cut", "width") and all(
            self.linear_plans[name].how == "linear" for name in candidate.blocks
        )


def share_weights(net: nn.Module, original: nn.Module) -> None:
    """Let the parameters of a copy be those of the original; buffers stay its own."""
    originals = dict(original.named_modules(remove_duplicate=False))
    for path, module in net.named_modules(remove_duplicate=False):
        for name in module._parameters:
            module._parameters[name] = originals[path]._parameters[name]


def _plain_info(layer: Layer) -> CutInfo:
    return CutInfo((layer.name,), (layer.units,), (float("nan"),), (float("nan"),))
