"""With pooling along rows only, the bands leave the last layer and stay in the one before.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, section on x-pooling.
"""

from typing import final

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import difference_effect, number_rows
from microtome.replicate.published_bands import published_directions
from microtome.replicate.rules import Above


@final
class PublishedRowPooling(Claim):
    """Layer 5a against layer 5b of the simplified network."""

    study = "004"
    kind = "real weights"
    hypothesis = "A is larger by more than 0.25 in layer 5a than in layer 5b."
    measure = "A of layer 5a minus A of layer 5b, published maps of the run with pooling along x."
    rule = Above(0.25)
    null = "Both layers have the same A."
    confounders = "One training."
    prior = "Known in part: 5b has 0.34 by our notes; the article shows 5a as banded as the baseline's 5b."
    mini = "the article's published maps of 512 and 512 filters; Welch's interval over filters"
    full = "the simplified network trained again on ImageNet, three seeds"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = published_directions(context)
        first, last = (directions[f"Simplified-x-avgpool | {layer}"] for layer in ("5a", "5b"))
        return difference_effect(first, last, "filter", number_rows({"5a": float(first.mean()), "5b": float(last.mean())}))
