"""How sure a number is: Wilson intervals of fractions, bootstrap intervals over images, Student's over repetitions.

Source: Wilson 1927, "Probable inference"; Efron 1979 (percentile bootstrap); Student 1908.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped
from scipy.stats import norm, t

from microtome.numerics.arrays import Array

BLOCK = 1 << 22  # drawn places held at a time


class Interval(NamedTuple):
    """A value and the interval about it."""

    value: float
    low: float
    high: float


def nan_mean(values: Float[Array, "... image"]) -> Float64[Array, "..."]:
    """The mean over images that leaves out missing values (NaN); not a number where all are missing, without a warning."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(-1, dtype=np.float64)
    count = known.sum(-1)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan, dtype=np.float64), where=count > 0))


def wilson_interval(successes: int, count: int, level: float = 0.95) -> Interval:
    """The fraction of successes with Wilson's score interval; not numbers for a count of 0."""
    if count == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    z = float(norm.ppf((1 + level) / 2))
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At 0 and at all successes the bound is exactly the fraction; rounding must not push it past.
    low = 0.0 if successes == 0 else float(middle - half)
    high = 1.0 if successes == count else float(middle + half)
    return Interval(share, low, high)


def student_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of a few repetitions with Student's interval; one repetition has no bounds (not numbers)."""
    few = np.asarray(values, dtype=np.float64)
    value = float(few.mean())
    if len(few) < 2:
        return Interval(value, float("nan"), float("nan"))
    half = float(t.ppf((1 + level) / 2, len(few) - 1) * few.std(ddof=1) / np.sqrt(len(few)))
    return Interval(value, value - half, value + half)


def bootstrap_weights(images: int, draws: int = 1000, seed: int = 0) -> Int[Array, "draw image"]:
    """How often each image is drawn in each bootstrap sample; every row sums to `images`.

    The same seed draws the same images, so that specimens measured on the same images are compared pair by pair.
    """
    return np.concatenate(list(_weight_blocks(images, draws, seed)))


def bootstrap_interval(
    values: Shaped[Array, " image"],
    statistic: Callable[[Array], float] | None = None,
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The statistic (default: the mean without missing values) and its percentile interval over resampled images.

    Draws are those of `bootstrap_weights` with the same seed. Not numbers where no value is known.
    """
    values = np.asarray(values, dtype=np.float64)
    if not (~np.isnan(values)).any():
        return Interval(float("nan"), float("nan"), float("nan"))
    batches = _weight_blocks(len(values), count, seed)
    if statistic is None:
        known = ~np.isnan(values)
        filled = np.where(known, values, 0.0)
        value = float(nan_mean(values))
        with np.errstate(invalid="ignore"):  # a draw of only missing values says nothing
            draws = np.concatenate([(batch @ filled) / (batch @ known) for batch in batches])
    else:
        places = np.arange(len(values))
        value = float(statistic(values))
        draws = np.array([statistic(values[np.repeat(places, row)]) for batch in batches for row in batch])
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def weighted_bootstrap(
    images: int,
    statistic: Callable[[Float64[Array, "draw image"]], Float64[Array, " draw"]],
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The statistic and its percentile interval over resampled images, all samples at once.

    `statistic` gives a value for each row of weights, which say how often each image is drawn; the rows are those of
    `bootstrap_weights`. Draws whose value is not a number are left out.
    """
    value = float(statistic(np.ones((1, images)))[0])
    draws = np.concatenate([statistic(batch.astype(np.float64)) for batch in _weight_blocks(images, count, seed)])
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _weight_blocks(images: int, draws: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // max(images, 1))
    for start in range(0, draws, rows):
        some = min(rows, draws - start)
        drawn = random.integers(0, images, size=(some, images)) + images * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * images).reshape(some, images)
