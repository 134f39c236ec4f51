"""A strided layer reads some pixels more often than others unless its stride divides its kernel.

Source: Kim et al. 2021, arXiv:2108.13576, sec. 3 (cause of dead pixels).
"""

from typing import final

import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Within


@final
class UnevenStrides(Claim):
    """Coverage of pixels by windows."""

    study = "003"
    kind = "no training"
    hypothesis = (
        "For kernels of 1 to 8 px and strides of 1 to 4, interior pixels are read equally often exactly where the stride "
        "divides the kernel."
    )
    measure = "Pairs of kernel and stride for which that is wrong, counted by back-propagating ones through a convolution of ones; exact."
    rule = Within(0, 0, "pairs")
    null = "Some pair is even without dividing, or uneven with it."
    confounders = "Borders are left out: there padding makes every layer uneven."
    prior = "Known: derived and checked in our notes."
    mini = "32 pairs, 48 px"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        wrong: list[tuple[str, str]] = []
        for kernel in range(1, 9):
            for stride in range(1, 5):
                x = torch.zeros(1, 1, 48, requires_grad=True)
                read = torch.nn.functional.conv1d(x, torch.ones(1, 1, kernel), stride=stride)
                (counts,) = torch.autograd.grad(read.sum(), x)
                inside = counts[0, 0, 12:36]
                if bool((inside == inside[0]).all()) != (kernel % stride == 0):
                    wrong.append((f"kernel {kernel}, stride {stride}", "does not fit"))
        return Effect.exact(float(len(wrong)), tuple(wrong))
