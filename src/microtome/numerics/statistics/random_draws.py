"""Whether one value is another draw of what gave several others, and p values of several such questions together.

Source: Student's prediction of one further value, Geisser 1993, "Predictive inference", sec. 2.1; Welch 1947; Holm 1979.
"""

import numpy as np
from jaxtyping import Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import prediction_error, student_quantile, student_tail


def draw_tail(value: float, draws: Float[Array, " draw"]) -> float:
    """The probability that one further draw is above `value`, the draws being normal; not a number where they do not vary."""
    count = len(draws)
    if count < 2 or not (spread := draws.std(ddof=1)) > 0:
        return float("nan")
    return float(student_tail((value - draws.mean()) / prediction_error(spread, count), count - 1))


def two_sided_draw_test(value: float, draws: Float[Array, " draw"]) -> float:
    """The p value of `value` as one further draw, from either side; not a number where the draws do not vary."""
    above = draw_tail(value, draws)
    return 2 * min(above, 1 - above)


def draw_range(draws: Float[Array, " draw"], level: float = 0.95) -> tuple[float, float]:
    """The interval in which one further draw lies with that probability."""
    count = len(draws)
    half = float(student_quantile((1 + level) / 2, count - 1) * prediction_error(draws.std(ddof=1), count))
    return float(draws.mean()) - half, float(draws.mean()) + half


def welch_test(first: Float[Array, " draw"], second: Float[Array, " draw_"]) -> float:
    """The two-sided p value of Welch's test of equal means; not a number where neither sample varies."""
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    if not sum(parts) > 0:
        return float("nan")
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1))
    return float(2 * student_tail(abs(first.mean() - second.mean()) / np.sqrt(sum(parts)), freedom))


def holm_adjust(p: Float[Array, "..."]) -> Float64[Array, "..."]:
    """Holm's adjusted p values of one family; what is not a number stays so and does not count."""
    flat = np.asarray(p, dtype=np.float64).ravel()
    adjusted = np.full(flat.shape, np.nan)
    known = np.flatnonzero(np.isfinite(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)))
    return adjusted.reshape(np.shape(p))
