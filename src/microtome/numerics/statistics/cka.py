"""How alike two sets of features are, up to rotation and scale: debiased linear centred kernel alignment.

Source: Kornblith et al. 2019, arXiv:1905.00414; unbiased HSIC of Song et al. 2012, JMLR 13, eq. 5; summed over batches as in
Nguyen et al. 2021, arXiv:2010.15327, eq. 3.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from microtome.errors import Unmeasurable

CHUNK = 1 << 18  # values centred and multiplied at a time: 1 MB of float32 stays in the cache of one core meanwhile
CHUNK_IMAGES = 256  # beyond, a chunk grows with the images: products of few features are slow
ROWS = 64  # of images multiplied with all later ones at a time


def gram_matrix(features: Float[Tensor, "image *feature"]) -> Float64[Tensor, "image image"]:
    """Inner products of the images' features about their mean, on the CPU.

    The mean is taken off before the product: HSIC_1 does not change when every image moves by the same vector, and without it
    float32 loses the signal of features whose mean is large. Products run in float32 (float64 for float64 features), a chunk
    of features at a time, and the chunks add up in float64.
    """
    flat = _flatten(features)
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    rows = len(flat) if len(flat) <= 2 * ROWS else ROWS
    for part in flat.split(max(1, CHUNK // max(1, min(len(flat), CHUNK_IMAGES))), dim=1):
        part = part.float() if part.dtype in (torch.float16, torch.bfloat16) else part
        part = part - part[:1]  # first, so that features equal on all images become exact zeros
        part -= part.mean(0)
        for start in range(0, len(flat), rows):  # the rest follows from symmetry
            total[start : start + rows, start:] += (part[start : start + rows] @ part[start:].T).cpu()
    return total.triu() + total.triu(1).T


def u_centered(gram: Float64[Tensor, "image image"]) -> Float64[Tensor, "image image"]:
    """The U-centred Gram matrix: diagonal zero, every row sums to zero.

    Raises:
        Unmeasurable: fewer than 4 images, for which the unbiased estimate does not exist.
    """
    count = len(gram)
    if count < 4:
        raise Unmeasurable(f"Debiased CKA needs batches of at least 4 images and was given {count}; use more images.")
    hollow = gram - torch.diag(gram.diagonal())
    means = hollow.sum(1) / (count - 2)
    means = means - means.sum() / (2 * (count - 1))
    centered = hollow - means[:, None] - means[None, :]
    return centered.fill_diagonal_(0.0)


def centered_gram(features: Float[Tensor, "image *feature"]) -> Float64[Tensor, "image image"] | None:
    """The U-centred Gram matrix of the features, on the CPU; None for fewer than 4 images, for which there is none."""
    return u_centered(gram_matrix(features)) if len(features) >= 4 else None


def hsic_matrix(
    first: Float64[Tensor, "layer image image"], second: Float64[Tensor, "layer_ image image"] | None = None
) -> Float64[Tensor, "layer layer_"]:
    """HSIC_1 of every U-centred Gram matrix in `first` with every one in `second` (default: `first`), for one batch.

    Sums of these matrices over batches are what `cka` wants.
    """
    other = first if second is None else second
    count = first.shape[-1]
    return first.flatten(1) @ other.flatten(1).T / (count * (count - 3))


def cka(
    cross: Float64[Tensor, "layer layer_"], first: Float64[Tensor, " layer"], second: Float64[Tensor, " layer_"]
) -> Float64[Tensor, "layer layer_"]:
    """CKA from sums over batches: `cross` of HSIC_1(K, L), `first` of HSIC_1(K, K), `second` of HSIC_1(L, L).

    Not a number where a layer's features do not vary between images: there is nothing to compare.
    """
    scale = (first.clamp_min(0)[:, None] * second.clamp_min(0)[None, :]).sqrt()
    return torch.where(scale > 0, cross / scale, torch.nan)


def _flatten(features: Tensor) -> Tensor:
    """One row per image; the order of features is free, so a channels-last map is not copied."""
    if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
        features = features.permute(0, 2, 3, 1)
    return features.flatten(1) if features.ndim > 1 else features[:, None]
