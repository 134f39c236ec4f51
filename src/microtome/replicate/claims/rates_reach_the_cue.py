"""The best atrous rate follows from the size of the input: it should reach about half the side.

Source: Kim et al. 2023, arXiv:2307.14179, abstract; half the side is our rule, not the paper's formula.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class RatesReachTheCue(TrainingClaim):
    """Rates that reach half the side against small ones."""

    study = "003"
    kind = "training"
    hypothesis = (
        "On a task whose cue lies half a side away, rates of 3, 5 and 8 give a higher mean IoU than rates of 1, 2 and 3."
    )
    measure = "Mean IoU with rates 3, 5, 8 on maps of 16 positions minus that with rates 1, 2, 3, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = "The task was made for the rule: the cue lies at one known distance. Photographs have no such distance."
    prior = "Known in part: docs/experiments_rates.md, on another loop, saw the curve peak there."
    mini = "mini_deeplab from scratch, four seeds, 800 images of cues, 64 px, 8 epochs; Student's interval over seeds"
    full = "U-Net with ASPP on HRF, DeepLabV3 on Cityscapes"

    variant = "half the side"
    number = "mean IoU"
