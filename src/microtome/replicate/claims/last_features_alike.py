"""The features of the last three layers of deeper networks are almost alike (H6).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3, figures 5 and 6.
"""

from typing import final

import numpy as np

from microtome.analyses.similarity import Similarity
from microtome.analysis import build_analysis
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows, twin_effect
from microtome.replicate.material import photographs, trained_network
from microtome.replicate.rules import Above


@final
class LastFeaturesAlike(Claim):
    """CKA between neighbours at the end, against untrained twins."""

    study = "000"
    kind = "real weights"
    hypothesis = "Neighbours among the last three blocks are more similar than in untrained twins."
    measure = "Mean debiased CKA between neighbours of the last three blocks, minus the mean of five untrained twins'."
    rule = Above(0.0)
    null = "They are as similar as in untrained twins, where residual blocks hardly change anything."
    confounders = (
        "The stream of a residual network is passed on, whatever the blocks do; CKA follows its few largest directions."
    )
    prior = "Known for the mini zoo (docs/traits.md): mostly less similar than twins. Not measured on this network."
    mini = "ResNet-56 trained on CIFAR-10 by others, 200 test images; interval over images and one more draw of twins"
    full = "VGG-19, ResNet-50, SE-ResNet-50 and DeiT-S of timm on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        images = photographs(context, "cifar10_test", 200)
        finding = build_analysis(Similarity, {})(trained_network(context, "cifar10_resnet56"), images)
        own = float(finding["step"].values[-2:].mean())
        error = float(np.diagonal(finding["cka_error"].values, 1)[-2:].mean())
        twins = np.asarray(finding["each_twin_step"].values, dtype=np.float64)[:, -2:].mean(axis=1)
        rows = number_rows({"CKA": own, "untrained twins": float(twins.mean())})
        return twin_effect(own, error, float(finding["count"][0]) - 1, twins, f"{len(images)} images", rows)
