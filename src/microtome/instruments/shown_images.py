"""Images shown beside maps: their choice, their thumbnails, and the names of their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr

from microtome.errors import UnknownName, did_you_mean
from microtome.finding import array
from microtome.images import Images
from microtome.numerics.maps.strata import clutter_fraction, spread_over
from microtome.specimen import Specimen
from microtome.specimen.one_logit import SIDES

SHOWN_SIDE = 128  # px, longest side of the images kept
POOL_SIZE = 512  # images looked at when choosing by object size and clutter


def first_images(specimen: Specimen, images: Images, count: int = 4) -> torch.Tensor:
    """The first few images as the network takes them (image, rgb, row, col), to try something on."""
    few = torch.from_numpy(images.inputs(specimen.recipe, range(min(count, len(images)))))
    return specimen.recipe.normalise(few).to(specimen.device)


def choose_images(analysis: str, specimen: Specimen, images: Images, only: Sequence[str], count: int) -> list[int]:
    """Places of the images to show: those asked for, else spread over object size and clutter, else evenly spaced.

    Raises:
        UnknownName: `only` names an image that is not there; the message begins with `analysis`.
    """
    if only:
        names = list(images.names)
        for name in only:
            if name not in names and not (name.isdigit() and int(name) < len(images)):
                raise UnknownName(f"{analysis}: there is no image '{name}' among the {len(images)}.{did_you_mean(name, names)}")
        return [names.index(name) if name in names else int(name) for name in only]
    pool = np.flatnonzero(images.has_mask) if images.has_masks else np.arange(len(images))
    if len(pool) > POOL_SIZE:
        pool = pool[np.linspace(0, len(pool) - 1, POOL_SIZE).round().astype(int)]
    if not images.has_masks:
        return pool[np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))].tolist()
    masks = images.masks(specimen.recipe, pool)
    clutter = images.facts("clutter")
    known = clutter[pool] if clutter is not None else clutter_fraction(images.pixels(specimen.recipe, pool), masks)
    return pool[spread_over(masks.mean((1, 2)), known, min(count, len(pool)))].tolist()


def image_arrays(pixels: Any, masks: Any, images: dict[str, Any]) -> dict[str, xr.DataArray]:
    """`image` (image, row, col, rgb), the images as the network sees them, and their `mask`, at most `SHOWN_SIDE` px a side."""
    rows, cols = pixels.shape[1:3]
    share = min(1.0, SHOWN_SIDE / max(rows, cols))
    size = (max(1, round(rows * share)), max(1, round(cols * share)))
    small = F.interpolate(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), size=size, mode="area")
    arrays = {"image": array(small.round().byte().permute(0, 2, 3, 1).numpy(), ("image", "row", "col", "rgb"), "level", images)}
    if masks is not None:
        part = F.interpolate(torch.from_numpy(masks)[:, None].float(), size=size, mode="area")[:, 0]
        arrays["mask"] = array((part >= 0.5).numpy(), ("image", "row", "col"), "1", images)
    return arrays


def output_name(specimen: Specimen, output: int) -> str:
    """The name of an output: its first synonym, or its number."""
    labels = specimen.labels
    if specimen.outputs == 1 and len(labels or ()) != 2:
        return SIDES[output]
    return labels[output].split(",")[0] if labels and output < len(labels) else f"output {output}"
