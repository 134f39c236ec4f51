"""The warped images themselves, and a few of them one by one beside their mean, as figure 5 of Zeiler & Fergus has them."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from torch.nn.functional import interpolate

from microtome.analyses.invariance.plan import WarpPlan
from microtome.analyses.invariance.summary import identity_amount, view_column
from microtome.analyses.invariance.warps import WARPS, Border, Warp, warp_images
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.strongest_patches import mean_levels
from microtome.numerics.statistics.intervals import nan_mean
from microtome.panels import Curve, Grid, Panel
from microtome.specimen import Recipe
from microtome.tally import Rows

SHOWN_AMOUNTS, THUMBNAIL_SIDE = 5, 64  # amounts shown of each warp, px of the longest side
EXAMPLE_IMAGES = 5  # shown one by one
PAPER_WARPS: tuple[Warp, ...] = ("row_shift", "scale", "rotation")  # the rows of the paper's figure
PAPER_LAYERS = ("shallow", "deep")  # its layers 1 and 7: here the first that is measured, and the last before the output


def followed_warps(plan: WarpPlan) -> list[Warp]:
    """The warps that images are followed through one by one: those of the paper's figure, or all where none of them is asked for."""
    asked: list[Warp] = [warp for warp in plan.amounts if warp != "flip"]
    return [warp for warp in asked if warp in PAPER_WARPS] or asked


def example_indices(count: int) -> list[int]:
    """Which of `count` images are shown one by one: `EXAMPLE_IMAGES`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(EXAMPLE_IMAGES, count)).round().astype(int)).tolist()


def example_arrays(plan: WarpPlan, rows: Rows, images: Images) -> dict[str, xr.DataArray]:
    """Distances of the first and the last layer and the probability of each of a few images, and the means over all."""
    some = example_indices(len(images))
    coords = {"image": [images.names[place] for place in some]}
    deep = max(len(plan.names) - 2, 0)
    columns: dict[str, Any] = {"shallow": rows.column("distance")[:, :, 0], "deep": rows.column("distance")[:, :, deep]}
    if (rows.column("answer") >= 0).any():
        columns["probability"] = rows.column("chance")
    arrays: dict[str, xr.DataArray] = {}
    for warp in followed_warps(plan):
        amounts = {"amount": list(plan.amounts[warp])}
        for name, column in columns.items():
            # A distance to the unmoved image is 0 for what moves nothing; the probability of the unmoved one has a column.
            every = np.stack([_column_values(plan, column, warp, amount, name) for amount in plan.amounts[warp]], axis=1)
            unit, title = ("1", "probability") if name == "probability" else ("fraction of the norm", "distance")
            arrays[f"each_{name}/{warp}"] = array(every[some], ("image", "amount"), unit, coords | amounts, title)
            over = nan_mean(np.where(np.isfinite(every), every, np.nan).T)
            arrays[f"mean_{name}/{warp}"] = array(over, ("amount",), unit, amounts, f"mean of {len(every)}")
    arrays["followed"] = array(
        np.array([plan.names[0], plan.names[deep]], dtype=object), ("part",), "text", {"part": list(PAPER_LAYERS)}
    )
    return arrays


def _column_values(plan: WarpPlan, column: Any, warp: Warp, amount: float, name: str) -> Any:
    if name != "probability" and amount == identity_amount(warp):
        return np.zeros(len(column))
    return view_column(plan, column, warp, amount)


def thumbnails(
    plan: WarpPlan, recipe: Recipe, larger: Recipe, images: Images, warp: Warp, border: Border, some: Sequence[int]
) -> Any:
    """The images at `some` places under a few amounts of one warp, small: uint8 (image, amount, row, col, rgb).

    `larger` is the recipe of the images that what comes in at the border is cut from, `recipe` the network's own.
    """
    x = torch.from_numpy(images.pixels(larger, list(some))).permute(0, 3, 1, 2).float()
    grey = torch.tensor(mean_levels(recipe))[None, :, None, None]
    share = min(1.0, THUMBNAIL_SIDE / max(plan.size))
    size = [max(1, round(side * share)) for side in plan.size]
    tiles = [
        interpolate(warp_images(x - grey, warp, amount, border, plan.size) + grey, size=size, mode="area")
        for amount in shown_amounts(plan, warp)
    ]
    return torch.stack(tiles, dim=1).round().clamp(0, 255).byte().permute(0, 1, 3, 4, 2).numpy()


def shown_amounts(plan: WarpPlan, warp: Warp) -> list[float]:
    """A few of the amounts of a warp, from the smallest to the largest."""
    amounts = plan.amounts[warp]
    return [amounts[place] for place in np.linspace(0, len(amounts) - 1, SHOWN_AMOUNTS).round().astype(int)]


def image_panels(finding: Finding) -> list[Panel]:
    """For each warp that images are followed through: the images, the two distances, the probability."""
    title = finding.facts["class"]
    panels: list[Panel] = []
    ends = dict(zip(PAPER_LAYERS, map(str, finding["followed"].values), strict=True))
    for warp in [name.split("/")[1] for name in finding.arrays if name.startswith("pictures/")]:
        word, unit = warp.replace("_", " "), WARPS[cast(Warp, warp)][0]
        panels.append(
            Grid(title=f"Images by {word}", z=f"pictures/{warp}", across="amount", down="image", note=f"Amount: {unit}.")
        )
        for end, layer in ends.items():
            if end == "deep" and layer == ends["shallow"]:
                continue
            panels.append(
                Curve(title=f"Image by image: distance at {layer} by {word}", y=(f"each_{end}/{warp}",), x="amount", by="image",
                      null=(f"mean_{end}/{warp}",), note=f"Amount: {unit}. Dashed: the mean over all images.")
            )  # fmt: skip
        if f"each_probability/{warp}" in finding:
            panels.append(
                Curve(title=f"Image by image: probability by {word}", y=(f"each_probability/{warp}",), x="amount", by="image",
                      null=(f"mean_probability/{warp}",), note=f"Of {title}; amount: {unit}. Dashed: the mean over all images.")
            )  # fmt: skip
    return panels
