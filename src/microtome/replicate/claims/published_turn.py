"""Networks trained on images turned by 90° have vertical bands: the cause lies in the data's up and down.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, section on rotating images.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.published_bands import published_directions
from microtome.replicate.rules import Below

NETWORKS = ("Simplified", "InceptionV1", "ResNet50", "VGG19")


@final
class PublishedTurn(Claim):
    """The sign of the index after training on turned images."""

    study = "004"
    kind = "real weights"
    hypothesis = "In all four networks A is below -0.5 after training on turned images."
    measure = "A of the last layer's published maps in the network where it is nearest to zero, images turned by 90°."
    rule = Below(-0.5)
    null = "A keeps its sign: the bands come from the architecture."
    confounders = "One training for each network and condition."
    prior = "Known: -0.94, -0.56, -0.82 and -0.74 by our notes."
    mini = "the article's published maps; interval over filters"
    full = "the four networks trained again on ImageNet, three seeds"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = published_directions(context)
        turned = {name: values for name, values in directions.items() if "90deg" in name}
        weakest = max(turned, key=lambda name: float(np.mean(turned[name])))
        rows = number_rows(
            {name: float(values.mean()) for name, values in directions.items() if "90deg" in name or "ase" in name}
        )
        return mean_effect(turned[weakest], "filter", rows)
