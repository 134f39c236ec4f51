"""Which way features move when part of an image is masked, and whether they move the same way in several images.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.3: Δ = Σ H(sign ε_i, sign ε_j) over pairs of images. The sign has three
values, and the numbers of their table 1 are below 0.11, so they must be means over dimensions and pairs; that reading is taken. The
correction for chance is Cohen's 1960 ("A coefficient of agreement for nominal scales", eq. 1), which is ours here.
"""

import torch
from jaxtyping import Float, Float64, Int8, Int64
from torch import Tensor

NOISE_LEVEL = 1e-5  # of the features' root mean square: less is no change, only rounding


def change_signs(
    change: Float[Tensor, "*look image feature"], whole: Float[Tensor, "image feature"]
) -> Int8[Tensor, "*look image feature"]:
    """-1, 0 or 1 for each feature of each image; `whole` are the features of the images as they are."""
    floor = NOISE_LEVEL * whole.double().square().mean(1, keepdim=True).sqrt()
    return (change > floor).to(torch.int8) - (change < -floor).to(torch.int8)


def sign_disagreement(signs: Int8[Tensor, "*look image feature"]) -> Float64[Tensor, "*look pair"]:
    """The fraction of features whose signs differ, for each pair of images."""
    first, second = _image_pairs(signs)
    return (signs[..., first, :] != signs[..., second, :]).count_nonzero(-1).double() / signs.shape[-1]


def expected_disagreement(signs: Int8[Tensor, "*look image feature"]) -> Float64[Tensor, "*look pair"]:
    """The disagreement of each pair if each kept its number of -1, 0 and 1 but had them at features drawn at random."""
    share = torch.stack([(signs == sign).count_nonzero(-1) for sign in (-1, 0, 1)], -1).double() / signs.shape[-1]
    first, second = _image_pairs(signs)
    return 1 - (share[..., first, :] * share[..., second, :]).sum(-1)


def sign_kappa(signs: Int8[Tensor, "*look image feature"]) -> Float64[Tensor, "*look pair"]:
    """Cohen's kappa of each pair: 1 where all signs are equal, 0 where they agree as by chance; NaN where none could differ.

    A weak change leaves many features at zero, which lowers the disagreement by itself, but not this.
    """
    chance = expected_disagreement(signs)
    return (1 - sign_disagreement(signs) / chance).where(chance > 0, torch.nan)


def change_strength(
    change: Float[Tensor, "*look image feature"], whole: Float[Tensor, "image feature"]
) -> Float64[Tensor, "*look image"]:
    """How far the features moved, as a fraction of their length."""
    return change.double().norm(dim=-1) / whole.double().norm(dim=-1)


def _image_pairs(signs: Int8[Tensor, "*look image feature"]) -> tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]]:
    """The first and the second image of each pair."""
    first, second = torch.triu_indices(signs.shape[-2], signs.shape[-2], 1)
    return first, second
