"""Without global average pooling training makes no bands in the last layer.

Source: Petrov et al. 2021, doi:10.23915/distill.00024.009, section on fully connected heads.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class BandsNeedPooling(TrainingClaim):
    """Trained here, pooled against fully connected."""

    study = "004"
    kind = "training"
    hypothesis = (
        "The raw index A of the last layer is larger by more than 0.05 with global average pooling than with a fully connected "
        "head."
    )
    measure = "A of the raw weights of the last convolution, pooled minus fully connected, paired by seed."
    rule = Above(0.05)
    null = "No difference."
    confounders = (
        "A fully connected head overfits. A small network on drawn scenes may show no bands at all; then the claim fails here, "
        "not in general."
    )
    prior = "Known in part: a toy of ours did not reproduce it."
    mini = (
        "banding_net of an eighth of the width from scratch, three seeds, 2,000 horizon scenes of 64 px, 20 epochs; Student's "
        "interval over seeds"
    )
    full = "the simplified network on ImageNet, 90 epochs, three seeds"

    variant = "pooled"
    number = "banding: banding index, raw weights"
