"""A number of groups that keeps the gradient's size trains better than one that lets it grow.

Source: Kim et al. 2023, arXiv:2302.03193; that few groups keep it is our derivation.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class FewGroupsTrainBetter(TrainingClaim):
    """One group against one for each pair of channels."""

    study = "003"
    kind = "training"
    hypothesis = "With one group top-1 accuracy is higher than with groups of two channels."
    measure = "Top-1 accuracy with one group minus that with groups of two channels, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference, or many groups are better."
    confounders = (
        "Few groups also lose spatial detail, by our notes; residual networks hold the gradient anyway. A single small network "
        "and one recipe; both variants get the same epochs, not the best of their own."
    )
    prior = "Not known for this recipe."
    mini = (
        "mini_resnet with group norm, from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    )
    full = "ResNet-101 on Caltech-101 and Pets, all divisors"

    variant = "one group"
