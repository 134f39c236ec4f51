"""What units answer to most strongly at each checkpoint of a training: the patch, and its projection by the network of that moment.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, fig. 4.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from microtome.analyses.evolution.checkpoints import Checkpoint, load_checkpoint
from microtome.errors import Unmeasurable
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.projection import project_units, projection_colours, shown_channels
from microtome.instruments.strongest_patches import (
    PatchWindow,
    choose_units,
    crop_patch,
    crop_patches,
    grid_position,
    nonzero_peaks,
    patch_windows,
    shrunk_size,
)
from microtome.specimen import Specimen
from microtome.tally import Top

MAX_LAYERS = 4  # layers with images; all have values and places
AXES = {"axis": ["image", "row", "col"]}
Values = np.ndarray[Any, Any]


def units_over_training(
    specimen: Specimen,
    images: Images,
    names: Sequence[str],
    moments: Sequence[Checkpoint],
    tops: Sequence[Top],
    units: int,
    size: int,
) -> dict[str, Any]:
    """Arrays of every layer's strongest values and places (checkpoint, unit), and images of `units` of up to `MAX_LAYERS` layers.

    `tops` hold one place for each unit, one for each moment. The units are spread evenly over those that fire at the end. Patches and
    projections have sides of at most `size` px; projections are made under the deconvnet rule by the network of their moment.
    """
    seats = patch_windows(specimen, names)
    drawn = [
        names[place] for place in np.unique(np.linspace(0, len(names) - 1, min(MAX_LAYERS, len(names))).round().astype(int))
    ]
    moment = {"checkpoint": [checkpoint.name for checkpoint in moments]}
    arrays: dict[str, Any] = {}
    wanted: dict[str, tuple[Values, Values, Values]] = {}
    for name in names:
        value, image, cell = (np.concatenate(each) for each in zip(*(nonzero_peaks(top, name) for top in tops), strict=True))
        every = moment | {"unit": np.arange(value.shape[1])}
        place = np.stack([image, *grid_position(seats[name], cell)], 2)
        arrays[f"value/{name}"] = array(value, ("checkpoint", "unit"), "activation", every)
        arrays[f"place/{name}"] = array(place, ("checkpoint", "unit", "axis"), "place among the images, position", every | AXES)
        if name in drawn:
            shown = choose_units("spread", units, value[-1:], image[-1:], None)
            wanted[name] = shown, image[:, shown], cell[:, shown]
    back, rectifiers = _project_units(specimen, images, moments, wanted, seats, size)
    for name, (shown, image, cell) in wanted.items():
        patches = crop_patches(images, specimen.recipe, seats[name], image, cell, size)
        both = np.stack([patches, projection_colours(back[name])], 1).reshape(-1, *patches.shape[1:])
        rows = {"unit": [f"{unit} {what}" for unit in shown for what in ("patch", "projection")]}
        dims = ("unit", "checkpoint", "row", "col", "rgb")
        arrays[f"pair/{name}"] = array(both, dims, "8-bit grey levels", rows | moment, "patch, and its projection")
        arrays[f"projection/{name}"] = array(
            back[name], dims, "activation · slope by normalised pixel", {"unit": shown} | moment
        )
    arrays["rectifiers"] = array(
        [rectifiers[name] for name in wanted], ("part",), "rectifiers on the way", {"part": list(wanted)}, "rectifiers"
    )
    return arrays


def _project_units(
    specimen: Specimen,
    images: Images,
    moments: Sequence[Checkpoint],
    wanted: dict[str, tuple[Values, Values, Values]],
    seats: dict[str, PatchWindow],
    size: int,
) -> tuple[dict[str, Values], dict[str, float]]:
    """Projections float32 (unit, checkpoint, row, col, rgb) by layer, NaN where there is none, and how many rectifiers they passed.

    The number is not a number where rectifiers could not be followed, and zero where the projection is the plain gradient.
    """
    sides = {name: shrunk_size(seats[name].size, size) for name in wanted}
    projections = {
        name: np.full((len(shown), len(moments), *sides[name], 3), np.nan, np.float32) for name, (shown, _, _) in wanted.items()
    }
    rectifiers = {name: float("nan") for name in wanted}
    for place, moment in enumerate(moments):
        opened = load_checkpoint(specimen, moment)
        for name, (shown, image, cell) in wanted.items():
            there = np.flatnonzero(image[place] >= 0)
            if not len(there):
                continue
            pixels = images.inputs(specimen.recipe, image[place, there])
            x = specimen.recipe.normalise(torch.from_numpy(pixels).to(specimen.device))
            cells = torch.from_numpy(cell[place, there])
            try:
                made = project_units(opened, name, x, torch.from_numpy(shown[there]), cells, "deconvnet")
            except Unmeasurable:  # rectifiers that cannot be followed: the caller says so by the missing number
                continue
            rectifiers[name] = float(made.passage.rectifiers)
            for unit, projected, at in zip(there, made.pixels, cells, strict=True):
                projections[name][unit, place] = _crop_window(images, projected, seats[name], int(at), sides[name])
    return projections, rectifiers


def _crop_window(images: Images, pixels: torch.Tensor, window: PatchWindow, at: int, size: tuple[int, int]) -> Values:
    """The window of a position cut out of `pixels` (rgb, row, col) and averaged down to `size`, as (row, col, rgb)."""
    row, col = grid_position(window, np.array(at))
    shown = shown_channels(pixels, images).permute(1, 2, 0).numpy()
    part = torch.from_numpy(crop_patch(shown, window, int(row), int(col), (0, 0, 0)))
    return F.interpolate(part.permute(2, 0, 1)[None], size=size, mode="area")[0].permute(1, 2, 0).numpy()
