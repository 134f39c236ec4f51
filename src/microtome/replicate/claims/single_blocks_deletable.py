"""Deleting a single block of a residual network hardly costs accuracy, whichever it is.

Source: Veit et al. 2016, arXiv:1605.06431, sec. 4.1; the test of study 000's advice that our notes call decisive.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import photographs, trained_network
from microtome.replicate.removal_losses import removable, removal_losses
from microtome.replicate.rules import Below


@final
class SingleBlocksDeletable(Claim):
    """Mean loss over all blocks that can be removed one at a time."""

    study = "000"
    kind = "real weights"
    hypothesis = "A removed block costs less than two points of top-1 accuracy on average."
    measure = "Accuracy lost by removing one block, mean over the blocks that keep their shape, paired by image."
    rule = Below(0.02, "fraction")
    null = "Every block is needed, as in a plain network: accuracy falls to chance."
    confounders = (
        "Deep residual networks have many blocks, each of little weight. Two points are our reading of 'no noticeable effect'."
    )
    prior = "Expected for 54 layers; published for a ResNet-110."
    mini = "ResNet-56 trained on CIFAR-10 by others, 500 test images; interval over images"
    full = "ResNet-110 on CIFAR-10 and ResNet-200 on ImageNet"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 500)
        losses = removal_losses(specimen, images, removable(specimen))
        mean = {name: float(values.mean()) for name, values in losses.items()}
        worst, best = max(mean, key=lambda name: mean[name]), min(mean, key=lambda name: mean[name])
        rows = number_rows({f"most, {worst}": mean[worst], f"least, {best}": mean[best]}, "fraction")
        return mean_effect(np.mean(list(losses.values()), axis=0), "image", rows)
