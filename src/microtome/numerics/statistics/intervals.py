"""How sure a mean, a ratio or a fraction is: studentised bootstrap over images, Student's over repetitions, Wilson's score.

The measured coverage of every interval is in docs/coverage.md (`python -m benchmarks coverage`). Fractions and means of bounded values
have exact forms in `proportions`.

Source: bootstrap-t, Efron 1982, "The jackknife, the bootstrap and other resampling plans", sec. 10.10, and Hall 1988, "Theoretical
comparison of bootstrap confidence intervals"; standard error of a ratio, Cochran 1977, "Sampling techniques", sec. 6.4; Student 1908;
Wilson 1927, "Probable inference". That the bootstrap may only widen Student's interval, and the two minima, are ours.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import normal_quantile, student_quantile

BLOCK = 1 << 22  # drawn places held at a time
MIN_VALUES = 20  # below, no interval of a mean holds its level for skewed values (docs/coverage.md)
FAR = 1e6  # standard errors: so far lie only draws whose values hardly vary
MIN_DIFFERENT = 10  # values that differ from the commonest one; with fewer, the rare values decide and are hardly known
Measure = Callable[[Float64[Array, "draw image"]], tuple[Float64[Array, " draw"], Float64[Array, " draw"]]]


class Interval(NamedTuple):
    """A value and the interval about it."""

    value: float
    low: float
    high: float


UNKNOWN_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))


def nan_mean(values: Float[Array, "... image"]) -> Float64[Array, "..."]:
    """The mean over images that leaves out missing values (NaN); not a number where all are missing, without a warning."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(-1, dtype=np.float64)
    count = known.sum(-1)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan, dtype=np.float64), where=count > 0))


def wilson_interval(successes: int, count: int, level: float = 0.95) -> Interval:
    """The fraction of successes with Wilson's score interval; not numbers for a count of 0.

    It covers less than `level` where few successes or few failures are expected; `proportion_interval` does not.
    """
    if count == 0:
        return UNKNOWN_INTERVAL
    z = float(normal_quantile((1 + level) / 2))
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
    half = float(student_quantile((1 + level) / 2, len(few) - 1) * few.std(ddof=1) / np.sqrt(len(few)))
    return Interval(value, value - half, value + half)


def enough_values(values: Shaped[Array, " image"]) -> bool:
    """Whether the mean of these has an interval: at least `MIN_VALUES`, `MIN_DIFFERENT` of them unlike the commonest one."""
    if len(values) < MIN_VALUES:
        return False
    return len(values) - int(np.unique(values, return_counts=True)[1].max()) >= min(MIN_DIFFERENT, len(values) - 1)


def mean_interval(values: Shaped[Array, " image"], draws: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """The mean without missing values (NaN), and its studentised interval; no bounds where `enough_values` is false.

    Not numbers where no value is known.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return ratio_interval(known, np.ones(len(known)), draws, seed, level)


def ratio_interval(
    values: Float[Array, " image"], over: Float[Array, " image"], draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The mean of `values` divided by the mean of `over`, image by image, and its studentised interval.

    Images of which either is missing (NaN) are left out. Not numbers where none is left, or where `over` is 0 on average; no bounds
    where `enough_values` is false.
    """
    known = ~(np.isnan(values) | np.isnan(over))
    upper, lower = np.asarray(values, dtype=np.float64)[known], np.asarray(over, dtype=np.float64)[known]
    if not len(upper) or lower.mean() == 0:
        return UNKNOWN_INTERVAL
    value = float(upper.mean() / lower.mean())
    if not enough_values(upper):
        return Interval(value, float("nan"), float("nan"))
    rest = upper - value * lower  # 0 on average, so that squares keep their digits
    count = len(upper)

    def measure(weights: Array) -> tuple[Array, Array]:
        below = weights @ lower / count
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = weights @ rest / count / below  # the ratio of the draw minus `value`
            spread = weights @ (rest * rest) - 2 * moved * (weights @ (rest * lower)) + moved**2 * (weights @ (lower * lower))
            return moved, np.sqrt(np.maximum(spread, 0.0) / (count * (count - 1))) / np.abs(below)

    moved_interval = studentised_interval(count, measure, count - 1, draws, seed, level)
    return Interval(value, value + moved_interval.low, value + moved_interval.high)


def studentised_interval(
    images: int, measure: Measure, freedom: int, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The interval of a statistic from how far it lies off, in standard errors, in bootstrap samples of the images.

    `measure` gives the statistic and its standard error for each row of weights, which say how often each image is drawn. The
    quantiles of (statistic of the draw - statistic) / error of the draw take the place of Student's with `freedom` degrees, where
    they are further out. Draws without a number are left out. No bounds where most are, where the error is not positive, or where a
    quantile is of draws that do not vary.
    """
    value, error = (float(part[0]) for part in measure(np.ones((1, images))))
    parts = [measure(batch) for batch in _float_blocks(images, draws, seed)]
    drawn, errors = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (drawn - value) / errors
    known = ~np.isnan(off)
    if not np.isfinite(error) or error <= 0 or known.sum() < draws / 2:
        return Interval(value, float("nan"), float("nan"))
    least, most = np.quantile(off[known].clip(-FAR, FAR), [(1 - level) / 2, (1 + level) / 2])
    if max(-least, most) >= FAR / 2:
        return Interval(value, float("nan"), float("nan"))
    student = float(student_quantile((1 + level) / 2, freedom))
    return Interval(value, value - max(float(most), student) * error, value - min(float(least), -student) * error)


def bootstrap_weights(images: int, draws: int = 1000, seed: int = 0) -> Int[Array, "draw image"]:
    """How often each image is drawn in each bootstrap sample; every row sums to `images`.

    The same seed draws the same images, so that specimens measured on the same images are compared pair by pair.
    """
    return np.concatenate(list(_weight_blocks(images, draws, seed)))


def _float_blocks(images: int, draws: int, seed: int) -> Iterable[Array]:
    """The rows of `bootstrap_weights` as floating point, block by block; few of them are kept for the next interval over such images."""
    if images * draws <= BLOCK:
        return [_kept_weights(images, draws, seed)]
    return (batch.astype(np.float64) for batch in _weight_blocks(images, draws, seed))


@lru_cache(maxsize=2)
def _kept_weights(images: int, draws: int, seed: int) -> Array:
    weights = bootstrap_weights(images, draws, seed).astype(np.float64)
    weights.flags.writeable = False
    return weights


def _weight_blocks(images: int, draws: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // max(images, 1))
    for start in range(0, draws, rows):
        some = min(rows, draws - start)
        drawn = random.integers(0, images, size=(some, images)) + images * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * images).reshape(some, images)
