"""The number of groups of a group norm sets the scale of the gradient that passes back through it.

Source: Kim et al. 2023, arXiv:2302.03193; the value π/(π − 1) for one channel in a group is derived by us.
"""

from math import pi
from typing import final

import torch

from microtome.key_numbers import format_value
from microtome.numerics.graph.gradient_gain import gradient_gains
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import repeated_effect
from microtome.replicate.rules import Within

WIDTH, DRAWS = 64, 20


@final
class GroupNormGain(Claim):
    """Instance norm against layer norm, one block."""

    study = "003"
    kind = "no training"
    hypothesis = "A block with as many groups as channels multiplies the squared gradient by π/(π − 1) = 1.467 times what one group does."
    measure = "Gain with 64 groups over gain with one, 3 × 3 convolution of 64 channels, group norm, ReLU, half-normal input."
    rule = Within(1.394, 1.541)
    null = "The gain does not depend on the groups: a ratio of 1."
    confounders = "One block at its start; in deep and trained networks inputs are no half-normal noise."
    prior = "Known: 1.44 to 1.48 by our notes. The rule is 5% on either side of the derived value."
    mini = "20 draws of weights and input, 16 × 16 positions; Student's interval over draws"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        generator = torch.Generator().manual_seed(8)
        ratios: list[float] = []
        for draw in range(DRAWS):
            weight = torch.randn(WIDTH, WIDTH, 3, 3, generator=generator) / (9 * WIDTH) ** 0.5
            x = torch.randn(8, WIDTH, 16, 16, generator=generator).relu()
            single, many = gradient_gains(
                x,
                lambda value, kernel=weight: torch.nn.functional.conv2d(value, kernel, padding=1),
                torch.relu,
                (1, WIDTH),
                seed=draw,
            )
            ratios.append(many / single)
        return repeated_effect(ratios, "draw", (("π/(π − 1)", format_value(pi / (pi - 1))),))
