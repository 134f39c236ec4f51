"""Puts another head between the last map and the layer that reads it: no pooling, means of rows or columns, masks, attention, and more.

`kind` is one of the heads of the weight-banding study:
`gap` (global average pooling, also where there is none), `fc` (no pooling: the layer reads every position, as many weights for each),
`x_avgpool` (the mean of each row), `y_avgpool` (of each column), `xy_avgpool` (both), `masks` (`masks` learned weightings of the
positions), `mask` (a weight for every element, then the mean), `attention` (a softmax over positions by one learned query), `film`
(a scale and a shift for each position, predicted from the pooled map), `groups` (channels in groups with a layer of `width` each), and
`max_fc` (global maximum, then a layer of `hidden` units). The last two bring batch norm and ReLU.

`start=same` gives the new layers values with which a network that averages answers as before (all kinds but `groups` and `max_fc`): the
old weights spread over the positions, masks that add up to one, a query of zero. `start=random` draws the reading layer as torch does,
which is how the study trained: from scratch.

Kinds that count positions fix the input size to that of the recipe. What pools has to be a module, and between it and the layer nothing
may change values; a forward method that pools by a function is refused.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, section "What affects banding"; `y_avgpool` and
`xy_avgpool` are follow-ups that it names and never ran; attention with one query and this FiLM are our readings; keeping answers is ours.
"""

from typing import ClassVar, Literal, cast, final

import torch
from torch import Tensor, nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.head_site import HeadSite, find_head_site
from microtome.networks.pooling import HeadWidths, OnePlace, build_pooling
from microtome.specimen import Specimen

REBUILT = ("groups", "max_fc")  # kinds in front of which no weights could keep the answers


@final
class HeadPooling(Edit):
    """What pools the last map."""

    title = "Another pooling head"
    lead: ClassVar[str] = "kind"

    kind: Literal[
        "gap", "fc", "x_avgpool", "y_avgpool", "xy_avgpool", "max_fc", "masks", "mask", "attention", "groups", "film"
    ] = option("fc", "head between the last map and the layer that reads it")
    masks: int = option(3, "learned spatial masks of masks", low=1, high=256)
    groups: int = option(16, "groups of channels of groups", low=1, high=4096)
    width: int = option(64, "units of the layer of each group", low=1, high=65536)
    hidden: int = option(4096, "units of the layer behind the maximum of max_fc", low=1, high=65536)
    start: Literal["same", "random"] = option(
        "same", "weights of the reading layer: those that keep the answers, or drawn anew"
    )

    def refusal(self, specimen: Specimen) -> str:
        site = find_head_site(specimen)
        if isinstance(site, str):
            return site
        if self.kind == "fc" and not site.pooled:
            return f"{site.reader} reads every position of its last map already; kind=gap pools them"
        if self.kind == "gap" and site.averages:
            return f"{site.module} averages over all positions already; kind=fc reads them one by one"
        units = site.size.units
        if self.kind == "groups" and units % self.groups:
            near = min(
                (count for count in range(1, units + 1) if units % count == 0), key=lambda count: abs(count - self.groups)
            )
            return f"the {units} channels of its last map do not fall into {self.groups} groups; take groups={near}"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        site = self._site(specimen)
        widths = HeadWidths(self.masks, self.groups, self.width, self.hidden)
        head, count = build_pooling(self.kind, site.size, widths, self.start == "same")
        if not site.flat_output:
            head = nn.Sequential(head, OnePlace())
        old, reader = net.get_submodule(site.module), net.get_submodule(site.reader)
        replace_module(net, site.module, head if site.pooled else nn.Sequential(old, head))
        new = _new_reader(reader, count)
        if self.start == "same" and self.kind not in REBUILT:
            _copy_weights(new, reader, self._weights(site.place_weights(reader)))
        replace_module(net, site.reader, new)
        units, rows, cols = site.size
        return (
            f"put {self.kind} between the last map ({units} x {rows} x {cols}, {site.module}) and {site.reader}, which reads "
            f"{count:,} numbers"
        )

    def preserves(self, specimen: Specimen) -> Preservation:
        site = self._site(specimen)
        if self.kind in REBUILT:
            return Preservation("no", "its new layers are drawn at random")
        if self.start == "random":
            return Preservation("no", "the reading layer is drawn anew")
        if not site.averages:
            return Preservation("no", "positions that had weights of their own, or a maximum, now share one mean")
        return Preservation("exactly", "the new weights give the mean over positions at the start, up to rounding")

    def _site(self, specimen: Specimen) -> HeadSite:
        site = find_head_site(specimen)
        assert not isinstance(site, str)  # `refusal` has said so before
        return site

    def _weights(self, every: Tensor) -> Tensor:
        """The reader's weights (output, number), from those for every position (output, unit, row, col)."""
        if self.kind == "fc":
            return every.flatten(1)
        if self.kind == "x_avgpool":
            return every.sum(3).flatten(1)
        if self.kind == "y_avgpool":
            return every.sum(2).flatten(1)
        if self.kind == "xy_avgpool":
            return torch.cat([every.sum(3).flatten(1), every.sum(2).flatten(1)], 1) / 2
        total = every.sum((2, 3))
        return total.repeat(1, self.masks) / self.masks if self.kind == "masks" else total


def _new_reader(old: nn.Module, count: int) -> nn.Linear | nn.Conv2d:
    """A layer of as many outputs as the old one that reads `count` numbers; drawn at random."""
    weight, bias = cast(Tensor, old.weight), old.bias is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(count, len(weight), bias, weight.device, weight.dtype)
    return nn.Conv2d(count, len(weight), 1, bias=bias, device=weight.device, dtype=weight.dtype)


def _copy_weights(new: nn.Linear | nn.Conv2d, old: nn.Module, weights: Tensor) -> None:
    with torch.no_grad():
        new.weight.copy_(weights.reshape(new.weight.shape))
        if new.bias is not None:
            new.bias.copy_(cast(Tensor, old.bias))
