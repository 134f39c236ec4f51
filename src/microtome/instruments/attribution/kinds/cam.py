"""Each unit's map weighted by the class's own weight in the linear head.

It applies to the layer whose mean over positions goes into a linear head, and to no other: there the mean of the map is the class score
without its bias. Grad-CAM at that layer is the same map divided by the number of positions.

Source: Zhou et al. 2016, arXiv:1512.04150, eq. 2.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapKind, MapNeeds, weighted_sum
from microtome.specimen import Specimen, watch

TOLERANCE = 1e-4  # of the mean over positions, as a fraction of what goes into the head


@final
class ClassActivationMap(MapKind):
    """CAM."""

    title = "CAM"
    needs: ClassVar[MapNeeds] = "head"
    for_embeddings = False

    def maps(self, values: LayerValues) -> list[Tensor]:
        return [weighted_sum(values.activation, weights) for weights in values.head_weights]

    def refusals(self, specimen: Specimen, names: Sequence[str], x: Tensor) -> dict[str, str]:
        if specimen.head is None:
            return dict.fromkeys(names, "the network has no linear head that gives class scores, whose weights CAM takes")
        head = specimen.layer(specimen.head)
        kept: dict[str, Tensor] = {}
        others = [layer.name for layer in specimen.layers if layer.has_positions and layer.name not in specimen.aliases]
        watched = [*others, f"<{head.name}", head.name]
        means: dict[str, Tensor] = {}

        def look(name: str, value: Tensor) -> None:
            if name in others:
                means[name] = specimen.layer(name).maps(value).mean((2, 3))
            else:
                kept[name] = value.detach().clone()

        with torch.no_grad(), watch(specimen, watched, each=look):
            scores = specimen.logits(x)
        if not _equal(kept[head.name].flatten(1), scores):
            return dict.fromkeys(names, f"the class scores are not what {head.name} gives, whose weights CAM takes")
        into = kept[f"<{head.name}"].flatten(1)
        fitting = [name for name in others if _equal(means[name], into)]
        advice = f": take {fitting[-1]} instead" if fitting else ", and no layer's is"
        reason = f"its mean over positions is not what goes into the head {head.name}{advice}"
        return {name: reason for name in names if name not in fitting}


def _equal(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return bool((first - second).abs().max() <= TOLERANCE * second.abs().max())
