"""Dropout right before a layer with weights shifts the variance less than dropout after it, when weights have a mean.

Source: Kim et al. 2023, arXiv:2302.06112, propositions on the variance shift (dropout before the last weight layer).
"""

from typing import final

import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows, repeated_effect
from microtome.replicate.rules import Above

WIDTH, KEEP, MEAN, DRAWS, SAMPLES = 128, 0.5, 0.02, 20, 4000


@final
class DropoutBeforeWeight(Claim):
    """Variance at test time over variance in training."""

    study = "003"
    kind = "no training"
    hypothesis = "The ratio of the variances, 1 without shift, is nearer to 1 for dropout before the weights."
    measure = (
        "Variance without over variance with dropout (p = 0.5), before the weights minus after them, weights of mean 0.02 and "
        "σ 0.09."
    )
    rule = Above(0.05)
    null = "Both places shift the variance alike, as they do for weights of mean 0."
    confounders = "Inputs are rectified normal noise and independent; features of trained networks are neither."
    prior = "Known in closed form: 0.43 against 0.27 by our notes."
    mini = "20 draws of a layer of 128 units, 4,000 samples each; Student's interval over draws"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        generator = torch.Generator().manual_seed(3)
        ratios: dict[str, list[float]] = {"before": [], "after": []}
        for _ in range(DRAWS):
            weight = MEAN + torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5
            x = torch.randn(SAMPLES, WIDTH, generator=generator).relu()
            plain = (x @ weight.T).var(0)
            before = (self._drop(x, generator) @ weight.T).var(0)
            after = self._drop(x @ weight.T, generator).var(0)
            ratios["before"].append(float(plain.mean() / before.mean()))
            ratios["after"].append(float(plain.mean() / after.mean()))
        rows = number_rows({name: sum(values) / DRAWS for name, values in ratios.items()})
        return repeated_effect(
            [first - second for first, second in zip(ratios["before"], ratios["after"], strict=True)], "draw", rows
        )

    @staticmethod
    def _drop(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x * (torch.rand(x.shape, generator=generator) < KEEP) / KEEP
