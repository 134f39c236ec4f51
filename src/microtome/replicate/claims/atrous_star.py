"""The effective field of atrous spatial pyramid pooling is a star: the centre and eight rays, one point on each for each rate.

Source: Kim et al. 2023, arXiv:2307.14179 (pattern of the module's effective field); the count of points: ours.
"""

from typing import final

import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Within

RATES = (12, 24, 36)


@final
class AtrousStar(Claim):
    """Positions that the central output depends on."""

    study = "003"
    kind = "no training"
    hypothesis = (
        "On a map that holds the largest rate the central output depends on 25 positions, and on 17 where the largest reaches "
        "out of it."
    )
    measure = "Positions with a gradient on maps of 97 and of 65 a side, minus 25 and 17; the larger difference; exact."
    rule = Within(0, 0, "positions")
    null = "Another number of positions: a filled square, or fewer."
    confounders = "The module alone; the backbone before it blurs every point, and image pooling adds an even floor."
    prior = "Known: 25 and 17 by our notes."
    mini = "rates 12, 24 and 36, random weights"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        generator = torch.Generator().manual_seed(2)
        counts: dict[int, int] = {}
        for side in (97, 65):
            x = torch.randn(1, 4, side, side, generator=generator).requires_grad_()
            kernels = [torch.randn(1, 4, 3, 3, generator=generator) for _ in RATES]
            branches = [
                torch.nn.functional.conv2d(x, kernel, padding=rate, dilation=rate)
                for kernel, rate in zip(kernels, RATES, strict=True)
            ]
            (slope,) = torch.autograd.grad(sum(branches)[0, 0, side // 2, side // 2], x)  # type: ignore[index]
            counts[side] = int((slope.abs().sum(1) > 0).sum())
        rows = tuple((f"{side} a side", f"{count} positions") for side, count in counts.items())
        return Effect.exact(float(max(abs(counts[97] - 25), abs(counts[65] - 17))), rows)
