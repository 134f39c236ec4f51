"""Removing layers in the middle of the network and training anew costs accuracy: overall depth matters.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 5.1 and table 3.
"""

from typing import final

from microtome.replicate.rules import Below
from microtome.replicate.training_claim import TrainingClaim


@final
class MiddleLayersMatter(TrainingClaim):
    """A plain network without its middle layers."""

    study = "002"
    kind = "training"
    hypothesis = "Without two middle convolutions top-1 accuracy is lower."
    measure = "Top-1 accuracy without two middle convolutions minus that of the whole network, both trained from scratch, paired by seed."
    rule = Below(0.0, "fraction")
    null = "No difference: the layers are not needed."
    confounders = (
        "A shallower network also has fewer parameters. A single small network and one recipe; both variants get the same "
        "epochs, not the best of their own."
    )
    prior = "Known in part: docs/experiments.md has other removals on another loop."
    mini = "mini_vgg from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "ZFNet without layers 3 and 4 on ImageNet"

    variant = "two layers fewer"
