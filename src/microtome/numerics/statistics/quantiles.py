"""Quantiles and tails of the distributions that intervals and tests rest on, without the second that importing scipy.stats takes."""

from typing import Any

import numpy as np
from scipy.special import betaincinv, fdtrc, ndtr, ndtri, stdtr, stdtrit


def normal_quantile(probability: Any) -> Any:
    """The value below which a standard normal variable lies with that probability."""
    return ndtri(probability)


def normal_tail(value: Any) -> Any:
    """The probability that a standard normal variable lies above `value`."""
    return ndtr(-np.asarray(value))


def student_quantile(probability: Any, freedom: Any) -> Any:
    """The value below which Student's t with `freedom` degrees lies with that probability; not a number where there are none."""
    freedom = np.asarray(freedom, dtype=np.float64)
    finite = np.where(np.isfinite(freedom) & (freedom > 0), freedom, 1.0)
    value = np.where(np.isposinf(freedom), ndtri(probability), stdtrit(finite, probability))
    return np.where(freedom > 0, value, np.nan)


def student_tail(value: Any, freedom: Any) -> Any:
    """The probability that Student's t with `freedom` degrees lies above `value`."""
    return stdtr(freedom, -np.asarray(value))


def prediction_error(spread: Any, count: Any) -> Any:
    """The standard error of one further value about the mean of `count` values whose standard deviation is `spread`.

    Source: Geisser 1993, "Predictive inference", sec. 2.1.
    """
    return spread * np.sqrt(1 + 1 / count)


def beta_quantile(probability: Any, first: Any, second: Any) -> Any:
    """The value below which a beta variable with these two shapes lies with that probability."""
    return betaincinv(first, second, probability)


def fisher_tail(ratio: Any, above: Any, below: Any) -> Any:
    """The probability that Fisher's F with `above` and `below` degrees of freedom exceeds `ratio`."""
    return fdtrc(above, below, ratio)
