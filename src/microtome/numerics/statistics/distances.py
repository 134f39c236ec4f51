"""How far apart two samples of numbers are, such as the weights of two layers.

Wasserstein-1 (in the samples' own unit, in standard deviations, and of the shapes alone), Kolmogorov-Smirnov, Jensen-Shannon.
Statistics only, no p-values: with millions of weights every p-value is zero.

Source: W1 = integral of |F_a^-1 - F_b^-1|, Vallender 1974; Lin 1991, "Divergence measures based on the Shannon
entropy", eq. 4.1.
"""

import numpy as np
from jaxtyping import Float, Float64

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array

BINS = 64


def wasserstein1(a: Float[Array, " a"], b: Float[Array, " b"]) -> float:
    """The area between the two distribution functions, in the unit of the samples.

    Raises:
        Unmeasurable: a sample is empty or holds values that are not finite.
    """
    return _quantile_distance(_sorted_sample(a), _sorted_sample(b))


def w1_over_sigma(a: Float[Array, " a"], b: Float[Array, " b"]) -> float:
    """Wasserstein-1 in units of the pooled standard deviation, sqrt((var a + var b) / 2); not a number for two constants.

    Both samples weigh the same, however many values each has.

    Raises:
        Unmeasurable: a sample is empty or holds values that are not finite.
    """
    return _divide(wasserstein1(a, b), _pooled_std(a, b))


def w1_shape(a: Float[Array, " a"], b: Float[Array, " b"]) -> float:
    """Wasserstein-1 after each sample is divided by its own standard deviation (not centred): the difference in shape alone.

    Not a number where a sample is constant.

    Raises:
        Unmeasurable: a sample is empty or holds values that are not finite.
    """
    return _shape_distance(_sorted_sample(a), _sorted_sample(b))


def all_distances(a: Float[Array, " a"], b: Float[Array, " b"], bins: int = BINS) -> dict[str, float]:
    """Every distance of this file by name (`w1`, `w1_over_sigma`, `w1_shape`, `ks`, `js`), with one sort of each sample.

    Raises:
        Unmeasurable: a sample is empty or holds values that are not finite.
    """
    first, second = _sorted_sample(a), _sorted_sample(b)
    values, gaps = _merge_samples(first, second)
    distance = _quantile_distance(first, second)
    return {
        "w1": distance,
        "w1_over_sigma": _divide(distance, _pooled_std(first, second)),
        "w1_shape": _shape_distance(first, second),
        "ks": _largest_gap(values, gaps),
        "js": _divergence(first, second, values, bins),
    }


def _sorted_sample(sample: Array) -> Array:
    if sample.size == 0:
        raise Unmeasurable("A distance between samples needs at least one value in each; one of them is empty.")
    if not np.isfinite(sample).all():
        wrong = int(np.count_nonzero(~np.isfinite(sample)))
        raise Unmeasurable(
            f"{wrong} of {sample.size} values are not finite, so no distance to them exists; check the weights file."
        )
    return sample if bool((sample[1:] >= sample[:-1]).all()) else np.sort(sample)


def _merge_samples(first: Array, second: Array) -> tuple[Float64[Array, " both"], Float64[Array, " both"]]:
    """The merged sorted values, and F_first - F_second to the right of each."""
    both = np.concatenate([first, second])
    order = np.argsort(both, kind="stable")  # merges two sorted runs in linear time
    # Whole numbers, so that the difference is exactly zero at the end and where both functions agree.
    steps = np.where(order < len(first), len(second), -len(first)).astype(np.int64)
    gaps = np.cumsum(steps) / (len(first) * len(second))
    return both[order].astype(np.float64), gaps


def _quantile_distance(first: Array, second: Array) -> float:
    """The mean distance of the quantiles of two sorted samples; each quantile function is a staircase of equal steps."""
    n, m = len(first), len(second)
    if n == m:
        return float(np.abs(first.astype(np.float64) - second).mean())
    # Step ends in units of 1/(n·m) are whole numbers; merging two sorted runs is linear.
    ends = np.sort(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m) * n]), kind="stable")
    starts = np.append(0, ends[:-1])
    apart = np.abs(first[starts // m].astype(np.float64) - second[starts // n])
    return float(apart @ (ends - starts)) / (n * m)


def _largest_gap(values: Array, gaps: Array) -> float:
    last = np.append(values[1:] != values[:-1], True)  # among equal values only the last one sees the whole step
    return float(np.abs(gaps[last]).max())


def _pooled_std(first: Array, second: Array) -> float:
    return float(np.sqrt((first.var(dtype=np.float64) + second.var(dtype=np.float64)) / 2))


def _shape_distance(first: Array, second: Array) -> float:
    # A constant has no spread; the rounding of its mean must not pass for one.
    if first[0] == first[-1] or second[0] == second[-1]:
        return float("nan")
    scaled = (values.astype(np.float64) / values.std(dtype=np.float64) for values in (first, second))
    return _quantile_distance(*scaled)


def _divide(distance: float, sigma: float) -> float:
    return distance / sigma if sigma > 0 else float("nan")


def _divergence(first: Array, second: Array, merged: Array, bins: int) -> float:
    edges = np.unique(merged[np.arange(1, bins) * len(merged) // bins])
    shares = [
        np.diff(np.searchsorted(values, edges.astype(values.dtype), side="left"), prepend=0, append=len(values)) / len(values)
        for values in (first, second)
    ]
    middle = (shares[0] + shares[1]) / 2
    return float(np.clip(sum(_relative_entropy(fractions, middle) for fractions in shares) / 2, 0.0, 1.0))


def _relative_entropy(share: Array, reference: Array) -> float:
    some = share > 0
    return float(share[some] @ np.log2(share[some] / reference[some]))
