"""Deleting a single layer of a plain network such as VGG brings it down to chance.

Source: Veit et al. 2016, arXiv:1605.06431, sec. 4.1 and figure 3.
"""

from typing import final

import numpy as np

from microtome.images import Images
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import right_answers, small_network
from microtome.replicate.removal_losses import removable, removal_losses
from microtome.replicate.rules import Below


@final
class PlainLayersNeeded(Claim):
    """Accuracy that is left without one layer, mean over layers."""

    study = "000"
    kind = "small networks"
    hypothesis = "Less than 20% accuracy is left on average, where chance is 10%."
    measure = "Accuracy without one convolution, mean over the convolutions that keep their shape."
    rule = Below(0.2, "fraction")
    null = "Accuracy stays near that of the whole network."
    confounders = (
        "Only layers of equal shape can be removed, often the later ones of a stage. Scenes are easier than photographs."
    )
    prior = "Known in part: docs/slim.md has mini_vgg lose much by single removals."
    mini = "mini_vgg on 300 fresh scenes (seed 6107); interval over scenes"
    full = "VGG-16 on CIFAR-10, as in the paper"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = small_network("mini_vgg"), Images.scenes(300, seed=6107)
        whole = right_answers(specimen, images)
        left = {name: whole - loss for name, loss in removal_losses(specimen, images, removable(specimen)).items()}
        rows = number_rows(
            {"whole": float(whole.mean())} | {name: float(values.mean()) for name, values in left.items()}, "fraction"
        )
        return mean_effect(np.mean(list(left.values()), axis=0), "scene", rows)
