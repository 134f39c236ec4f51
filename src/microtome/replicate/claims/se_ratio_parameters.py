"""Squeeze-and-excitation adds (2/r) times a constant to ResNet-50: 45.7, 35.7, 30.7, 28.1 and 26.9 M for r = 2 to 32.

Source: Hu et al. 2018, arXiv:1709.01507, table of reduction ratios.
"""

from typing import final

import torch

from microtome import networks
from microtome.key_numbers import format_value
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below

PUBLISHED = {2: 45.7, 4: 35.7, 8: 30.7, 16: 28.1, 32: 26.9}


@final
class SeRatioParameters(Claim):
    """Parameters of SE-ResNet-50 by the reduction ratio."""

    study = "001"
    kind = "no training"
    hypothesis = "SE-ResNet-50 without biases in its gates has the printed parameters at all five ratios."
    measure = "Largest difference between built and printed parameters over the five ratios, in millions; exact."
    rule = Below(0.15, "M parameters")
    null = "Some ratio differs by more than the rounding of both printed terms explains."
    confounders = "The paper's base network is printed as 25.6 M; ours has 25.557 M."
    prior = "Known: our notes list the differences, at most 0.11 M."
    mini = "the five networks, built without weights"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        rows: list[tuple[str, str]] = []
        differences: list[float] = []
        for ratio, published in PUBLISHED.items():
            with torch.device("meta"):
                net = networks.build("se_resnet50", ratio=ratio, bias=False)
            millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
            differences.append(abs(millions - published))
            rows.append((f"r = {ratio}", f"{format_value(millions)} M; printed {format_value(published)} M"))
        return Effect.exact(max(differences), tuple(rows))
