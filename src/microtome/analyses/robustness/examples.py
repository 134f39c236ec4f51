"""The first image under every corruption and sweep, small, as figures show it."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr

from microtome.analyses.robustness.conditions import Condition, Pixels
from microtome.finding import array
from microtome.images import Images
from microtome.images.corruptions import corrupt
from microtome.images.corruptions.sweeps import ON_INPUT, SWEEPS, sweep_pixels
from microtome.specimen import Specimen

SIDE = 96  # px, the longest side shown


def example_images(specimen: Specimen, images: Images, conditions: Sequence[Condition], seed: int) -> dict[str, xr.DataArray]:
    """`pictures` (corruption, severity, row, col, rgb), and one array (amount, row, col, rgb) for each sweep of pixels."""
    pixels = images.pixels(specimen.recipe, [0])
    arrays: dict[str, xr.DataArray] = {}
    names = list(dict.fromkeys(each.name for each in conditions if not each.is_sweep))
    if names:
        severities = sorted({int(each.amount) for each in conditions if not each.is_sweep})
        tiles = np.stack([[_small(corrupt(pixels, name, severity, seed)) for severity in severities] for name in names])
        coords = {"corruption": names, "severity": severities}
        arrays["pictures"] = array(tiles, ("corruption", "severity", "row", "col", "rgb"), "8-bit grey levels", coords)
    for name in dict.fromkeys(each.name for each in conditions if each.is_sweep and each.name not in ON_INPUT):
        amounts = sorted({SWEEPS[name][0], *SWEEPS[name][1]})
        tiles = np.stack([_small(sweep_pixels(pixels, name, amount)) for amount in amounts])
        arrays[f"pictures/{name}"] = array(tiles, ("amount", "row", "col", "rgb"), "8-bit grey levels", {"amount": amounts})
    return arrays


def _small(pixels: Pixels) -> Pixels:
    """The first image (row, col, rgb), at most `SIDE` px a side."""
    x = torch.from_numpy(pixels[:1]).permute(0, 3, 1, 2).float()
    factor = min(1.0, SIDE / max(x.shape[2:]))
    size = [max(1, round(side * factor)) for side in x.shape[2:]]
    return F.interpolate(x, size=size, mode="area")[0].round().byte().permute(1, 2, 0).numpy()
