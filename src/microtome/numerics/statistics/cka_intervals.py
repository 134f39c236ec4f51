"""Debiased CKA with its interval: a jackknife over images where every pair of images is compared, over batches elsewhere.

The unbiased HSIC without image i needs no second look at the Gram matrices. U-centred matrices stay centred up to the row that goes, so
HSIC_1(-i) = [S − 2 P_i (n − 2) / (n − 3)] / ((n − 1) (n − 4)), where P_i is the sum over j of K_ij L_ij and S that of all P_i. The interval
is Student's on the delete-one jackknife, with one degree of freedom less than what was left out in turn. `benchmarks/coverage_cka.py`
measures what it covers; where that is not 93 to 97 in 100, the bounds are not numbers.

Source: unbiased HSIC, Song et al. 2012, JMLR 13, eq. 5; U-centring, Székely & Rizzo 2014, arXiv:1310.2926; jackknife, Tukey 1958, Miller
1974; sums over batches, Nguyen et al. 2021, arXiv:2010.15327, eq. 3. The closed form of the jackknife is ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import ArrayLike
from torch import Tensor

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import student_quantile

MIN_IMAGES = 64  # below, the interval of all pairs covers up to 98% and of skewed features less than 93%
MIN_GROUPS = 3  # of batches


@dataclass(frozen=True)
class CkaEstimate:
    """CKA, its standard error, and the ends of its 95% interval, all of one shape; ends that are not known are NaN."""

    value: Float64[Array, "..."]
    error: Float64[Array, "..."]
    low: Float64[Array, "..."]
    high: Float64[Array, "..."]


def row_products(
    first: Float64[Tensor, "layer image image"], second: Float64[Tensor, "layer_ image image"]
) -> Float64[Tensor, "layer layer_ image"]:
    """Sums over j of K_ij L_ij for every pair of U-centred Gram matrices: what each image adds to their HSIC."""
    rows = torch.bmm(first.transpose(0, 1), second.permute(1, 2, 0))  # one product of (layer, j) and (j, layer_) for each image
    return rows.permute(1, 2, 0)


def all_pairs_cka(
    cross: Float64[Array, "*#pair image"], first: Float64[Array, "*#pair image"], second: Float64[Array, "*#pair image"]
) -> CkaEstimate:
    """CKA over all pairs of images, from the row products of K with L, K with K, and L with L."""
    count = cross.shape[-1]
    value = _cka_ratio(*(products.sum(-1) for products in (cross, first, second)))
    if count < 5:  # one image fewer has no unbiased HSIC
        return _unknown(value)
    factor = 2 * (count - 2) / (count - 3)
    left = [products.sum(-1, keepdims=True) - factor * products for products in (cross, first, second)]
    return _with_interval(value, _cka_ratio(*left), count >= MIN_IMAGES)


def grouped_cka(
    cross: Float64[Array, "group *#pair"],
    first: Float64[Array, "group *#pair"],
    second: Float64[Array, "group *#pair"],
    images: int,
) -> CkaEstimate:
    """CKA from sums of HSIC over groups of batches; each batch must be a random sample of the images."""
    sums = [products.sum(0) for products in (cross, first, second)]
    value = _cka_ratio(*sums)
    if len(cross) < 2:
        return _unknown(value)
    left = [np.moveaxis(whole - part, 0, -1) for whole, part in zip(sums, (cross, first, second), strict=True)]
    return _with_interval(value, _cka_ratio(*left), len(cross) >= MIN_GROUPS and images >= MIN_IMAGES)


def _cka_ratio(cross: ArrayLike, first: ArrayLike, second: ArrayLike) -> Array:
    """HSIC of two layers over the root of the product of their own; NaN where one of them does not vary between images."""
    scale = np.asarray(np.sqrt(np.maximum(first, 0.0) * np.maximum(second, 0.0)))
    return np.divide(cross, scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def _with_interval(value: Array, left: Array, known: bool) -> CkaEstimate:
    """The interval from values with one image or group left out each, along the last axis; CKA never leaves -1 to 1."""
    count = left.shape[-1]
    error = np.asarray(np.sqrt((count - 1) / count * ((left - left.mean(-1, keepdims=True)) ** 2).sum(-1)))
    half = error * (student_quantile(0.975, count - 1) if known else np.nan)
    return CkaEstimate(value, error, np.asarray(np.maximum(value - half, -1.0)), np.asarray(np.minimum(value + half, 1.0)))


def _unknown(value: Array) -> CkaEstimate:
    return CkaEstimate(value, *(np.full_like(value, np.nan) for _ in range(3)))
