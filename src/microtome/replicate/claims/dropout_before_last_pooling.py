"""In the head, dropout before pooling gives a better network than dropout after it.

Source: Kim et al. 2023, arXiv:2302.06112 (head variant H4).
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class DropoutBeforeLastPooling(TrainingClaim):
    """Two places of the same dropout."""

    study = "003"
    kind = "training"
    hypothesis = "Dropout before pooling gives a higher top-1 accuracy."
    measure = "Top-1 accuracy with dropout before pooling minus that with dropout after it (p = 0.5), paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "Before pooling the noise is weaker, so that the best p differs. A single small network and one recipe; both variants "
        "get the same epochs, not the best of their own."
    )
    prior = "Not known for this recipe."
    mini = "mini_resnet from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "DenseNet-169 on ImageNet, p = 0.2"

    variant = "before pooling"
