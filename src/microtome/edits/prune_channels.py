"""Removes the least important channels, attention heads and hidden units of a network.

`prune_channels:ratio=0.3` removes 30% of the channels of every group of layers that can only become narrower together (a residual stage and
all that read it). The head keeps its outputs. In networks with attention the residual stream keeps its width: whole heads are removed,
rounded to a whole number in each block, and hidden units of the MLPs. `heads=false` or `mlp=false` leave either out.

`criterion` says what is important: `magnitude`, the L2 norm of all weights of a group; `bn_scale`, the absolute scale of its batch norms;
`taylor`, the absolute product of weight and gradient of the loss over labelled `images`. In several `iterations` the ratio grows evenly and
importance is taken anew. With `images` the statistics of norms are estimated again on half of them, after every iteration and at the end,
and the top-1 accuracy on the other half is reported before and after. There is no training: fine-tune what comes out.

Torch-Pruning finds the groups: `pip install 'microtome[prune]'`. The kept channels are written down with the edit, so that a saved network
opens without it. An untrained twin has the same widths.

Source: Fang et al. 2023, arXiv:2301.12900; Li et al. 2017, arXiv:1608.08710 (magnitude); Liu et al. 2017, arXiv:1708.06519 (scale of
batch norms); Molchanov et al. 2019, arXiv:1906.10771 (Taylor).
"""

from dataclasses import replace
from typing import ClassVar, Literal, final

from torch import nn

from microtome.edit import Edit, Preservation, option
from microtome.errors import BadOption, Uneditable
from microtome.images import Images
from microtome.instruments.attention import all_attention_paths
from microtome.instruments.pruning.choice import PruningPlan, choose_widths
from microtome.instruments.pruning.dependencies import torch_pruning
from microtome.instruments.pruning.labelled_images import PruningImages, open_images_word, split_images, top1_accuracy
from microtome.instruments.pruning.widths import Widths
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.prose import plural
from microtome.specimen import Specimen
from microtome.specimen.calibration import estimate_statistics, has_statistics


@final
class PruneChannels(Edit):
    """Channels, heads and hidden units removed."""

    title: ClassVar[str] = "Channels pruned"
    lead: ClassVar[str] = "ratio"
    given: ClassVar[Images | None] = None  # images of a call from Python, which no option holds

    ratio: float = option(0.3, "fraction of the channels of each group that is removed", low=0.01, high=0.99)
    criterion: Literal["magnitude", "bn_scale", "taylor"] = option("magnitude", "what makes a channel important")
    iterations: int = option(1, "steps in which the ratio is reached", low=1, high=100)
    heads: bool = option(True, "remove attention heads")
    mlp: bool = option(True, "remove hidden units of the MLPs of networks with attention")
    images: str = option("", "folder of labelled images or scenes:N, for Taylor, statistics of norms, and accuracy")
    kept: str = option("", "record of the kept channels; chosen where empty", recorded=True)

    def refusal(self, specimen: Specimen) -> str:
        if self.kept:
            return ""
        if self.criterion == "taylor" and not (self.images or self.given):
            return "taylor needs labelled images; name them with images=FOLDER, or take criterion=magnitude"
        if not (self.heads or self.mlp) and all_attention_paths(specimen):
            return "it has attention, and with heads=false and mlp=false nothing is left to remove"
        torch_pruning()
        return ""

    def with_choices(self, specimen: Specimen) -> "PruneChannels":
        if self.kept:
            return self
        plan = PruningPlan(self.ratio, self.criterion, self.iterations, self.heads, self.mlp)
        if images := self._images(specimen):
            if self.criterion == "taylor" and images.chosen.targets is None:
                raise Uneditable(
                    f"prune_channels of {specimen.name}: taylor needs the right output of each image. {images.reason}"
                )
            plan = replace(plan, batches=images.chosen.batches, targets=images.chosen.targets)
        try:
            widths = choose_widths(specimen, plan)
        except Uneditable as error:
            raise Uneditable(f"prune_channels of {specimen.name}: {error}.") from error
        return self._with_images(self.given, kept=widths.encode())

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        try:
            widths = Widths.decode(self.kept)
            removed, total, layers = widths.removed_units(net)
            widths.apply(net)
        except (Uneditable, BadOption) as error:
            raise type(error)(f"prune_channels of {specimen.name}: {str(error).rstrip('.')}.") from error
        steps = f", in {self.iterations} steps" if self.iterations > 1 else ""
        return f"removed {removed:,} of {total:,} channels of {plural(layers, 'layer')} by {self.criterion}{steps}"

    def adjust(self, net: nn.Module, specimen: Specimen) -> str:
        attentive = bool(all_attention_paths(specimen))
        asked = self.ratio if attentive else 1 - (1 - self.ratio) ** 2
        after = count_multiply_adds(net, specimen.noise(1))
        reached = 1 - after / max(specimen.multiply_adds, 1)
        fewer, nominal = format_value(reached, FRACTION), format_value(asked, FRACTION)
        text = f", {fewer} fewer multiply-adds ({nominal} if every layer became narrower by {self.ratio:.0%}"
        text += ")" if attentive else " at both ends)"
        text += ", no attention head removed" if self.heads and attentive and not self._cuts_heads() else ""
        images = self._images(specimen)
        if images is None:
            return text + (", without new statistics of its norms, since no images are given" if has_statistics(net) else "")
        if has_statistics(net):
            like = next(net.parameters())
            reached = estimate_statistics(net, (x.to(like.device, like.dtype) for x in images.chosen.batches))
            text += f", estimated the statistics of {plural(reached, 'norm')} on {plural(len(images.chosen), 'image')}"
        if images.reported.targets is not None:
            before, now = (top1_accuracy(specimen, each, images.reported) for each in (specimen.net, net))
            change = f"{format_value(before, FRACTION)} → {format_value(now, FRACTION)}"
            text += f", top-1 accuracy on {plural(len(images.reported), 'other image')} {change}"
        return text

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "what the removed channels computed is missing")

    def _cuts_heads(self) -> bool:
        """Whether a number of heads is among those that the kept channels change."""
        return any("head" in name for values in Widths.decode(self.kept).attributes.values() for name in values)

    def _images(self, specimen: Specimen) -> PruningImages | None:
        images = self.given or (open_images_word(self.images) if self.images else None)
        return split_images(specimen, images) if images is not None else None

    def _with_images(self, images: Images | None, **options: str) -> "PruneChannels":
        """The same edit with these options, and with images that no option holds."""
        edit = replace(self, **options)
        if images is not None:
            object.__setattr__(edit, "given", images)
        return edit


def prune(
    specimen: Specimen,
    images: Images | None = None,
    ratio: float = 0.3,
    criterion: Literal["magnitude", "bn_scale", "taylor"] = "magnitude",
    iterations: int = 1,
    heads: bool = True,
    mlp: bool = True,
) -> Specimen:
    """A narrower copy of the specimen, as `PruneChannels` makes it, with images given as such.

    Raises:
        Uneditable: nothing can be removed, or what is left does not run.
        MissingExtra: Torch-Pruning is not installed.
    """
    edit = PruneChannels(ratio=ratio, criterion=criterion, iterations=iterations, heads=heads, mlp=mlp, images="", kept="")
    return edit._with_images(images).apply(specimen)
