"""In a residual branch dropout belongs after the last batch norm and before the last layer with weights.

Source: Kim et al. 2023, arXiv:2302.06112, abstract (variant P6).
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class DropoutAfterLastNorm(TrainingClaim):
    """Dropout at the right place against none."""

    study = "003"
    kind = "training"
    hypothesis = "With dropout there (p = 0.2) top-1 accuracy is higher than without dropout."
    measure = "Top-1 accuracy with dropout minus that without, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference, or dropout harms."
    confounders = (
        "Dropout helps where a network overfits; a short training may not get there. A single small network and one recipe; "
        "both variants get the same epochs, not the best of their own."
    )
    prior = "Not known for this recipe."
    mini = "a pre-activation ResNet-18 of timm from scratch, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval over seeds"
    full = "PreResNet-110 on CIFAR-10 and CIFAR-100, positions P0 to P7, three seeds"

    variant = "dropout"
