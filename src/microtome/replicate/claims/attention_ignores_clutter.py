"""Attention networks are robust to complex backgrounds, deeper ones less so (H3).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above
from microtome.replicate.zoo_traits import leading_effect


@final
class AttentionIgnoresClutter(Claim):
    """Localisation lost from plain to cluttered scenes."""

    study = "000"
    kind = "small networks"
    hypothesis = "Deeper networks lose more of their localisation lift to clutter than attention networks."
    measure = "Relative loss of the lift from the plain to the cluttered third of the scenes, deeper minus attention networks, in points."
    rule = Above(0.0, "points")
    null = "The same loss."
    confounders = (
        "Clean accuracies differ, so losses are relative. mini_seresnet is a ResNet with gates, which the study counts as "
        "attention."
    )
    prior = "Known on other scenes: not significant on 120 scenes of seed 0 (docs/traits.md)."
    mini = "seven networks of the mini zoo, 160 fresh scenes (seed 6103)"
    full = "the six backbones of the study on objects pasted on backgrounds of rising clutter"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return leading_effect(context, "H3", ["objects"], 160, 6103)
