"""Straight-line trends over images, with intervals: how much a score gains along a ranking, how much of it is lost.

Source: ordinary least squares; percentile bootstrap over images, Efron 1979.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.intervals import Interval, bootstrap

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def ranks(values: Float[Array, " image"]) -> Float64[Array, " image"]:
    """Ranks from 0 (smallest) to 1 (largest), equal values sharing the lowest of theirs; NaN where a value is."""
    known = ~np.isnan(values)
    found = np.full(len(values), np.nan)
    order = np.searchsorted(np.sort(values[known]), values[known], side="left")
    found[known] = order / max(1, int(known.sum()) - 1)
    return found


def slope(values: Float[Array, " image"], against: Float[Array, " image"], least: int = 10, seed: int = 0) -> Interval:
    """The least-squares slope of `values` over `against`; not numbers below `least` images or for a constant `against`."""
    known = np.isfinite(values) & np.isfinite(against)
    y, x = values[known], against[known]
    if len(y) < max(2, least) or np.ptp(x) == 0:
        return UNKNOWN

    def line(places: Array) -> float:
        at = places.astype(np.int64)
        away = x[at] - x[at].mean()
        spread = float(away @ away)
        return float(away @ y[at]) / spread if spread > 0 else float("nan")

    return bootstrap(np.arange(len(y)), line, seed=seed)


def relative_loss(
    values: Float[Array, " image"], first: Bool[Array, " image"], last: Bool[Array, " image"], least: int = 10, seed: int = 0
) -> Interval:
    """1 - mean(values in `last`) / mean(values in `first`): relative, so that a weak network is not called robust.

    Not numbers with fewer than `least` known images on either side, or where the first mean is not positive.
    """
    known = np.isfinite(values) & (first | last)
    y, end = values[known], last[known]
    if min(int((~end).sum()), int(end.sum())) < max(1, least) or y[~end].mean() <= 0:
        return UNKNOWN

    def loss(places: Array) -> float:
        at = places.astype(np.int64)
        early, late = y[at][~end[at]], y[at][end[at]]
        # a draw whose first mean is not positive has no relative loss
        return 1 - float(late.mean() / early.mean()) if len(early) and len(late) and early.mean() > 0 else float("nan")

    return bootstrap(np.arange(len(y)), loss, seed=seed)
