"""On most other corruptions vision transformers are as robust as convolutional networks, or more so.

Source: Kim et al. 2023, arXiv:2111.08413, abstract.
"""

from typing import final

import torch

from microtome.replicate.cifar_robustness import relative_losses
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below


def _blur(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _noise(x: torch.Tensor) -> torch.Tensor:
    return (x + 0.08 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def _pixelate(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(x, 2), scale_factor=2.0)


@final
class TransformersRobust(Claim):
    """Relative loss of accuracy under noise, blur and pixelation."""

    study = "003"
    kind = "real weights"
    hypothesis = "Two transformers lose at most two points more of their accuracy than two ResNets."
    measure = "1 − accuracy(changed)/accuracy(clean), mean over noise, blur and pixelation and over networks: transformers minus ResNets."
    rule = Below(0.02, "fraction")
    null = "Transformers lose more."
    confounders = "The networks differ in clean accuracy, augmentation and size. Two points are our margin."
    prior = "Known in part: JPEG alone cost the ResNets ten points and the ViTs one or two."
    mini = "two ViTs and two ResNets trained on CIFAR-10 by others, 1,000 test images; grouped jackknife over images"
    full = "ViT-B/16, DeiT-S, ResNet-50 and ResNet-101 on ImageNet-C"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        return relative_losses(context, {"noise": _noise, "blur": _blur, "pixelation": _pixelate}, 1000)
