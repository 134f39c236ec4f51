"""How well the classes that a network was trained on predict those of the task: LEEP and NCE.

Source: LEEP, Nguyen et al. 2020, arXiv:2002.12462, eq. 1 to 3; NCE, Tran et al. 2019, arXiv:1908.08142, eq. 8.
"""

import numpy as np
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.transferability.samples import code_labels


def leep(probabilities: Float[Array, "image source"], labels: Int[Array, " image"]) -> float:
    """LEEP: the mean log probability of the labels, predicted through the probabilities of the source classes; at most 0.

    Raises:
        Unmeasurable: fewer than two classes, or probabilities that are not finite.
    """
    coded = code_labels(probabilities, labels)
    joint = _joint(np.asarray(probabilities, dtype=np.float64), coded)
    total = joint.sum(0)
    given = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)  # P(label | source class)
    return float(np.log((given[coded] * probabilities).sum(1)).mean())


def nce(probabilities: Float[Array, "image source"], labels: Int[Array, " image"]) -> float:
    """NCE: minus the entropy of the labels given the most probable source class, in nats; at most 0.

    Raises:
        Unmeasurable: fewer than two classes, or probabilities that are not finite.
    """
    coded = code_labels(probabilities, labels)
    answers = np.eye(probabilities.shape[1])[probabilities.argmax(1)]
    joint = _joint(answers, coded)
    total = np.broadcast_to(joint.sum(0), joint.shape)
    known = joint > 0
    return float((joint[known] * np.log(joint[known] / total[known])).sum())


def _joint(probabilities: Array, coded: Array) -> Float64[Array, "class source"]:
    """The joint distribution of labels and source classes."""
    members = (coded == np.arange(coded.max() + 1)[:, None]).astype(np.float64)
    return members @ probabilities / len(coded)
