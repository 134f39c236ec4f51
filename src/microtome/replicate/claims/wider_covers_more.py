"""Deeper networks focus on the principal part of an object, wider ones take in more of the image (H1).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3 and figure 3.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above
from microtome.replicate.zoo_traits import leading_effect


@final
class WiderCoversMore(Claim):
    """Area of half of Grad-CAM's energy."""

    study = "000"
    kind = "small networks"
    hypothesis = "Half of the evidence covers more of the image in wider networks than in deeper ones."
    measure = (
        "Area of half of Grad-CAM's energy at a common grid, wider minus deeper networks, in points, images that all classify "
        "rightly."
    )
    rule = Above(0.0, "points")
    null = "The same area."
    confounders = "Grids of maps differ, so all are resampled to a common one; two or three networks are no family."
    prior = "Known on other scenes: supported with 1.9 points on 120 scenes of seed 0 (docs/traits.md)."
    mini = "seven networks of the mini zoo, 160 fresh scenes (seed 6101)"
    full = "the six backbones of the study on ImageNet validation images with boxes"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return leading_effect(context, "H1", ["objects"], 160, 6101)
