"""Squeeze-and-excitation gates raise the accuracy of a ResNet.

Source: Hu et al. 2018, arXiv:1709.01507, table 2.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class GatesRaiseAccuracy(TrainingClaim):
    """A ResNet with gates against the same without."""

    study = "001"
    kind = "training"
    hypothesis = "With gates in all blocks (ratio 8) top-1 accuracy is higher."
    measure = "Top-1 accuracy with gates minus without, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "A single small network and one recipe; both variants get the same epochs, not the best of their own. Gates add 2% of "
        "the parameters."
    )
    prior = "Not known for this recipe; the shipped mini_seresnet and mini_resnet differ by less than a point."
    mini = "mini_resnet from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "ResNet-50 on ImageNet, 100 epochs, three seeds"

    variant = "gates"
