"""In the head, dropout before global average pooling shifts the variance far less than dropout after it.

Source: Kim et al. 2023, arXiv:2302.06112 (head variant H4).
"""

from typing import final

import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import layer_values, photographs, trained_network
from microtome.replicate.rules import Below

LAYER, KEEP = "layer3.8", 0.5


@final
class DropoutBeforePooling(Claim):
    """Added variance of the features that the classifier reads."""

    study = "003"
    kind = "real weights"
    hypothesis = "Dropout before pooling adds less than a quarter of the variance that dropout after pooling adds."
    measure = "Σ w² E[x²]/N over Σ w² E[x]², w the classifier's weights, x the last maps of N = 64 positions; mean over images."
    rule = Below(0.25)
    null = "Both add the same variance: a ratio of 1, as for features of either sign."
    confounders = "Positions of one map are dropped independently; a dropout of whole channels would not average out."
    prior = "Known in principle: at most 1 for positive features, about π/N for half-normal ones; not measured on this network."
    mini = "ResNet-56 trained on CIFAR-10 by others, 500 test images; interval over images"
    full = "ResNet-50 and DenseNet-169 on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 500)
        weight = specimen.net.get_submodule("linear").weight.detach().square().sum(0)  # type: ignore[union-attr, operator]

        def added(value: torch.Tensor) -> torch.Tensor:
            flat = value.flatten(2)
            before = (flat.square().mean(2) / flat.shape[2] * weight).sum(1)
            return torch.stack([before, (flat.mean(2).square() * weight).sum(1)], 1)

        parts = layer_values(specimen, images, [LAYER], added)[LAYER].double().numpy()
        rows = number_rows({"π/N": float(torch.pi / 64)})
        return mean_effect(parts[:, 0] / parts[:, 1], "image", rows)
