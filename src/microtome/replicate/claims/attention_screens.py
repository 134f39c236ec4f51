"""With depth convolutional networks cluster the classes, attention networks only screen regions (H4).

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision", sec. 3 and figure 4.
"""

from typing import final

import numpy as np

from microtome.images import Images
from microtome.numerics.probes.ridge import ridge_probe
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import labels_of, layer_values, mean_over_positions, small_network
from microtome.replicate.rules import Above

CONVOLUTIONAL = ("mini_vgg", "mini_resnet", "mini_densenet", "mini_inception")


@final
class AttentionScreens(Claim):
    """Probe accuracy gained from the first block to the last."""

    study = "000"
    kind = "small networks"
    hypothesis = "Probe accuracy gains more from the first to the last block in convolutional networks than in the transformer."
    measure = (
        "Correct answers of a five-fold ridge probe, last minus first block, mean of four convolutional networks minus "
        "mini_deit, by scene."
    )
    rule = Above(0.0, "fraction")
    null = "The same gain."
    confounders = "The study's sentence is an impression, not a measure; this is our reading. One transformer only."
    prior = "Known in part: on 120 scenes of seed 0 traits saw convolutional networks gain 15 points less (docs/traits.md)."
    mini = "five networks of the mini zoo, 400 fresh scenes (seed 6104); interval over scenes"
    full = "the six backbones of the study on 100 ImageNet classes"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        images = Images.scenes(400, seed=6104)
        gains: dict[str, np.ndarray] = {}
        for name in (*CONVOLUTIONAL, "mini_deit"):
            specimen = small_network(name)
            ends = [specimen.blocks[0].exit, specimen.blocks[-1].exit]
            features = layer_values(specimen, images, ends, mean_over_positions)
            first, last = (ridge_probe(features[end].double().numpy(), labels_of(images)).correct.astype(float) for end in ends)
            gains[name] = last - first
        rows = number_rows({name: float(values.mean()) for name, values in gains.items()}, "fraction")
        return mean_effect(np.mean([gains[name] for name in CONVOLUTIONAL], axis=0) - gains["mini_deit"], "scene", rows)
