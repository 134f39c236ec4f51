"""A small shift changes the first layer's features far more than the top layer's.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 3.2 and figure 5.
"""

from typing import final

import numpy as np
import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import photographs, trained_network
from microtome.replicate.rules import Above
from microtome.specimen.watching import watch

SHIFT, FIRST, TOP = 16, "conv1", "inception5b"


@final
class InvarianceWithDepth(Claim):
    """Distance moved by a translation, early against late."""

    study = "002"
    kind = "real weights"
    hypothesis = "In units of the distance between two photographs, the first layer moves further than the top one."
    measure = (
        "‖f(x) − f(Tx)‖ over the mean distance between photographs, first minus last layer, mean over photographs, T a shift "
        "of 16 px."
    )
    rule = Above(0.0)
    null = "Both layers move by the same fraction of the distance between photographs."
    confounders = (
        "The first map has finer positions, and whatever keeps its place in it counts as moved. ZF compare raw features too."
    )
    prior = "Expected: shown in the paper for another network; not measured by us on this one."
    mini = "BVLC GoogLeNet on 40 ImageNet photographs, border of zeros (the mean colour); interval over photographs"
    full = "ZFNet and ResNet-50 on 1,000 validation images, shifts of 1 to 60 px"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "googlenet_bvlc"), photographs(context, "imagenet200", 40)
        x = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe)))
        shifted = torch.nn.functional.pad(x, (0, 0, SHIFT, 0))[:, :, :-SHIFT]
        moved: dict[str, np.ndarray] = {}
        for name in (FIRST, TOP):
            pair: list[torch.Tensor] = []
            for batch in (x, shifted):
                with watch(specimen, [name]) as seen:
                    specimen.run(batch)
                pair.append(seen[name].flatten(1).double())
            between = torch.pdist(pair[0]).mean()
            moved[name] = ((pair[0] - pair[1]).norm(dim=1) / between).numpy()
        rows = number_rows({name: float(values.mean()) for name, values in moved.items()})
        return mean_effect(moved[FIRST] - moved[TOP], "photograph", rows)
