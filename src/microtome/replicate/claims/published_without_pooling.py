"""Without global average pooling the last layer's bands are gone.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, section on fully connected heads.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows
from microtome.replicate.published_bands import published_directions, ratio_of_means
from microtome.replicate.rules import Below

PAIRS = {
    "Simplified": ("Simplified-fc-only | 5b", "Simplified-Base | 5b"),
    "InceptionV1": ("InceptionV1 - fc-only | Conv2d_0b_5x5", "InceptionV1 - baseline | Conv2d_0b_5x5"),
    "ResNet50": ("ResNet50 - fc-only | conv2d_51", "ResNet50 - baseline | conv2d_51"),
}


@final
class PublishedWithoutPooling(Claim):
    """What remains of the index, against the same network with pooling."""

    study = "004"
    kind = "real weights"
    hypothesis = "Less than half of A remains in each of the three networks that have such pooling."
    measure = "A without over A with pooling, last layer's published maps, in the network where most remains."
    rule = Below(0.5)
    null = "All of A remains: a ratio of 1."
    confounders = (
        "One training for each network and condition; fully connected heads overfit. VGG-19 has no such pooling to remove."
    )
    prior = "Known: A is 0.09 of 0.94, 0.31 of 0.58 and 0.48 of 0.83 by our notes, so that half is missed by two."
    mini = "the article's published maps; bootstrap over filters of both networks"
    full = "the three networks trained again on ImageNet, three seeds"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = published_directions(context)
        ratios = {name: ratio_of_means(directions[without], directions[with_]) for name, (without, with_) in PAIRS.items()}
        value, low, high = max(ratios.values())
        rows = number_rows({name: ratio[0] for name, ratio in ratios.items()})
        return Effect(value, low, high, "95% over filters, percentile bootstrap", rows)
