"""Near the end of the network most squeeze-and-excitation gates are close to 1, so that the block hardly acts.

Source: Hu et al. 2018, arXiv:1709.01507v4, sec. 7.2 (SE_5_2 tends to a saturated state).
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import jackknife_effect, number_rows
from microtome.replicate.gate_values import gate_values
from microtome.replicate.rules import Above


@final
class SeGatesSaturate(Claim):
    """Saturation of late gates, by which the authors explain that they can be removed."""

    study = "001"
    kind = "real weights"
    hypothesis = "Of the gates of the last but one gated block more than half are above 0.9."
    measure = (
        "Fraction of gates above 0.9 in the last but one gated block, over images and units; grouped jackknife over images."
    )
    rule = Above(0.5, "fraction")
    null = "Few gates are open: a fraction of one half or less."
    confounders = "A hard sigmoid reaches 1 where a sigmoid only comes near, which helps the claim."
    prior = "Not known for this network. One half and 0.9 are our reading of 'most activations close to one'."
    mini = "MobileNetV3-Small with nine gates, trained on CIFAR-10 by others, on 300 test images"
    full = "SE-ResNet-50 on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        gates, labels = gate_values(context, 300)
        rows = number_rows({f"gate {place}": float((block > 0.9).mean()) for place, block in enumerate(gates, 1)}, "fraction")
        last = gates[-2] > 0.9
        return jackknife_effect(lambda places: float(np.mean(last[places])), len(labels), "image", rows)
