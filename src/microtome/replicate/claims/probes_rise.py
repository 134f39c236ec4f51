"""The deeper the layer, the better a linear classifier on its features.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 5.3 and table 7.
"""

from typing import final

import numpy as np

from microtome.numerics.probes.ridge import ridge_probe
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import correlation_effect, number_rows
from microtome.replicate.material import labels_of, layer_values, mean_over_positions, photographs, trained_network
from microtome.replicate.rules import Above


@final
class ProbesRise(Claim):
    """Discriminative power by depth."""

    study = "002"
    kind = "real weights"
    hypothesis = "Probe accuracy rises with depth over all blocks."
    measure = "Spearman's correlation of the block's place and the accuracy of a five-fold ridge probe on its pooled features."
    rule = Above(0.5)
    null = "No trend with depth."
    confounders = (
        "Later blocks have more units (16, 32, 64), which helps a probe; ZF's probes too had layers of different width."
    )
    prior = "Common knowledge for trained networks; not measured by us on this one."
    mini = "27 blocks of a ResNet-56 trained on CIFAR-10 by others, 1,000 test images; Fisher's interval over blocks"
    full = "the blocks of a ResNet-50 on Caltech-101, 30 images of each class"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 1000)
        blocks = [block.exit for block in specimen.blocks]
        features = layer_values(specimen, images, blocks, mean_over_positions)
        labels = labels_of(images)
        accuracy = [float(ridge_probe(features[name].double().numpy(), labels).correct.mean()) for name in blocks]
        rows = number_rows({name: accuracy[place] for place, name in enumerate(blocks) if place % 9 in (0, 8)}, "fraction")
        return correlation_effect(np.arange(len(blocks)), np.array(accuracy), "block", rows)
