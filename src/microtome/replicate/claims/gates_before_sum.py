"""Gates belong before the sum of branch and shortcut: after it they help less.

Source: Hu et al. 2018, arXiv:1709.01507, table on integration (SE-PRE and SE-POST).
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class GatesBeforeSum(TrainingClaim):
    """Gates before the residual unit against gates after the sum."""

    study = "001"
    kind = "training"
    hypothesis = "Gates before the unit give a higher accuracy than gates after the sum and its rectifier."
    measure = "Top-1 accuracy of the position pre minus that of post, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = "A single small network and one recipe; both variants get the same epochs, not the best of their own."
    prior = "Not known for this recipe; published 22.23% against 22.78% error."
    mini = "mini_resnet from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "SE-ResNet-50 on ImageNet, 100 epochs, three seeds"

    variant = "before the unit"
