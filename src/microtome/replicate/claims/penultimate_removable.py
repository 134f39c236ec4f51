"""The penultimate block of deeper and attention networks can be dropped to slim them (H7).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import photographs, trained_network
from microtome.replicate.removal_losses import removable, removal_losses
from microtome.replicate.rules import Below

NETWORKS = ("cifar10_resnet20", "cifar10_resnet56", "cifar10_vit64", "cifar10_vit128_postnorm")


@final
class PenultimateRemovable(Claim):
    """Accuracy lost without repair."""

    study = "000"
    kind = "real weights"
    hypothesis = "Removing the last block but one costs less than one point of top-1 accuracy, without training on."
    measure = "Accuracy lost, mean over two ResNets and two vision transformers, paired by image."
    rule = Below(0.01, "fraction")
    null = "Each block is needed: several points are lost."
    confounders = (
        "The study does not say whether it trains on afterwards; CIFAR networks are smaller than its six. Blocks stand for "
        "layers."
    )
    prior = "Known in part: the mini zoo loses far more than a point (docs/slim.md); not measured on these four."
    mini = "four networks trained on CIFAR-10 by others, 1,000 test images; interval over images"
    full = "VGG-19, ResNet-50, SE-ResNet-50 and DeiT-S of timm on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        images, losses = photographs(context, "cifar10_test", 1000), dict[str, np.ndarray]()
        for network in NETWORKS:
            specimen = trained_network(context, network)
            name = removable(specimen)[-2]
            losses[f"{network}, {name}"] = removal_losses(specimen, images, [name])[name]
        rows = number_rows({name: float(values.mean()) for name, values in losses.items()}, "fraction")
        return mean_effect(np.mean(list(losses.values()), axis=0), "image", rows)
