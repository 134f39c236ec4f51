"""Units of deep layers respond to one kind of object, those of the first layers to parts that many classes share.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 3 and figure 2 (the nine strongest activations of each map).
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import difference_effect, number_rows
from microtome.replicate.material import labels_of, layer_values, photographs, trained_network
from microtome.replicate.rules import Above

FIRST, LAST, TOP = "layer1.0", "layer3.8", 9


@final
class UnitsOneClass(Claim):
    """Growing specificity of the strongest images."""

    study = "002"
    kind = "real weights"
    hypothesis = "Of the nine images that excite a unit most, more are of one class in the last block than in the first."
    measure = "Fraction of the commonest class among a unit's nine strongest images, mean over units of the last block minus the first."
    rule = Above(0.1, "fraction")
    null = "The fraction is the same at both depths."
    confounders = "The network has learnt exactly these classes; the largest value over positions is taken, one for each image."
    prior = "Not known for this network. A tenth is our threshold."
    mini = "ResNet-56 trained on CIFAR-10 by others, 2,000 test images; Welch's interval over units"
    full = "ResNet-50 on the 50,000 ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 2000)
        labels = labels_of(images)
        peaks = layer_values(specimen, images, [FIRST, LAST], lambda value: value.flatten(2).amax(2))
        purity = {
            name: np.array([np.bincount(labels[unit.argsort()[-TOP:]]).max() / TOP for unit in values.numpy().T])
            for name, values in peaks.items()
        }
        rows = number_rows({name: float(values.mean()) for name, values in purity.items()}, "fraction")
        return difference_effect(purity[LAST], purity[FIRST], "unit", rows)
