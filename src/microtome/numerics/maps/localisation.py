"""Every score of how well heat maps on one grid find an object, for a batch of maps and masks.

Source: energy-based pointing game, Wang et al. 2020, arXiv:1910.01279, sec. 4.3; pointing game, Zhang et al. 2016,
arXiv:1608.00507; overlap at a threshold, Choe et al. 2020, arXiv:2001.07437.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from microtome.numerics.maps.heat import THRESHOLDS, area_resample, centre_prior, energy_inside, heat_coverage, pointing_game


def localisation_scores(
    heat: Float[Tensor, "image row col"], masks: Bool[Tensor, "image row_ col_"], tolerance: float
) -> dict[str, Tensor]:
    """`ebpg`, `centre_ebpg`, `pointing_game`, `coverage50`, `coverage90`, `area`, `peak` (image) and `iou` (image, threshold).

    `ebpg` is the fraction of the heat in the mask, `centre_ebpg` that of a blob in the middle; `area` is the
    mask's part of the image; thresholds are those of `maps.THRESHOLDS`; `tolerance` of the pointing game is in pixels of the
    mask. Scores are not numbers for an empty map or mask.
    """
    seen = masks.flatten(1).any(1)
    inside, area = energy_inside(heat, masks)
    blob = centre_prior(heat.shape[1], heat.shape[2]).to(heat.device).expand(len(heat), -1, -1)
    scores = {
        "ebpg": inside,
        "centre_ebpg": energy_inside(blob, masks)[0],
        "pointing_game": pointing_game(heat, masks, tolerance),
        "coverage50": heat_coverage(heat, 0.5),
        "coverage90": heat_coverage(heat, 0.9),
        "iou": threshold_iou(heat, masks),
    }
    known = {name: score.where(seen.reshape(-1, *[1] * (score.dim() - 1)), torch.nan) for name, score in scores.items()}
    return known | {"area": area, "peak": heat.amax((1, 2))}


def threshold_iou(
    heat: Float[Tensor, "image row col"], masks: Bool[Tensor, "image row_ col_"], thresholds: tuple[float, ...] = THRESHOLDS
) -> Float64[Tensor, "image threshold"]:
    """Intersection over union of the mask and the positions at or above each fraction of the map's largest value.

    Counted by position with the mask's share in it, which is what painting every position on the pixels gives.
    """
    cells = heat.shape[1] * heat.shape[2]
    share = area_resample(masks.double(), (heat.shape[1], heat.shape[2])).flatten(1) * cells / masks[0].numel()
    flat = heat.flatten(1)
    largest = flat.max(1, keepdim=True).values
    tensors: list[Tensor] = []
    for threshold in thresholds:
        hot = (flat >= threshold * largest * (1 - 1e-9)).double()  # rounding of equal positions must not split a plateau
        both = (hot * share).sum(1)
        tensors.append(both / (hot.sum(1) + share.sum(1) - both))
    return torch.stack(tensors, 1).where(largest > 0, torch.nan)
