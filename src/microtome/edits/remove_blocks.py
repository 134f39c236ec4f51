"""Removes blocks, so that their input goes on in place of their output.

A block whose output has the shape of its input (a residual or transformer block, a module of an HRNet, an Inception module of equal
shape, a convolution of equal shape with its norm and activation) leaves nothing behind. A dense layer goes with the channels that it
adds: every norm, convolution and linear layer that read them becomes narrower, the other weights stay as they are. Any other block is
refused, with the reason, unless `fill` says what joins the ends: `linear` puts a 1 x 1 convolution with bias in the block's place (a
linear layer over tokens; maps are averaged to the new grid first), which starts as the identity as far as there are channels; `remake`
makes the layers anew that then get another number of channels, with random first weights.

`at` takes names of blocks as `microtome layers` lists them, globs, or places from the end: `remove_blocks:-2` removes the last but one.
The function is not preserved; what the layers before the first removed block give is the same to the bit.

Source: removal of residual blocks, Veit et al. 2016, arXiv:1605.06431; for dense layers, and the joins, ours.
"""

from typing import ClassVar, Literal, final

from torch import nn

from microtome.edit import Edit, Preservation, option
from microtome.errors import UnknownName
from microtome.instruments.block_removal import BlockRemoval, apply_removals, named_blocks_of, removal_plans
from microtome.prose import name_list, plural
from microtome.specimen import Specimen


@final
class RemoveBlocks(Edit):
    """Blocks removed."""

    title: ClassVar[str] = "Blocks removed"
    lead: ClassVar[str] = "at"

    at: tuple[str, ...] = option((), "blocks to remove: names, globs, or places from the end (-2)")
    fill: Literal["identity", "linear", "remake"] = option(
        "identity", "what joins the ends: nothing, a linear map, or later layers made anew"
    )

    def refusal(self, specimen: Specimen) -> str:
        names = [block.name for block in specimen.blocks]
        if not self.at:
            return f"no block is named; its blocks are {name_list(names, 12)}; write remove_blocks:{names[-1] if names else 'NAME'}"
        try:
            blocks = named_blocks_of(specimen, self.at)
        except UnknownName as error:
            return str(error).rstrip(".")
        if len(blocks) == len(names):
            return "that is every block that it has"
        plans = removal_plans(specimen, self.fill)
        refused = [plan for plan in (plans[block.name] for block in blocks) if not plan.how]
        return f"{refused[0].block.name} cannot be removed: {refused[0].reason}" if refused else ""

    def with_choices(self, specimen: Specimen) -> "RemoveBlocks":
        return RemoveBlocks(at=tuple(block.name for block in named_blocks_of(specimen, self.at)), fill=self.fill)

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        chosen = self._plans(specimen)
        apply_removals(net, specimen, chosen)
        how = {
            "skip": "",
            "linear": ", a linear map in place of each" if len(chosen) > 1 else ", a linear map in its place",
            "rewire": ", and made what read their channels narrower"
            if len(chosen) > 1
            else ", and made what read its channels narrower",
            "remake": ", and made the layers after it anew",
        }
        joins = "".join(dict.fromkeys(how[plan.how] for plan in chosen))
        names = name_list([plan.block.name for plan in chosen], 8)
        return f"removed {plural(len(chosen), 'block')} ({names}){joins}"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "what the removed blocks computed is missing")

    def _plans(self, specimen: Specimen) -> list[BlockRemoval]:
        plans = removal_plans(specimen, self.fill)
        return [plans[block.name] for block in named_blocks_of(specimen, self.at)]
