"""Whether images that are alike in features are of the same class: PARC.

Source: Bolya et al. 2021, arXiv:2111.06977, sec. 4: Spearman's correlation between the distances of features and of labels.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.maps.heat import rank_correlation
from microtome.numerics.transferability.samples import code_labels


def parc(features: Float[Array, "image feature"], labels: Int[Array, " image"]) -> float:
    """PARC, from -1 to 1: the rank correlation over all pairs of images of (1 - correlation of features) and (another class or not).

    The papers' figures are 100 times this. Of all features; their demonstration takes 32 principal axes. Higher is better.

    Raises:
        Unmeasurable: fewer than two classes, or features that are not finite.
    """
    coded = code_labels(features, labels)
    return parc_of(feature_correlations(features), coded)


def feature_correlations(features: Float[Array, "image feature"]) -> Float64[Array, "image image_"]:
    """Pearson's correlation over the features for every two images; 0 where the features of one do not vary."""
    data = np.asarray(features, dtype=np.float64)
    data = data - data.mean(1, keepdims=True)
    length = np.linalg.norm(data, axis=1, keepdims=True)
    data = np.divide(data, length, out=np.zeros_like(data), where=length > 0)
    return data @ data.T


def parc_of(correlations: Float[Array, "image image_"], coded: Int[Array, " image"]) -> float:
    """PARC from the correlations of all pairs of images; not a number where all pairs are alike."""
    pairs = np.triu_indices(len(coded), 1)
    alike, same = correlations[pairs], (coded[pairs[0]] == coded[pairs[1]]).astype(np.float64)
    return float(rank_correlation(torch.from_numpy(alike), torch.from_numpy(same)))
