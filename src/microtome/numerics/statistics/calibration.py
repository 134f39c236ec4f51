"""How well the probability of an answer says how often it is right: the expected calibration error.

Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017, arXiv:1706.04599, eq. 3.
The interval is ours.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Shaped

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import MIN_VALUES, UNKNOWN_INTERVAL, Interval, bootstrap_weights

BINS = 15
MIN_CALIBRATED = MIN_VALUES  # images
BLOCK = 1 << 22  # drawn places held at a time


def calibration_error(confidence: Float[Array, " image"], correct: Shaped[Array, " image"], bins: int = BINS) -> float:
    """The mean over images of |right - confidence| of the bin that each lies in, the bins of equal width; NaN without images.

    Of few images it is too large, since the fraction that is right varies within each bin.
    """
    if not len(confidence):
        return float("nan")
    place = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, np.asarray(correct, dtype=np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def mean_calibration(
    confidence: Float[Array, "image view"],
    correct: Float[Array, "image view"],
    bins: int = BINS,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean over views of their calibration error, with an interval over images; missing values (NaN) are left out.

    The error of a sample is too large, and no bootstrap quantile of it holds its level: of a calibrated network it never reaches 0. With
    gaps g of the bins, |g| lies within |g - true g| of the true error, so the lower end takes off the quantile of |g* - g| over bootstrap
    samples. The upper end adds the quantile of the sum of g - g* with the signs of g. No bounds below `MIN_CALIBRATED` images.
    """
    known = ~(np.isnan(confidence) | np.isnan(correct))
    views = [view for view in range(confidence.shape[1]) if known[:, view].any()]
    if not views:
        return UNKNOWN_INTERVAL
    value = float(
        np.mean([calibration_error(confidence[own, view], correct[own, view], bins) for view, own in _known_of(known, views)])
    )
    if known.any(1).sum() < MIN_CALIBRATED:
        return Interval(value, float("nan"), float("nan"))
    rows = max(1, min(draws, BLOCK // len(confidence)))
    parts = list[Array]()  # (2, draw) each
    for start in range(0, draws, rows):
        weights = bootstrap_weights(len(confidence), min(rows, draws - start), seed + start).astype(np.float64)
        own = [
            _moved_gaps(confidence[own, view], correct[own, view], weights[:, own], bins)
            for view, own in _known_of(known, views)
        ]
        parts.append(np.mean(own, axis=0))
    far, below = np.concatenate(parts, axis=1)
    least, most = (float(np.quantile(each, (1 + level) / 2)) for each in (far, below))
    return Interval(value, max(0.0, value - least), min(1.0, value + most))


def _known_of(known: Array, views: Sequence[int]) -> Iterator[tuple[int, Array]]:
    """Each view with its known images."""
    yield from ((view, known[:, view]) for view in views)


def _moved_gaps(confidence: Array, correct: Array, weights: Array, bins: int) -> tuple[Array, Array]:
    """|g* - g| and the sum of g - g* with the signs of g, of each draw (draw,); `weights` (draw, image) say how often each is drawn."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.zeros((len(place), bins))
    gaps[np.arange(len(place)), place] = correct - confidence
    count = weights.sum(1, keepdims=True)
    drawn = np.divide(weights @ gaps, count, out=np.zeros((len(weights), bins)), where=count > 0)
    moved = drawn - gaps.mean(0)
    return np.abs(moved).sum(1), -moved @ np.sign(gaps.sum(0))
