"""Vision transformers lose more to contrast enhancement than convolutional networks do.

Source: Kim et al. 2023, arXiv:2111.08413, abstract.
"""

from typing import final

from microtome.replicate.cifar_robustness import enhance_contrast, relative_losses
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above


@final
class ContrastBreaksTransformers(Claim):
    """Relative loss of accuracy under higher contrast."""

    study = "003"
    kind = "real weights"
    hypothesis = "The fraction of their accuracy that two transformers lose is larger than that which two ResNets lose."
    measure = (
        "1 − accuracy(contrast × 2, × 4)/accuracy(clean), mean over both factors and networks: transformers minus ResNets."
    )
    rule = Above(0.0, "fraction")
    null = "Both families lose the same fraction."
    confounders = (
        "The networks differ in clean accuracy, augmentation and size, and are two of each family: no law about families."
    )
    prior = "Not measured by us on these; our robustness page has contrast for other networks."
    mini = "two ViTs and two ResNets trained on CIFAR-10 by others, 1,000 test images; grouped jackknife over images"
    full = "ViT-B/16, DeiT-S, ResNet-50 and ResNet-101 on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return relative_losses(context, {"× 2": enhance_contrast(2.0), "× 4": enhance_contrast(4.0)}, 1000)
