"""A first layer of 7 × 7 kernels at stride 2 is better than one of 11 × 11 at stride 4.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 4.1 and table 2.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class SmallStemBetter(TrainingClaim):
    """The two stems in front of the same network."""

    study = "002"
    kind = "training"
    hypothesis = "The finer stem gives a higher top-1 accuracy."
    measure = "Top-1 accuracy with 7 × 7 at stride 2 minus that with 11 × 11 at stride 4, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "The finer stem leaves maps four times as large, so that everything behind it computes more. Scenes of 64 px are "
        "smaller than photographs."
    )
    prior = "Known in part: docs/experiments_stems.md, by other networks on another loop."
    mini = "mini_resnet from scratch, four seeds, 1,000 scenes of 64 px, 8 epochs; Student's interval over seeds"
    full = "AlexNet and ZFNet on ImageNet, 70 epochs"

    variant = "7 × 7 at stride 2"
