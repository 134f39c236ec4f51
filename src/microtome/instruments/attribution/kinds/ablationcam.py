"""Each unit's map weighted by how far the score falls without that unit.

The weight is S - S_k with S_k the class score when the map of unit k is set to zero. The paper divides it by S, which only scales the
map of an image, but turns it over where the score is negative, so it is left out. Class and register tokens keep their values. The
part of the network after the layer is run once for each unit.

Source: Ramaswamy & Desai 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
WACV 2020.
"""

from typing import ClassVar, final

import torch
from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapKind, MapNeeds, weighted_sum


@final
class AblationCam(MapKind):
    """Ablation-CAM."""

    title = "Ablation-CAM"
    needs: ClassVar[MapNeeds] = "passes"

    def maps(self, values: LayerValues) -> list[Tensor]:
        assert values.reruns is not None  # a kind that needs passes gets them
        units = int(values.activation.shape[1])
        without = values.reruns.with_values(units, _without_units)  # (target, unit, image)
        drops = values.reruns.clean[:, None] - without
        return [weighted_sum(values.activation, drop.T.to(values.activation)) for drop in drops]


def _without_units(maps: Tensor, units: range) -> Tensor:
    """The maps once for each of these units (variant, image, unit, row, col), with that one set to zero."""
    variants = maps.expand(len(units), *maps.shape).clone()
    variants[torch.arange(len(units)), :, torch.arange(units.start, units.stop)] = 0.0
    return variants
