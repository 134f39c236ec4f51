"""The number in a DenseNet's name counts its layers with weights: two for each dense layer, and five more.

Source: Huang et al. 2017, arXiv:1608.06993, table 1 (the ImageNet architectures 121, 169, 201 and 264).
"""

from typing import final

import torch
from torch import nn

from microtome import networks
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Within

DEPTHS = (121, 169, 201, 264)


@final
class DensenetDepths(Claim):
    """Counts of layers against names."""

    study = "001"
    kind = "no training"
    hypothesis = "Each of the four published layouts has as many convolutions and linear layers as its name says."
    measure = "Largest difference between the convolutions and linear layers of the layout and its name, over the four; exact."
    rule = Within(0, 0, "layers")
    null = "At least one layout has another number of layers than its name."
    confounders = "Projections or shortcuts with weights would count too; a DenseNet has none."
    prior = "Known: by our notes the rule gives 265 for DenseNet-264."
    mini = "the four layouts of the table, built without weights"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        counts: dict[int, int] = {}
        for depth in DEPTHS:
            with torch.device("meta"):
                net = networks.build(f"densenet{depth}")
            counts[depth] = sum(isinstance(part, nn.Conv2d | nn.Linear) for part in net.modules())
        rows = tuple((f"DenseNet-{depth}", f"{count} layers") for depth, count in counts.items())
        return Effect.exact(float(max(abs(count - depth) for depth, count in counts.items())), rows)
