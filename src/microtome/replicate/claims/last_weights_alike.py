"""The weights of the last three layers of deeper networks are distributed almost alike (H5).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3, figures 5 and 6.
"""

from typing import final

import numpy as np

from microtome.analyses.weights.weights import Weights
from microtome.analysis import build_analysis
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows, twin_effect
from microtome.replicate.material import trained_network
from microtome.replicate.rules import Below


@final
class LastWeightsAlike(Claim):
    """Distance between weight distributions against untrained twins."""

    study = "000"
    kind = "real weights"
    hypothesis = (
        "Training makes them more alike than random weights of the same layers are: a distance below that of untrained twins."
    )
    measure = (
        "Logarithm of the median W1/σ between neighbours of like role in the last three blocks, minus the mean of five "
        "untrained twins'."
    )
    rule = Below(0.0, "nats")
    null = "They are as alike as random weights, which already look equal: a difference of 0."
    confounders = "Layers of one shape start with the same distribution; the study shows histograms without that comparison."
    prior = (
        "Known for the mini zoo (docs/traits.md): weights of trained networks differ more than their twins'. Not measured on "
        "this network."
    )
    mini = "ResNet-56 trained on CIFAR-10 by others; interval of one more draw over twins"
    full = "VGG-19, ResNet-50, SE-ResNet-50 and DeiT-S of timm"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        finding = build_analysis(Weights, {})(trained_network(context, "cifar10_resnet56"))
        own = np.asarray(finding["w1_over_sigma"].values, dtype=np.float64)
        twins = np.asarray(finding["each_twin_w1_over_sigma"].values, dtype=np.float64)
        known = np.isfinite(own)
        value, drawn = float(np.median(own[known])), np.median(twins[:, known], axis=1)
        rows = number_rows({"W1/σ": value, "untrained twins": float(drawn.mean())})
        return twin_effect(float(np.log(value)), 0.0, np.inf, np.log(drawn), "no images", rows)
