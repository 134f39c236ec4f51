"""Puts one dropout into each residual branch, after its last norm.

There the variance that dropout adds in training reaches no batch norm of the branch, and the shortcut's stream, which gets no dropout,
dilutes it. Blocks that end with a norm (post-activation ResNets) have no such place and are refused: whatever dropout goes in there
shifts the variance that the last norm sees. In evaluation dropout does nothing: the answers stay to the bit.

`position` puts it elsewhere, to try what the paper tried. Counted along the last two weight layers of a branch and the norms before
them: 1 before the first of these norms, 2 behind it, 3 before the weights, 4 before the last norm, 5 behind it, 6 before the last weights
(the advice above), 7 behind them; P0 is the network without the edit. That P1 … P7 count so is our reading: the paper names P6. A
position that a block does not have is refused.

Dropout that a forward method calls as a function goes out by setting the number it reads (such as `drop_rate`) to 0; where no one
number of the block is that probability, the edit refuses.

Source: Kim et al. 2023, "How to Use Dropout Correctly on Residual Networks with Batch Normalization", arXiv:2302.06112. That an
activation between dropout and norm makes no difference (a rectifier and dropout commute) is exact.
"""

import copy
import itertools
from typing import final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.dropouts import DropoutSite, find_dropouts, remove_dropout
from microtome.specimen import Specimen
from microtome.specimen.families import gate_paths
from microtome.specimen.layers import is_norm, is_weight
from microtome.specimen.residuals import Residual

LACKS = {
    1: "no norm stands before its last but one weights",
    2: "no norm stands before its last but one weights",
    3: "it has one layer with weights",
    4: "no norm stands before its last weights",
    5: "no norm stands before its last weights",
    6: "it has no weights",
    7: "it has no weights",
}


@final
class Dropout(Edit):
    """One dropout in each residual branch, where it shifts no variance."""

    title = "Dropout before a branch's last weights"

    p: float = option(0.2, "dropout probability", low=0.01, high=0.99)
    stages: tuple[int, ...] = option((), "stages to change, counted from 1; all by default")
    position: int = option(0, "place in each branch, P1 to P7; 0: P6, where a branch ends with weights", low=0, high=7)

    def refusal(self, specimen: Specimen) -> str:
        blocks = [block for block in specimen.residuals if not self.stages or block.stage + 1 in self.stages]
        if not blocks:
            return "it has no residual blocks on maps" + (
                f" in stages {', '.join(map(str, self.stages))}" if self.stages else ""
            )
        if self.position and (missing := [block.block for block in blocks if not self._site(specimen, block)]):
            return f"the branch of {missing[0]} has no position P{self.position}: {LACKS[self.position]}"
        if not self._target_blocks(specimen):
            return (
                f"its residual branches end with a norm ({blocks[0].end}), so no place in them is after it and before weights"
            )
        deaf = [
            site.description
            for site in self._functional_dropouts(specimen)
            if not remove_dropout(copy.deepcopy(specimen.net), site)
        ]
        return f"{deaf[0]} cannot be removed from outside; change its code" if deaf else ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        called = self._functional_dropouts(specimen)
        for site in called:
            remove_dropout(net, site)
        removed = len(called)
        chosen = self._target_blocks(specimen)
        for block in chosen:
            parts = net.get_submodule(block.block).named_modules()
            inside = [path for path, part in parts if isinstance(part, nn.Dropout | nn.Dropout2d)]
            for path in inside:
                replace_module(net, f"{block.block}.{path}", nn.Identity())
            removed += len(inside)
            path, behind = self._site(specimen, block) or (block.end, False)
            layer = net.get_submodule(path)
            replace_module(
                net, path, nn.Sequential(layer, nn.Dropout(self.p)) if behind else nn.Sequential(nn.Dropout(self.p), layer)
            )
        more = f", and took {removed} others out of them" if removed else ""
        where = f"at P{self.position}" if self.position else "before the last weights"
        return f"put dropout (p = {self.p:g}) {where} of {len(chosen)} residual branches{more}"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("exactly", "dropout does nothing in evaluation", 0.0)

    def _functional_dropouts(self, specimen: Specimen) -> list[DropoutSite]:
        """The dropouts of those blocks that are called as functions."""
        blocks = [f"{block.block}." for block in self._target_blocks(specimen)]
        sites = find_dropouts(specimen.net, specimen.recipe).sites
        return [site for site in sites if site.form == "function" and f"{site.path}.".startswith(tuple(blocks))]

    def _target_blocks(self, specimen: Specimen) -> list[Residual]:
        """The blocks whose branch ends with weights."""
        return [
            block
            for block in specimen.residuals
            if (self.position or is_weight(specimen.net.get_submodule(block.end)))
            and (not self.stages or block.stage + 1 in self.stages)
        ]

    def _site(self, specimen: Specimen, block: Residual) -> tuple[str, bool] | None:
        """The module beside which the dropout of a chosen position stands, and whether behind it; None where there is none."""
        if not self.position:
            return None
        norms, weights = _last_layers(specimen, block)
        layer = {1: norms[0], 2: norms[0], 3: weights[0], 4: norms[1], 5: norms[1]}.get(self.position, weights[1])
        behind = self.position in (2, 5, 7)
        fused = specimen.net.get_submodule(layer) if layer else None
        if behind and self.position != 7 and isinstance(getattr(fused, "act", None), nn.Module):
            return f"{layer}.act", False  # a norm that holds its activation: between the two
        return (layer, behind) if layer else None


def _last_layers(specimen: Specimen, block: Residual) -> tuple[tuple[str, str], tuple[str, str]]:
    """The paths of the norms before the last two weight layers of a branch, and of these layers; empty where there is none."""
    calls = [call for call in specimen.anatomy.trace.calls if call.path.startswith(f"{block.block}.") and call.index == 0]
    aside = [path for path in (block.shortcut, *gate_paths(specimen.anatomy.trace)) if path]
    calls = [call for call in calls if not any(call.path == path or call.path.startswith(f"{path}.") for path in aside)]
    calls.sort(key=lambda call: call.begun)
    weights = [at for at, call in enumerate(calls) if is_weight(call.module)]
    norms = [at for at, call in enumerate(calls) if is_norm(call.module)]
    last = ([-1, -1, -1] + weights)[-3:]

    def path(at: int) -> str:
        return calls[at].path if at >= 0 else ""

    before = [max((at for at in norms if start < at < end), default=-1) for start, end in itertools.pairwise(last)]
    return (path(before[0]), path(before[1])), (path(last[1]), path(last[2]))
