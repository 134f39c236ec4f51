"""Holding the size of filters down keeps the first layer from dead filters.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 3 and figure 6.
"""

from typing import final

from microtome.replicate.rules import Below
from microtome.replicate.training_claim import TrainingClaim


@final
class RenormalisedFiltersLive(TrainingClaim):
    """Dead filters with and without the largest size."""

    study = "002"
    kind = "training"
    hypothesis = "With filters rescaled to a root mean square of 0.1 the first layer has fewer dead filters."
    measure = "Dead filters of the first layer with renormalisation minus those without, paired by seed."
    rule = Below(0.0, "fraction")
    null = "As many dead filters, or none in either."
    confounders = (
        "The paper's inputs run to 128, ours to 2: its radius of 0.1 means something else here. Batch norm undoes the size of "
        "filters."
    )
    prior = "Not known."
    mini = "mini_vgg from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "ZFNet without batch norm on ImageNet"

    variant = "renormalised"
    number = "frontend: dead filters"
