"""Statistics of one weight tensor: singular values, moments, histogram, and the comb left by int8 storage."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.numerics.arrays import Array

INT8_LEVELS = 255  # the largest whole number between the zero point and the furthest int8 value
CACHED_VALUES = 1 << 15  # values looked at together
SPARSE_LIMIT = 1e-3  # of a standard deviation
_LADDER = np.arange(1.0, INT8_LEVELS + 1)[:, None]
LATTICE_TOLERANCE = (
    0.02  # of a step: further from the lattice than this and a value is not on it; float16 storage stays below 0.07 · k/255
)


class QuantisationComb(NamedTuple):
    """Evidence that weights are dequantised integers: every value is a whole multiple of a step."""

    kind: Literal["", "per tensor", "per channel"]
    share: float  # of the channels with any value other than zero: those on a lattice of their own
    levels: int  # largest whole number needed, median over channels
    step: float  # median over channels, in the unit of the weights
    distinct: int  # different values in the tensor
    size: int  # values in the tensor


def weight_matrix(weight: Float[Tensor, "unit *inputs"]) -> Float[Tensor, "unit input"]:
    """A weight as the matrix it multiplies with: (unit, in · rows · cols)."""
    return weight.reshape(weight.shape[0], -1)


def singular_values(weight: Float[Tensor, "unit *inputs"]) -> Float64[Tensor, " rank"]:
    """Singular values of the weight as a matrix, largest first, from the smaller Gram matrix in float64."""
    flat = weight_matrix(weight).detach().cpu().double()
    product = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    return torch.linalg.eigvalsh(product).clamp_min(0).sqrt().flip(0)


def stable_rank(weight: Float[Tensor, "unit *inputs"]) -> float:
    """Squared Frobenius norm over squared spectral norm, between 1 and the rank; not a number for a weight of zeros."""
    squares = singular_values(weight) ** 2
    return float(squares.sum() / squares[0]) if squares[0] > 0 else float("nan")


def weight_statistics(weight: Float[Tensor, "*weight"]) -> dict[str, float]:
    """Moments of all values: `mean`, `std`, `skew`, `kurtosis` (excess: a Gaussian has 0), `sparsity`, `minimum`,
    `maximum`.

    Sparsity is the fraction of values below a thousandth of the standard deviation. Skew and kurtosis of a constant are NaN.

    Raises:
        Unmeasurable: the weight is empty or holds values that are not finite.
    """
    values = _as_float(weight)
    low, high = float(values.min()), float(values.max())
    if low == high:
        nan = float("nan")
        sparsity = float(low == 0)
        return {"mean": low, "std": 0.0, "skew": nan, "kurtosis": nan, "sparsity": sparsity, "minimum": low, "maximum": high}
    count, (mean, std) = len(values), mean_and_std(weight)
    cubes = fourths = small = 0.0
    for part in _iterate_float64(values):
        scores = (part - mean) / std
        squares = scores * scores
        cubes, fourths = cubes + _dot(squares, scores), fourths + _dot(squares, squares)
        small += int(np.count_nonzero(np.abs(part) < SPARSE_LIMIT * std))
    return {
        "mean": mean,
        "std": std,
        "skew": cubes / count,
        "kurtosis": fourths / count - 3,
        "sparsity": small / count,
        "minimum": low,
        "maximum": high,
    }


def mean_and_std(weight: Float[Tensor, "*weight"]) -> tuple[float, float]:
    """Mean and standard deviation of all values.

    Raises:
        Unmeasurable: the weight is empty or holds values that are not finite.
    """
    values = _as_float(weight)
    mean = sum(float(part.sum()) for part in _iterate_float64(values)) / len(values)
    return mean, math.sqrt(sum(_dot(away := part - mean, away) for part in _iterate_float64(values)) / len(values))


def is_finite(weight: Float[Tensor, "*weight"]) -> bool:
    """Whether every value is finite: the smallest and the largest are not where one is not a number."""
    return weight.numel() == 0 or all(bool(end.isfinite()) for end in weight.aminmax())


def histogram(
    weight: Float[Tensor, "*weight"], bins: int = 64, limits: tuple[float, float] | None = None
) -> tuple[Float64[Array, " bin"], Float64[Array, " bin"]]:
    """Density and bin centres over `limits` (default: smallest to largest value).

    The density is a fraction of *all* values, so it integrates to the fraction that lies within the limits.

    Raises:
        Unmeasurable: the weight is empty or holds values that are not finite.
    """
    values = _as_float(weight)
    low, high = limits or (float(values.min()), float(values.max()))
    if low == high:  # a constant still needs a bin with a width
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    ordered = np.sort(values).astype(np.float64)
    below = np.searchsorted(ordered, edges, side="left")
    below[-1] = np.searchsorted(ordered, edges[-1], side="right")  # the last bin holds its upper edge too
    return np.diff(below) / (len(values) * np.diff(edges)), (edges[1:] + edges[:-1]) / 2


def distinct_values(weight: Float[Tensor, "*weight"]) -> int:
    """How many different values the weight has."""
    return len(np.unique(weight.detach().float().cpu().numpy()))


def find_comb(weight: Float[Tensor, "unit *inputs"]) -> QuantisationComb:
    """Whether the weights are dequantised int8 values, with one step for the tensor or one for each channel.

    Values w = step · q with whole q are looked for: the largest |w| is then step · k for some k up to 255, so those k are
    tried. Weights stored as float16 or bfloat16 are no lattice, since their spacing halves with every power of two.
    """
    values = weight_matrix(weight).detach().cpu().double().numpy()
    distinct = distinct_values(weight)
    whole = _smallest_lattice(values.reshape(1, -1))
    if distinct < 3:  # constant or two-valued: any lattice fits
        return QuantisationComb("", 0.0, 0, float("nan"), distinct, values.size)
    if whole[0] > 0:
        return QuantisationComb("per tensor", 1.0, int(whole[0]), float(np.abs(values).max() / whole[0]), distinct, values.size)
    alive = np.abs(values).max(1) > 0
    levels = _smallest_lattice(values[alive])
    fits = levels > 0
    share = float(fits.mean())
    # Fewer values than this fit some lattice by chance; nearly all channels must agree.
    per_channel = values.shape[1] >= 5 and share >= 0.99
    if not fits.any():
        return QuantisationComb("", share, 0, float("nan"), distinct, values.size)
    steps = np.abs(values[alive]).max(1)[fits] / levels[fits]
    kind = "per channel" if per_channel else ""
    return QuantisationComb(kind, share, int(np.median(levels[fits])), float(np.median(steps)), distinct, values.size)


def _smallest_lattice(values: Float64[Array, "channel value"]) -> Array:
    """For each channel the smallest k such that all its values are whole multiples of max|w| / k; 0 where there is none."""
    largest = np.abs(values).max(1, keepdims=True)
    relative = values / np.where(largest > 0, largest, 1.0)
    picks = np.linspace(0, values.shape[1] - 1, min(32, values.shape[1])).round().astype(int)
    # A few values rule out nearly every k, so that all values are looked at once or twice only.
    likely = np.concatenate(
        [_on_lattice(few[:, None] * _LADDER, 1) for few in np.array_split(relative[:, picks], max(1, -(-len(values) // 64)))]
    )
    lattice = np.zeros(len(values), dtype=np.int64)
    for k in (np.flatnonzero(likely.any(0)) + 1).tolist():
        left = np.flatnonzero((lattice == 0) & likely[:, k - 1])
        lattice[left[_on_lattice(relative[left], k)]] = k
    return lattice


def _on_lattice(relative: Array, k: int) -> Bool[Array, "*channel"]:
    scaled = relative * k
    return np.abs(scaled - np.round(scaled)).max(axis=-1, initial=0.0) < LATTICE_TOLERANCE


def _as_float(weight: Tensor) -> Float[Array, " value"]:
    """All values of a weight as float32, or float64 where they are."""
    values = weight.detach().cpu().flatten()
    values = values if values.dtype == torch.float64 else values.float()
    if values.numel() == 0 or not is_finite(values):
        raise Unmeasurable(
            f"A weight of shape {tuple(weight.shape)} is empty or holds values that are not finite; check the weights file."
        )
    return values.numpy()


def _iterate_float64(values: Float[Array, " value"]) -> Iterator[Float64[Array, " few"]]:
    """The values in float64, as many at a time as a core keeps at hand."""
    return (values[start : start + CACHED_VALUES].astype(np.float64) for start in range(0, len(values), CACHED_VALUES))


def _dot(first: Float64[Array, " few"], second: Float64[Array, " few"]) -> float:
    """The sum of products, on one core: that of a BLAS waits for all its threads, a hundred times as long beside a busy neighbour."""
    return float(np.einsum("v,v->", first, second))
