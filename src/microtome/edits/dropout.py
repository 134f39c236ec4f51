"""Puts one dropout into each residual branch, after its last norm.

There the variance that dropout adds in training reaches no batch norm of the branch, and the shortcut's stream, which gets no dropout,
dilutes it. Blocks that end with a norm (post-activation ResNets) have no such place and are refused: whatever dropout goes in there
shifts the variance that the last norm sees. In evaluation dropout does nothing: the answers stay to the bit.

Dropout that a forward method calls as a function goes out by setting the number it reads (such as `drop_rate`) to 0; where no one
number of the block is that probability, the edit refuses.

Source: Kim et al. 2023, "How to Use Dropout Correctly on Residual Networks with Batch Normalization", arXiv:2302.06112. That an
activation between dropout and norm makes no difference (a rectifier and dropout commute) is exact.
"""

import copy
from typing import final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.dropouts import DropoutSite, find_dropouts, remove_dropout
from microtome.specimen import Specimen
from microtome.specimen.layers import is_weight
from microtome.specimen.residuals import Residual


@final
class Dropout(Edit):
    """One dropout in each residual branch, where it shifts no variance."""

    title = "Dropout before a branch's last weights"

    p: float = option(0.2, "dropout probability", low=0.01, high=0.99)
    stages: tuple[int, ...] = option((), "stages to change, counted from 1; all by default")

    def refusal(self, specimen: Specimen) -> str:
        blocks = [block for block in specimen.residuals if not self.stages or block.stage + 1 in self.stages]
        if not blocks:
            return "it has no residual blocks on maps" + (
                f" in stages {', '.join(map(str, self.stages))}" if self.stages else ""
            )
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
            replace_module(net, block.end, nn.Sequential(nn.Dropout(self.p), net.get_submodule(block.end)))
        more = f", and took {removed} others out of them" if removed else ""
        return f"put dropout (p = {self.p:g}) before the last weights of {len(chosen)} residual branches{more}"

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
            if is_weight(specimen.net.get_submodule(block.end)) and (not self.stages or block.stage + 1 in self.stages)
        ]
