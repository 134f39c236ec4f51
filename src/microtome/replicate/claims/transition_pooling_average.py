"""Average pooling in the transitions of a DenseNet is better than max pooling.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 3 (its choice); the comparison is a seminar's conjecture.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class TransitionPoolingAverage(TrainingClaim):
    """Average against max pooling."""

    study = "001"
    kind = "training"
    hypothesis = "Average pooling gives a higher top-1 accuracy."
    measure = "Top-1 accuracy with average pooling minus that with max pooling, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference, or max pooling is better."
    confounders = "A single small network and one recipe; both variants get the same epochs, not the best of their own."
    prior = "Not known."
    mini = "mini_densenet from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "DenseNet-BC-100 on CIFAR-10, 300 epochs, three seeds"

    variant = "average pooling"
