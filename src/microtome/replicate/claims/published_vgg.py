"""VGG-19 is the exception: its bands stay when the pooling before its head is removed.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, section on fully connected heads.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.published_bands import published_directions, ratio_of_means
from microtome.replicate.rules import Within


@final
class PublishedVgg(Claim):
    """What remains of VGG-19's index without its last max pooling."""

    study = "004"
    kind = "real weights"
    hypothesis = "Between 85% and 115% of A remains."
    measure = "A without over A with the last pooling, published maps of conv5_4."
    rule = Within(0.85, 1.15)
    null = "A falls as in networks with global average pooling."
    confounders = "VGG-19 has no global average pooling: its last max pooling was removed. A draft mentions a suspected bug."
    prior = "Known: 0.70 of 0.71 by our notes."
    mini = "the article's published maps of 512 filters; bootstrap over filters of both networks"
    full = "VGG-19 trained again on ImageNet, three seeds"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = published_directions(context)
        value, low, high = ratio_of_means(directions["VGG19 - fc-only | conv5_4"], directions["VGG19 - baseline | conv5_4"])
        return Effect(value, low, high, "95% over filters, percentile bootstrap")
