"""Weight decay on the gammas it is good for, and on no others, trains better than decay on all.

Source: Kim et al. 2022, arXiv:2205.07260; the categories by scale invariance are ours.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class GammaDecayByCategory(TrainingClaim):
    """Decay by category against decay of everything."""

    study = "003"
    kind = "training"
    hypothesis = "Decay by category gives a higher top-1 accuracy."
    measure = "Top-1 accuracy with the auditor's groups minus that with decay on all parameters, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "Biases decay in the reference too. A short training feels decay little. A single small network and one recipe; both "
        "variants get the same epochs, not the best of their own."
    )
    prior = "Not known for this recipe."
    mini = (
        "mini_resnet from scratch, SGD, weight decay 0.005, four seeds, 1,500 scenes of 32 px, 12 epochs; Student's interval "
        "over seeds"
    )
    full = "ResNet-18 and ResNet-50 on Pets and ImageNet, three seeds"

    variant = "by category"
