"""A value against the same value of several untrained twins: their mean and range, and on which side of all of them it lies.

Below the smallest of n exchangeable values a further one falls in 1 of n + 1 cases, which for five is no evidence. So it must also lie
below the bound that Student's prediction interval leaves for one more twin.

Source: prediction interval for one further observation, Fisher 1935; Student 1908. The combination with the range is ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import prediction_error, student_quantile

LEVEL = 0.95  # of the prediction interval


class TwinRange(NamedTuple):
    """Mean, smallest and largest value over the twins; not numbers where no twin has a value."""

    mean: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]


def twin_range(twins: Float[Array, "twin ..."] | Sequence[Float[Array, "..."]]) -> TwinRange:
    """Mean, smallest and largest over the first axis, without missing values (NaN)."""
    values = np.asarray(twins, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    low, high = np.where(known, values, np.inf).min(0), np.where(known, values, -np.inf).max(0)
    return TwinRange(mean, np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan))


def side_of_twins(
    low: Float[Array, "..."],
    high: Float[Array, "..."],
    twins: Float[Array, "twin ..."] | Sequence[Float[Array, "..."]],
    ratio: bool = False,
) -> Int8[Array, "..."]:
    """-1 where the interval from `low` to `high` is below all twins, 1 where it is above all, 0 elsewhere.

    0 as well where a number is missing or fewer than two twins have one: nothing is ever said from one twin. `ratio`: the values are
    positive and differ by factors (distances, gains), so the prediction interval is that of their logarithms. Otherwise positive values
    must lie beyond in both scales, since skewed ones lie beyond the interval of their differences too often.
    """
    values = np.asarray(twins, dtype=np.float64)
    ends = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    logarithms = [_logarithm(each) for each in (*ends, values)]
    if ratio:
        return _side(*logarithms)
    positive = (ends[0] > 0) & ((values > 0) | ~np.isfinite(values)).all(0)
    plain = _side(*ends, values)
    return np.where(positive & (_side(*logarithms) != plain), 0, plain).astype(np.int8)


def _side(low: Float[Array, "..."], high: Float[Array, "..."], values: Float[Array, "twin ..."]) -> Int8[Array, "..."]:
    """The side of all twins in one scale."""
    known = np.isfinite(values)
    count = known.sum(0)
    mean, least, most = twin_range(values)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(0)
    freedom = np.maximum(count - 1, 1)
    half = student_quantile((1 + LEVEL) / 2, freedom) * prediction_error(np.sqrt(squares / freedom), np.maximum(count, 1))
    enough = count > 1
    below = enough & (high < least) & (high < mean - half)
    above = enough & (low > most) & (low > mean + half)
    return (above.astype(np.int8) - below.astype(np.int8)).astype(np.int8)


def _logarithm(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Natural logarithms; minus infinity for 0, not a number below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(values, dtype=np.float64))
