"""The output is stable to translation, and not to rotation.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 3.2 and figure 5.
"""

from typing import final

import numpy as np
import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import inputs_of, photographs, scores_of, trained_network
from microtome.replicate.rules import Above

SHIFT = 30


@final
class RotationNotInvariant(Claim):
    """Probability lost to a quarter turn against a shift."""

    study = "002"
    kind = "real weights"
    hypothesis = (
        "The probability of the class that is predicted for the upright photograph falls more by a turn of 90° than by a "
        "shift of 30 px."
    )
    measure = "Probability lost to the turn minus that lost to the shift, mean over photographs."
    rule = Above(0.1, "fraction")
    null = "Both lose the same."
    confounders = (
        "A shift takes an eighth of the photograph out of view, a quarter turn nothing. Round objects look the same turned."
    )
    prior = "Expected; not measured by us on this network. A tenth is our threshold."
    mini = "BVLC GoogLeNet on 100 ImageNet photographs; interval over photographs"
    full = "ZFNet and ResNet-50 on 1,000 validation images, all angles and shifts"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "googlenet_bvlc"), photographs(context, "imagenet200", 100)

        def shift(x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(x, (0, 0, SHIFT, 0))[:, :, :-SHIFT]

        def turn(x: torch.Tensor) -> torch.Tensor:
            return x.rot90(1, (2, 3))

        upright, shifted, turned = (
            scores_of(specimen, inputs_of(specimen, images), change).softmax(1) for change in (None, shift, turn)
        )
        chosen = upright.argmax(1, keepdim=True)
        kept = {
            name: part.gather(1, chosen)[:, 0].double().numpy()
            for name, part in (("upright", upright), ("shifted", shifted), ("turned", turned))
        }
        rows = number_rows({name: float(np.mean(values)) for name, values in kept.items()}, "fraction")
        return mean_effect(kept["shifted"] - kept["turned"], "photograph", rows)
