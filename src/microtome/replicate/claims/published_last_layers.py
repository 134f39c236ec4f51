"""The last layer with spatial kernels of common ImageNet networks has horizontal bands.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, figures 2 and 3 (weights of model zoos).
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.published_bands import published_directions
from microtome.replicate.rules import Above

LAYERS = ("InceptionV1 - modelzoo | mixed5b_5x5_w", "ResNet50 - modelzoo | conv2", "VGG19 - modelzoo | conv5_3")


@final
class PublishedLastLayers(Claim):
    """Banding index of the published maps."""

    study = "004"
    kind = "real weights"
    hypothesis = "In InceptionV1, ResNet-50 and VGG-19 the index A is above 0.5, well beyond that of unstructured kernels, 0."
    measure = "A, the mean over filters of row minus column energy of the three NMF maps, in the network where it is smallest."
    rule = Above(0.5)
    null = "A = 0: stripes of no common direction, or none."
    confounders = "NMF maps show structure more strongly than the weights; bytes of images, not weights, are measured."
    prior = "Known: 0.92, 0.78 and 0.83 by our notes, and the index was designed on these layers."
    mini = "the article's published maps of 128, 512 and 512 filters; interval over filters"
    full = "the last spatial convolution of 30 torchvision networks, raw weights"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = published_directions(context)
        least = min(LAYERS, key=lambda name: float(np.mean(directions[name])))
        rows = number_rows({name: float(directions[name].mean()) for name in LAYERS})
        return mean_effect(directions[least], "filter", rows)
