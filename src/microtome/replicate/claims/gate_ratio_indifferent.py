"""The reduction ratio of the gates hardly matters for accuracy, from 2 to 16.

Source: Hu et al. 2018, arXiv:1709.01507, table of reduction ratios.
"""

from typing import final

from microtome.replicate.rules import Within
from microtome.replicate.training_claim import TrainingClaim


@final
class GateRatioIndifferent(TrainingClaim):
    """Ratio 2 against ratio 16."""

    study = "001"
    kind = "training"
    hypothesis = "Accuracies at ratios 2 and 16 are equal within two points."
    measure = "Top-1 accuracy at ratio 2 minus that at ratio 16, paired by seed."
    rule = Within(-0.02, 0.02, "fraction")
    null = "One ratio is better by more than two points."
    confounders = (
        "A single small network and one recipe; both variants get the same epochs, not the best of their own. Equivalence takes "
        "a narrow interval; four seeds may not give it."
    )
    prior = "Not known for this recipe. Two points are our margin; the paper's values differ by 0.04 points."
    mini = "mini_resnet from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "SE-ResNet-50 on ImageNet, 100 epochs, three seeds"

    variant = "ratio 2"
