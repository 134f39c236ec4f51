"""Blocks whose weights are distributed like their predecessor's are the ones that can be dropped.

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3 (the inference behind H7).
"""

from typing import final

import numpy as np

from microtome.instruments.block_changes import neighbour_weight_distances
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import correlation_effect
from microtome.replicate.material import photographs, trained_network
from microtome.replicate.removal_losses import removable, removal_losses
from microtome.replicate.rules import Above


@final
class LikeHistogramsRemovable(Claim):
    """Distance of weight distributions as a forecast of what removal costs."""

    study = "000"
    kind = "real weights"
    hypothesis = "Blocks further from their predecessor in W1/σ cost more accuracy when they are removed."
    measure = "Spearman's correlation over blocks between W1/σ to the block before and the accuracy lost without the block."
    rule = Above(0.0)
    null = "No correlation: histograms do not tell what a block is for."
    confounders = "Losses of single blocks are small and known to about a point on 1,000 images, which weakens any correlation."
    prior = "Known for the mini zoo: docs/slim.md calls weight distance a poor guide. Not measured on this network."
    mini = "ResNet-56 trained on CIFAR-10 by others, 1,000 test images; Fisher's interval over blocks"
    full = "ResNet-50 and ResNet-101 of timm on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 1000)
        blocks = list(specimen.blocks)
        distances = dict(zip([block.name for block in blocks], neighbour_weight_distances(specimen, blocks), strict=True))
        names = [name for name in removable(specimen) if np.isfinite(distances[name])]
        losses = removal_losses(specimen, images, names)
        lost = np.array([losses[name].mean() for name in names])
        return correlation_effect(np.array([distances[name] for name in names]), lost, "block")
