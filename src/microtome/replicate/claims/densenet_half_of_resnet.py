"""DenseNet-201 has less than half the parameters of ResNet-101, whose error it reaches in the paper.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 4.4 and figure 3.
"""

import importlib
from typing import final

import torch

from microtome import networks
from microtome._torchvision import timm
from microtome.key_numbers import format_value
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below


@final
class DensenetHalfOfResnet(Claim):
    """The cost side of DenseNet against ResNet on ImageNet."""

    study = "001"
    kind = "no training"
    hypothesis = "The ratio of the parameters is below one half. Only the cost is measured, not the error."
    measure = "Parameters of DenseNet-201 (growth 32) over those of ResNet-101, both with 1000 classes; exact."
    rule = Below(0.5)
    null = "The ratio is one half or more."
    confounders = "Parameters are not time or memory: DenseNets keep many maps."
    prior = "Known: both counts are in every model zoo."
    mini = "both networks, built without weights"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        timm()
        family = importlib.import_module("timm.models.resnet")
        with torch.device("meta"):
            nets = {"DenseNet-201": networks.build("densenet201"), "ResNet-101": family.resnet101()}
        counts = {name: sum(parameter.numel() for parameter in net.parameters()) for name, net in nets.items()}
        rows = tuple((name, f"{format_value(count)} parameters") for name, count in counts.items())
        return Effect.exact(counts["DenseNet-201"] / counts["ResNet-101"], rows)
