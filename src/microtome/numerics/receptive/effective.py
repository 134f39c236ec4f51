"""Effective receptive fields as numbers: how gradients add up, where their mass lies, and the Gaussian that fits them.

Source: Luo et al. 2016, arXiv:1701.04128, sec. 2; rules and fit, Kim et al. 2021, arXiv:2108.13576, alg. 1 and sec. 3 (positive
part of the colour mean, Gaussian with a free centre, R² = 1 - var(residual) / var(field)); area ratio, Ding et al. 2022 (RepLKNet),
arXiv:2203.06717, app. C. That R² forgives a constant: a spike on a field spread over the image still "explains" most of its variance.
So the fit is chosen and judged by the usual R² = 1 - SSE / SST, and the published one is kept beside it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import least_squares
from torch import Tensor

from microtome.numerics.arrays import Array

Rule = Literal["relu", "abs", "square", "signed", "replknet"]


class GaussianFit(NamedTuple):
    """A fitted Gaussian: its centre and standard deviations in px, (row, col), and how well it fits.

    `r2` is 1 - SSE / SST, negative where a constant fits better; `published_r2` 1 - var(residual) / var(field); `inside` the fraction
    of the absolute mass within three standard deviations (98.9% of a GaussianFit that lies within the image); `offset` the constant
    under the Gaussian as a fraction of the field's maximum, 0 where none was fitted.
    """

    center: tuple[float, float]
    sigma: tuple[float, float]
    r2: float
    published_r2: float = float("nan")
    inside: float = float("nan")
    offset: float = 0.0


def sum_gradients(slope: Float[Tensor, "image rgb row col"], rule: Rule) -> Float64[Tensor, "row col"]:
    """Input gradients summed over images: the colour mean first, then the rule, image by image.

    "replknet" takes the positive part of each colour before the sum over colours: its maps are not comparable with the others.
    """
    if rule == "replknet":
        return slope.double().clamp_min(0).sum((0, 1))
    mean = slope.double().mean(1)
    if rule == "relu":
        return mean.clamp_min(0).sum(0)
    return (mean.abs() if rule == "abs" else mean.square() if rule == "square" else mean).sum(0)


def center_of_mass(field: Float64[Array, "row col"]) -> tuple[float, float]:
    """The (row, col) pixel around which the absolute values of `field` balance; NaN for a field of zeros."""
    weight = np.abs(field)
    total = weight.sum()
    if total == 0:
        return float("nan"), float("nan")
    rows, cols = (np.arange(side, dtype=np.float64) for side in field.shape)
    return float(weight.sum(1) @ rows / total), float(weight.sum(0) @ cols / total)


def mass_within_radius(
    field: Float64[Array, "row col"], center: tuple[float, float], radii: Sequence[float]
) -> Float64[Array, " radius"]:
    """The fraction of the absolute mass whose pixels lie within each radius (px) of `center`."""
    weight = np.abs(field)
    rows, cols = np.ogrid[: field.shape[0], : field.shape[1]]
    away = (rows - center[0]) ** 2 + (cols - center[1]) ** 2
    total = weight.sum()
    return np.array([weight[away <= radius**2].sum() / total if total else np.nan for radius in radii], dtype=np.float64)


def area_ratio(field: Float64[Array, "row col"], center: tuple[int, int], shares: Sequence[float]) -> Float64[Array, " share"]:
    """The area, as a fraction of the image, of the smallest square around `center` that holds more than each fraction of the mass.

    Squares have odd sides and are cut at the image's edge.
    """
    sums = np.zeros((field.shape[0] + 1, field.shape[1] + 1))
    sums[1:, 1:] = np.abs(field).cumsum(0).cumsum(1)
    total = sums[-1, -1]
    if total == 0:
        return np.full(len(shares), np.nan)
    reach = np.arange(max(field.shape))
    low = [np.clip(middle - reach, 0, side) for middle, side in zip(center, field.shape, strict=True)]
    high = [np.clip(middle + reach + 1, 0, side) for middle, side in zip(center, field.shape, strict=True)]
    held = sums[high[0], high[1]] - sums[low[0], high[1]] - sums[high[0], low[1]] + sums[low[0], low[1]]
    areas = (high[0] - low[0]) * (high[1] - low[1]) / field.size
    held = held / total
    return np.array([areas[min(int((held <= share).sum()), len(areas) - 1)] for share in shares], dtype=np.float64)


def replknet_scale(field: Float64[Array, "row col"]) -> Float64[Array, "row col"]:
    """log10(field + 1), stretched to a maximum of 1: the scale on which RepLKNet takes its area ratios."""
    scaled = np.log10(np.maximum(field, 0.0) + 1.0)
    return scaled / max(float(scaled.max()), 1e-300)


def fraction_holding(field: Float64[Array, "row col"], share: float) -> float:
    """The smallest fraction of all pixels that together hold `share` of the absolute mass; NaN for a field of zeros."""
    ranked = np.sort(np.abs(field).ravel())[::-1].cumsum()
    if ranked[-1] == 0:
        return float("nan")
    return (int((ranked < share * ranked[-1]).sum()) + 1) / field.size


def fit_gaussian(field: Float64[Array, "row col"], offset: bool = False) -> GaussianFit:
    """The Gaussian amp · exp(-(r - rc)² / 2σr² - (c - cc)² / 2σc²), on a constant where `offset`, with the least squared error.

    The better of two starts, the field's own spread and a narrow spot on its peak; NaN where the field is not finite or nowhere positive.
    """
    peak = float(field.max())
    if not np.isfinite(field).all() or peak <= 0:
        return GaussianFit((np.nan, np.nan), (np.nan, np.nan), np.nan, offset=np.nan)
    rows, cols = np.arange(field.shape[0], dtype=np.float64), np.arange(field.shape[1], dtype=np.float64)
    scaled = field / peak

    def parts(p: Float64[Array, " parameter"]) -> tuple[Float64[Array, " row"], Float64[Array, " col"]]:
        return np.exp(-((rows - p[1]) ** 2) / (2 * p[3] ** 2)), np.exp(-((cols - p[2]) ** 2) / (2 * p[4] ** 2))

    def residual(p: Float64[Array, " parameter"]) -> Float64[Array, " pixel"]:
        down, across = parts(p)
        return (p[0] * np.outer(down, across) + (p[5] if offset else 0.0) - scaled).ravel()

    def slope(p: Float64[Array, " parameter"]) -> Float64[Array, "pixel parameter"]:
        down, across = parts(p)
        r, c = (rows - p[1]) / p[3] ** 2, (cols - p[2]) / p[4] ** 2
        made = [
            np.outer(down, across), p[0] * np.outer(down * r, across), p[0] * np.outer(down, across * c),
            p[0] * np.outer(down * r**2 * p[3], across), p[0] * np.outer(down, across * c**2 * p[4]),
        ]  # fmt: skip
        return np.stack([column.ravel() for column in [*made, *([np.ones_like(scaled)] if offset else [])]], 1)

    fits: list[GaussianFit] = []
    for center, sigma in _starts(field):
        start = np.array([1.0, *center, *sigma, *([0.0] if offset else [])])
        optimum = least_squares(residual, start, jac=slope, method="lm", max_nfev=60)  # pyright: ignore[reportArgumentType]
        fits.append(judge(field, residual(optimum.x), [float(parameter) for parameter in optimum.x]))
    return max((fit for fit in fits if np.isfinite(fit.r2)), key=lambda fit: fit.r2, default=fits[0])


def judge(field: Float64[Array, "row col"], left: Float64[Array, " pixel"], p: Sequence[float]) -> GaussianFit:
    """The Gaussian with those parameters (height, centre, standard deviations, and the constant if it has one), `left` its residual."""
    scaled = field / float(field.max())
    spread = max(float(scaled.var()), 1e-300)
    center, sigma = (p[1], p[2]), (abs(p[3]), abs(p[4]))
    held = within_sigmas(field, center, sigma, 3.0)
    r2 = 1 - float((left**2).mean()) / spread
    return GaussianFit(center, sigma, r2, 1 - float(left.var()) / spread, held, p[5] if len(p) > 5 else 0.0)


def within_sigmas(
    field: Float64[Array, "row col"], center: tuple[float, float], sigma: tuple[float, float], many: float
) -> float:
    """The fraction of the absolute mass in the ellipse of `many` standard deviations around `center`."""
    rows, cols = np.ogrid[: field.shape[0], : field.shape[1]]
    away = ((rows - center[0]) / max(sigma[0], 1e-12)) ** 2 + ((cols - center[1]) / max(sigma[1], 1e-12)) ** 2
    weight = np.abs(field)
    return float(weight[away <= many**2].sum() / weight.sum())


def _starts(field: Float64[Array, "row col"]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    middle = center_of_mass(np.maximum(field, 0.0))
    top = np.unravel_index(int(field.argmax()), field.shape)
    return [(middle, _spread(field, middle)), ((float(top[0]), float(top[1])), _delta_sigma(field.shape))]


def _spread(field: Float64[Array, "row col"], center: tuple[float, float]) -> tuple[float, float]:
    weight = np.maximum(field, 0.0)
    total = weight.sum()
    rows, cols = (np.arange(side) - middle for side, middle in zip(field.shape, center, strict=True))
    return max(1.0, float(weight.sum(1) @ rows**2 / total) ** 0.5), max(1.0, float(weight.sum(0) @ cols**2 / total) ** 0.5)


def _delta_sigma(shape: tuple[int, ...]) -> tuple[float, float]:
    return max(1.0, shape[0] / 15), max(1.0, shape[1] / 15)
