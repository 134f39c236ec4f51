"""A Gaussian attention bias draws attention to near patches, the more so the smaller its σ.

Source: Kim et al. 2023, arXiv:2305.04722, sec. 4 (start at A = 2, σ = 5 patches).
"""

from typing import final

import torch

from microtome.key_numbers import format_value
from microtome.networks.attention_bias import GaussianBias
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below

GRID = (14, 14)


@final
class AttentionBiasNearby(Claim):
    """Mean attended distance at the start of training."""

    study = "003"
    kind = "no training"
    hypothesis = (
        "With equal queries and keys the mean attended distance is below that of uniform attention and rises with σ (2, 5, 10)."
    )
    measure = (
        "Mean attended distance with the bias over that without; the largest over the three σ, or infinite if they are out of "
        "order; exact."
    )
    rule = Below(1.0)
    null = "The distance is that of uniform attention, or not ordered by σ."
    confounders = "Learnt queries and keys can undo any bias; the claim is about the start."
    prior = "Known for σ = 5: 3.66 of 5.38 patches for the centre by our notes."
    mini = "14 × 14 patches, no network"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        ratios = {}
        for sigma in (2.0, 5.0, 10.0):
            bias = GaussianBias(GRID, 0, 2.0, sigma, "squared")
            with torch.no_grad():
                attention, distance = bias().double().softmax(1), bias.squared.double().sqrt()
            ratios[sigma] = float((attention * distance).sum() / len(distance)) / float(distance.mean())
        ordered = list(ratios.values()) == sorted(ratios.values())
        rows = tuple((f"σ = {sigma:g} patches", format_value(ratio)) for sigma, ratio in ratios.items())
        return Effect.exact(max(ratios.values()) if ordered else float("inf"), rows)
