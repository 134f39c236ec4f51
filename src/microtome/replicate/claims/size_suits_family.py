"""Deeper networks suit small objects and wider ones large objects (H2).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3 and 4.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above
from microtome.replicate.zoo_traits import leading_effect


@final
class SizeSuitsFamily(Claim):
    """Slope of the localisation lift over the object's size."""

    study = "000"
    kind = "small networks"
    hypothesis = (
        "The lift of Grad-CAM's energy on the object rises more with the object's size in wider than in deeper networks."
    )
    measure = "Slope of the lift per doubling of the object's area, wider minus deeper networks, in points."
    rule = Above(0.0, "points per doubling")
    null = "The same slope."
    confounders = "Plain energy rises with the area by itself; the lift takes the area away."
    prior = "Known on other scenes: not significant on 120 scenes of seed 0 (docs/traits.md)."
    mini = "seven networks of the mini zoo, 160 fresh scenes (seed 6102)"
    full = "the six backbones of the study on ImageNet validation images with boxes"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return leading_effect(context, "H2", ["objects"], 160, 6102)
