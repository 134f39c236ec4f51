"""Zeros added to a trained kernel at the bottom and the right keep what the network computes, at 224 px.

Source: Kim et al. 2021, arXiv:2108.13576, sec. 4 (kernel padding; stride and padding stay as they are).
"""

import importlib
from typing import final

import torch
from torch import nn

from microtome._torchvision import timm
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below


@final
class KernelPaddingKeeps(Claim):
    """The remedy as published, before any fine-tuning."""

    study = "003"
    kind = "no training"
    hypothesis = "The scores of a ResNet-18 do not change when every strided convolution is padded."
    measure = "Largest change of a score over the largest score, two noise images of 224 px; exact."
    rule = Below(1e-4)
    null = "Scores change by more than rounding."
    confounders = (
        "Only convolutions are padded: a larger max pool is another function. At some odd sizes the old padding drops a row."
    )
    prior = "Known: 1e-6 by our notes at 224 px; at odd sizes it does change."
    mini = "random weights, 224 px and, beside it, 225 px"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        timm()
        family = importlib.import_module("timm.models.resnet")
        with torch.random.fork_rng():
            torch.manual_seed(5)
            net = family.resnet18(zero_init_last=False).eval()
            images = {size: torch.randn(2, 3, size, size) for size in (224, 225)}
        with torch.no_grad():
            before = {size: net(x) for size, x in images.items()}
            for part in net.modules():
                if isinstance(part, nn.Conv2d) and part.stride == (2, 2):
                    part.weight = nn.Parameter(nn.functional.pad(part.weight, (0, 1, 0, 1)))
                    part.kernel_size = (part.kernel_size[0] + 1, part.kernel_size[1] + 1)
            change = {size: float((net(x) - before[size]).abs().max() / before[size].abs().max()) for size, x in images.items()}
        return Effect.exact(change[224], (("at 225 px", f"{change[225]:.2g}"),))
