"""AlexNet, which has no global average pooling, is not banded.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, figure 2.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect
from microtome.replicate.published_bands import published_directions
from microtome.replicate.rules import Within


@final
class PublishedAlexnet(Claim):
    """Banding index of AlexNet's last convolution."""

    study = "004"
    kind = "real weights"
    hypothesis = "A lies between -0.25 and 0.25."
    measure = "A of the published maps of conv5, mean over filters."
    rule = Within(-0.25, 0.25)
    null = "A is as large as in the banded networks, 0.5 and more."
    confounders = "VGG-19 has no global average pooling either, and is banded."
    prior = "Known: 0.28 by our notes, a weak tendency."
    mini = "the article's published maps of 256 filters; interval over filters"
    full = "AlexNet trained again on ImageNet, three seeds"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return mean_effect(published_directions(context)["AlexNet - modelzoo | conv5"], "filter")
