"""Wider networks cannot be made smaller by dropping a layer (H8).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3 and 4.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import photograph_labels, photographs, trained_network
from microtome.replicate.removal_losses import removable, removal_losses
from microtome.replicate.rules import Above


@final
class WiderNotRemovable(Claim):
    """Accuracy lost without repair, an Inception network."""

    study = "000"
    kind = "real weights"
    hypothesis = "Removing the last block but one of those that keep their shape costs more than one point of top-1 accuracy."
    measure = "Accuracy lost, paired by photograph."
    rule = Above(0.01, "fraction")
    null = "The block can go: at most a point is lost."
    confounders = (
        "That deeper networks lose more than a point too would make this no property of wider ones. Almost surely training "
        "images."
    )
    prior = "Not measured on this network."
    mini = "BVLC GoogLeNet on 200 ImageNet photographs; interval over photographs"
    full = "Inception-v3 and HRNet-W18 of timm on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "googlenet_bvlc"), photographs(context, "imagenet200", 200)
        names = removable(specimen)[-2:]
        losses = removal_losses(specimen, images, names, photograph_labels(context, specimen, images))
        rows = number_rows({name: float(values.mean()) for name, values in losses.items()}, "fraction")
        return mean_effect(losses[names[0]], "photograph", rows)
