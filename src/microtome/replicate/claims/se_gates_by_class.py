"""Squeeze-and-excitation gates are alike for all classes early in the network, and specific to the class late.

Source: Hu et al. 2018, arXiv:1709.01507v4, sec. 7.2 and figure 6.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import jackknife_effect, number_rows
from microtome.replicate.gate_values import Values, class_fraction, gate_values
from microtome.replicate.rules import Above


@final
class SeGatesByClass(Claim):
    """Role of excitation at different depths."""

    study = "001"
    kind = "real weights"
    hypothesis = (
        "The class explains more of the gates' variance over images in the last third of the gated blocks than in the first."
    )
    measure = (
        "ε² (variance explained by the class beyond chance), mean of the last three gated blocks minus that of the first three."
    )
    rule = Above(0.0, "fraction")
    null = "The class explains as much early as late: a difference of 0."
    confounders = "Gates of blocks differ in number and in how much they vary; ε² is relative to each block's own variance."
    prior = "Not known for this network."
    mini = "MobileNetV3-Small with nine gates, trained on CIFAR-10 by others, on 300 test images; grouped jackknife over images"
    full = "SE-ResNet-50, 50 ImageNet validation images of each of 4 classes, and of all classes"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        gates, labels = gate_values(context, 300)

        def explained(places: Values) -> list[float]:
            return [class_fraction(block[places], labels[places]) for block in gates]

        rows = number_rows(
            {f"gate {place}": value for place, value in enumerate(explained(np.arange(len(labels))), 1)}, "fraction"
        )
        return jackknife_effect(
            lambda places: float(np.mean(explained(places)[-3:]) - np.mean(explained(places)[:3])), len(labels), "image", rows
        )
