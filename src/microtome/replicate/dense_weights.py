"""How the layers of the trained CIFAR DenseNet weigh what they read, times the |γ| of the norm before them."""

from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.reuse.reuse import Reuse
from microtome.analysis import build_analysis
from microtome.replicate.claim import RunContext
from microtome.replicate.material import trained_network

Values = np.ndarray[Any, Any]
NETWORK = "cifar10_densenet_bc100_k12"


class ReuseMatrix(NamedTuple):
    """One dense block: mean |weight| · |γ| (target, source), NaN where a target does not read a source; block input first."""

    targets: tuple[str, ...]
    weights: Values

    def rows(self, inside: bool) -> Values:
        """The rows of the dense layers of the block, or of the others (a transition, the classifier)."""
        wanted = np.array([("denselayer" in name) == inside for name in self.targets])
        return self.weights[wanted]


def reuse_matrices(context: RunContext) -> list[ReuseMatrix]:
    """The matrices of the three blocks, in order."""
    finding = build_analysis(Reuse, {})(trained_network(context, NETWORK), twins=0)
    names = [name for name in finding.arrays if name.startswith("effective/")]
    return [ReuseMatrix(tuple(map(str, finding[name]["target"].values)), np.asarray(finding[name].values)) for name in names]


def evenness(weights: Values) -> float:
    """exp(entropy) over the number of sources: 1 where all are weighed alike, 1/n where one is read alone."""
    known = weights[np.isfinite(weights)]
    part = known[known > 0] / known.sum()
    return float(np.exp(-(part * np.log(part)).sum()) / len(known))
