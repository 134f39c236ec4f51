"""At equal parameters a DenseNet is more accurate than a ResNet.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 4.3 and figure 4.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class DenseBeatsResidual(TrainingClaim):
    """A DenseNet against a ResNet of as many parameters."""

    study = "001"
    kind = "training"
    hypothesis = "The DenseNet's top-1 accuracy is higher."
    measure = "Top-1 accuracy of the DenseNet minus that of the ResNet, paired by seed; their parameters differ by at most 5%."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "The networks differ in depth, width, stem and multiply-adds: the DenseNet computes more. A single small network and "
        "one recipe; both variants get the same epochs, not the best of their own."
    )
    prior = "Not known for this recipe."
    mini = (
        "a DenseNet with growth 19 against mini_resnet, both about 208,000 parameters, from scratch, four seeds, 1,500 scenes "
        "of 32 px, 12 epochs; Student's interval over seeds"
    )
    full = "DenseNet-BC-100 and a ResNet of equal parameters on CIFAR-10, 300 epochs, three seeds"

    variant = "DenseNet"
