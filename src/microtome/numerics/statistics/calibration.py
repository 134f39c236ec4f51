"""How well the probability of an answer says how often it is right: the expected calibration error.

Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017, arXiv:1706.04599, eq. 3.
"""

import numpy as np
from jaxtyping import Float, Shaped

from microtome.numerics.arrays import Array

BINS = 15


def calibration_error(confidence: Float[Array, " image"], correct: Shaped[Array, " image"], bins: int = BINS) -> float:
    """The mean over images of |right - confidence| of the bin that each lies in, the bins of equal width; NaN without images.

    Of few images it is too large, since the fraction that is right varies within each bin.
    """
    if not len(confidence):
        return float("nan")
    place = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, np.asarray(correct, dtype=np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
