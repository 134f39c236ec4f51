"""Ends a network at an inner layer, as feature extractor or smaller classifier.

`cut:layer3` gives the maps of layer3 as (image, channel, row, column), whatever their layout inside; several layers, `cut:layer2,layer3`,
give a list of maps as timm's `features_only` does, and `feature_info` of the module names their channels and strides. Everything after
the last of them is removed. The line says stride, channels and receptive field of each. With `head=N` the network answers instead with
N scores of a new linear layer on the mean over positions of the last map; that layer is untrained.

What the layers up to the cut give is the same to the bit. The output is another one, so the function is not preserved.

Source: names after timm's `features_only`; the cut at any layer by stopping the forward pass is ours.
"""

from math import inf
from typing import ClassVar, final

from torch import nn

from microtome.edit import Edit, Preservation, option
from microtome.errors import MicrotomeError
from microtome.instruments.feature_cut import CutInfo, cut_at
from microtome.instruments.receptive_fields import receptive_fields
from microtome.key_numbers import format_value
from microtome.numerics.receptive.field import Field
from microtome.specimen import Layer, Specimen
from microtome.specimen.tracing import example_input


@final
class Cut(Edit):
    """Network ended at a layer."""

    title: ClassVar[str] = "Cut at a layer"
    lead: ClassVar[str] = "at"

    at: tuple[str, ...] = option((), "layers whose maps are given: names, globs or aliases; the network ends at the last")
    head: int = option(0, "outputs of a new linear head on the last map; 0: the maps themselves", low=0, high=1_000_000)

    def refusal(self, specimen: Specimen) -> str:
        if not self.at:
            stages = ", ".join(specimen.aliases.get("stages", ())[:4])
            return f"no layer is named; write cut:LAYER{', for example one of ' + stages if stages else ''}"
        try:
            layers = self._layers(specimen)
        except MicrotomeError as error:
            return str(error).rstrip(".")
        for layer in layers:
            if not self.head and (layer.layout == "other" or (layer.layout == "tokens" and layer.grid is None)):
                return f"{layer.name} gives {layer.shape}, in which rows and columns cannot be identified"
            if layer.layout == "other":
                return f"{layer.name} gives {layer.shape}, of which no mean over positions can be taken"
        return ""

    def with_choices(self, specimen: Specimen) -> "Cut":
        return Cut(at=tuple(layer.name for layer in self._layers(specimen)), head=self.head)

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        layers = self._layers(specimen)
        info = cut_info(specimen, layers)
        cut_at(net, layers, info, example_input(net, specimen.recipe), self.head)
        maps_text = "; ".join(_map_text(info, place) for place in range(len(layers)))
        return f"ended the network at {layers[-1].name}{f', with a new head of {self.head} outputs' if self.head else ''} ({maps_text})"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "the output is another one; all layers up to the cut give what they gave")

    def _layers(self, specimen: Specimen) -> list[Layer]:
        """The chosen layers in execution order; of those that give the very same tensor only the outermost."""
        return [specimen.layer(name) for name in specimen.distinct(self.at)]


def cut_info(specimen: Specimen, layers: list[Layer]) -> CutInfo:
    """Channels, strides and receptive fields of these layers."""
    try:
        fields = receptive_fields(specimen, [layer.name for layer in layers])
    except MicrotomeError:
        fields: dict[str, Field] = {}
    sides = specimen.recipe.size
    strides = tuple(max(side / step for side, step in zip(sides, layer.grid or (1, 1), strict=True)) for layer in layers)
    sizes = tuple(max(fields[layer.name].size) if layer.name in fields else inf for layer in layers)
    return CutInfo(tuple(layer.name for layer in layers), tuple(layer.units for layer in layers), strides, sizes)


def _map_text(info: CutInfo, place: int) -> str:
    field = "the whole image" if info.fields[place] == inf else f"{format_value(info.fields[place])} px"
    stride = format_value(info.strides[place])
    return f"{info.names[place]}: {info.widths[place]} channels, stride {stride} px, receptive field {field}"
