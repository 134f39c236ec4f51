"""With kernel padding every pixel of a ResNet counts alike; without it the weakest count a fifth of the strongest.

Source: Kim et al. 2021, arXiv:2108.13576, sec. 4, for the chain of strides in a ResNet.
"""

from typing import final

import torch

from microtome.key_numbers import format_value
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above

STRIDED = (7, 3, 3, 3, 3)  # kernels of the stem, the pool and three stages, all with stride 2


@final
class KernelPaddingEvens(Claim):
    """The design alone, before any training."""

    study = "003"
    kind = "no training"
    hypothesis = "The weakest pixel's weight is at least 99% of the strongest's after padding."
    measure = "Smallest over largest interior weight when ones go back through the strided layers as kernels of ones; exact."
    rule = Above(0.99)
    null = "The padded chain stays uneven."
    confounders = (
        "Learnt kernels are not ones: the zeros become weights only by training on, and then need not be like the others."
    )
    prior = "Known: 0.189 before and 1 after by our notes."
    mini = "the chain of a ResNet, 512 px"
    full = "R² and L1 of real networks after fine-tuning, as published"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        plain, padded = (self._evenness(tuple(kernel + more for kernel in STRIDED)) for more in (0, 1))
        return Effect.exact(padded, (("without padding", format_value(plain)),))

    @staticmethod
    def _evenness(kernels: tuple[int, ...]) -> float:
        x = torch.zeros(1, 1, 2048, dtype=torch.float64, requires_grad=True)
        value = x
        for kernel in kernels:
            value = torch.nn.functional.conv1d(value, torch.ones(1, 1, kernel, dtype=torch.float64), stride=2)
        (weight,) = torch.autograd.grad(value.sum(), x)
        inside = weight[0, 0, 512:1536]
        return float(inside.min() / inside.max()) ** 2  # rows and columns alike
