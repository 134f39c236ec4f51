"""Each unit's map weighted by the score of the image seen through it.

The map of a unit, enlarged to the image and stretched to 0..1, multiplies the normalised image (black stands for the mean colour); the
weights are the softmax over units of the scores. A constant map shows no place and lets nothing through. The image
itself is changed, so that the whole network runs once for each unit.

Source: Wang et al. 2020, arXiv:1910.01279, alg. 1 (maps are enlarged at the true centres of their positions; with --place even as
published).
"""

from typing import ClassVar, final

import torch
from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapKind, MapNeeds, weighted_sum
from microtome.numerics.receptive.geometry import Where, interpolate


@final
class ScoreCam(MapKind):
    """Score-CAM."""

    title = "Score-CAM"
    needs: ClassVar[MapNeeds] = "passes"

    def maps(self, values: LayerValues) -> list[Tensor]:
        assert values.reruns is not None and values.where is not None  # a kind that needs passes gets them
        activation, where = values.activation, values.where

        def masked(x: Tensor, units: range) -> Tensor:
            masks = [unit_masks(activation[:, unit], where, (int(x.shape[2]), int(x.shape[3]))) for unit in units]
            return torch.stack(masks)[:, :, None].to(x) * x

        scores = values.reruns.with_images(int(activation.shape[1]), masked)  # (target, unit, image)
        return [weighted_sum(activation, weights.T.to(activation)) for weights in scores.double().softmax(1)]


def unit_masks(maps: Tensor, where: Where, size: tuple[int, int]) -> Tensor:
    """The maps (image, row, col) enlarged to `size` px, each stretched to 0..1; zero where a map is constant."""
    fine = interpolate(maps, where, size, size)
    low, high = fine.amin((1, 2), keepdim=True), fine.amax((1, 2), keepdim=True)
    flat = maps.flatten(1).amax(1) == maps.flatten(1).amin(1)
    return ((fine - low) / (high - low).where(high > low, 1.0)).where(~flat[:, None, None], 0.0)
