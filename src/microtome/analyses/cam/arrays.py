"""The arrays of a finding of `cam`, from the maps of its batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.errors import option_hint
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.attribution import INPUT, VisibleLayers, mean_rank_correlation, offset_px
from microtome.instruments.attribution.drawing import draw_map, positive_part, resample_positive
from microtome.instruments.shown_images import image_arrays
from microtome.instruments.untrained_twins import TWINS, over_twins
from microtome.key_numbers import format_value
from microtome.numerics.maps.heat import energy_inside, heat_coverage
from microtome.numerics.maps.strata import edge_strength
from microtome.numerics.statistics.intervals import nan_mean
from microtome.specimen import Specimen

OVERLAY_GRID = 56  # positions, longest side of the interpolated maps
TITLES = {
    "probability": ("1", "probability of the target"),
    "region": ("fraction of the image", "region whose scores were added"),
    "similarity": ("1", "cosine similarity to the reference"),
    "gap": ("fraction of the difference", "what the sum of the map misses of the target's difference between image and grey"),
}


@dataclass
class BatchMaps:
    """The maps of a batch, one row for each image: signed, (image, row, col), by layer; and columns of the table of targets."""

    index: np.ndarray[Any, Any]
    pixels: np.ndarray[Any, Any]
    columns: Mapping[str, Any]
    maps: dict[str, Tensor]
    other: dict[str, Tensor]
    twin: dict[str, Tensor]
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])


def to_arrays(
    specimen: Specimen, taken: Images, shown: VisibleLayers, parts: list[BatchMaps], grid: int, rival: str, twins: int
) -> dict[str, xr.DataArray]:
    """All arrays; `rival` says with whose maps those of the target are compared, `twins` how many the images were shown to in turn."""
    order = np.argsort(np.concatenate([part.index for part in parts]), kind="stable")  # the classes of an image side by side
    index = np.concatenate([part.index for part in parts])[order]
    columns = {name: np.concatenate([np.asarray(part.columns[name]) for part in parts])[order] for name in parts[0].columns}
    pixels = np.concatenate([part.pixels for part in parts])[order]
    maps, other, twin = (
        {name: torch.cat([getattr(part, kind)[name] for part in parts])[order] for name in shown.names}
        for kind in ("maps", "other", "twin")
    )
    images = {"image": _map_names(taken, index, columns["target"].tolist())}
    both = images | {"layer": list(shown.names)}
    masks = taken.masks(specimen.recipe, index) if taken.has_masks else None
    arrays = image_arrays(pixels, masks, images) | _target_arrays(taken, index, columns, images)
    arrays |= _map_arrays(maps, shown, pixels.shape[1:3], grid, images, both)
    arrays |= _sanity_arrays(maps, other, twin, pixels, shown, grid, rival)
    if masks is not None:
        arrays |= _mask_arrays(maps, twin, shown, masks, both)
        arrays |= _twin_energy_arrays(arrays.pop("twin_energy_in_mask"), index, twins)
    return arrays


def _target_arrays(taken: Images, index: Any, columns: Mapping[str, Any], images: dict[str, Any]) -> dict[str, xr.DataArray]:
    """The table of targets: the label, what was predicted, what the map is for, and how strong that is."""
    words = taken.titles or taken.classes
    known = taken.labels[index] if taken.labels is not None else np.full(len(index), -1)
    labels = [words[label] if words and label >= 0 else "unknown" for label in known]
    arrays = {"label": array(np.array(labels, dtype=object), ("image",), "text", images)}
    for name, values in columns.items():
        unit, title = TITLES.get(name, ("text", ""))
        arrays[name] = array(values.astype(object) if unit == "text" else values, ("image",), unit, images, title)
    return arrays


def overlay_grid(size: tuple[int, int], longest: int = OVERLAY_GRID) -> tuple[int, int]:
    """(rows, cols) in the proportion of an image of `size` px, the longer side with so many positions."""
    return max(1, round(longest * size[0] / max(size))), max(1, round(longest * size[1] / max(size)))


def _map_arrays(
    maps: dict[str, Tensor], shown: VisibleLayers, size: Any, grid: int, images: Any, both: Any
) -> dict[str, xr.DataArray]:
    size = (int(size[0]), int(size[1]))
    fine = OVERLAY_GRID if shown.sigma else min(OVERLAY_GRID, max(max(value.shape[1:]) for value in maps.values()))
    smooth_grid = size if INPUT in shown.names else overlay_grid(size, fine)
    heats = {name: value.relu() for name, value in maps.items()}
    common = torch.stack([resample_positive(shown, name, maps[name], size, (grid, grid)) for name in shown.names], 1)
    drawn = [draw_map(shown, name, positive_part(shown, name, maps[name]), size, smooth_grid).relu() for name in shown.names]
    smooth = torch.stack(drawn, 1)
    peak = torch.stack([heats[name].amax((1, 2)) for name in shown.names], 1)
    peak = torch.minimum(peak, smooth.amax((2, 3)).to(peak)) if shown.sigma else peak
    dims = ("image", "layer", "row", "col")
    arrays = {
        "heat": array(common.float().numpy(), dims, "score", both, "positive evidence, mean at each position of a common grid"),
        "smooth": array(smooth.float().numpy(), dims, "score", both, "positive evidence, interpolated for drawing"),
        "peak": array(peak.numpy(), ("image", "layer"), "score", both),
        "empty": array((peak <= 0).numpy(), ("image", "layer"), "1", both),
    }
    for percent in (50, 90):
        spread = torch.stack([heat_coverage(common[:, place], percent / 100) for place in range(len(shown.names))], 1)
        arrays[f"coverage{percent}"] = array(spread.numpy(), ("image", "layer"), "fraction of the image", both)
    for name in shown.names:
        arrays[f"heat/{name}"] = array(heats[name].float().numpy(), ("image", "row", "col"), "score", images)
        extent = np.tile(shown.where[name].extent(size), (len(heats[name]), 1))
        sides = {"axis": ["top", "bottom", "left", "right"]}
        arrays[f"extent/{name}"] = array(extent, ("image", "axis"), "fraction of the image", images | sides)
    return arrays


def _sanity_arrays(
    maps: dict[str, Tensor],
    other: dict[str, Tensor],
    twin: dict[str, Tensor],
    pixels: Any,
    shown: VisibleLayers,
    grid: int,
    rival: str,
) -> dict[str, xr.DataArray]:
    """Mean rank correlations of the signed maps with what should differ from them."""
    edges = torch.from_numpy(edge_strength(pixels))
    rivals = {"class_correlation": other, "twin_correlation": twin, "edge_correlation": edges}
    titles = {
        "class_correlation": rival,
        "twin_correlation": "random weights",
        "edge_correlation": "edges of the image",
    }
    coords = {"layer": list(shown.names)}
    rows = {
        name: mean_rank_correlation(maps, rival_maps, shown, (pixels.shape[1], pixels.shape[2]), grid)
        for name, rival_maps in rivals.items()
    }
    arrays = {name: array(row, ("layer",), "rank correlation", coords, titles[name]) for name, row in rows.items()}
    opposite = 1 - np.array(rows["class_correlation"])
    return arrays | {"class_sensitivity": array(opposite, ("layer",), "1", coords, f"1 - correlation with the {rival}")}


def _mask_arrays(
    maps: dict[str, Tensor], twin: dict[str, Tensor], shown: VisibleLayers, masks: Any, both: Any
) -> dict[str, xr.DataArray]:
    wanted = torch.from_numpy(masks)
    size = (int(wanted.shape[1]), int(wanted.shape[2]))
    area = wanted.double().mean((1, 2)).where(wanted.flatten(1).any(1), torch.nan)
    own, null = (
        torch.stack(
            [energy_inside(resample_positive(shown, name, signed[name], size, size), wanted)[0] for name in shown.names], 1
        )
        for signed in (maps, twin)
    )
    own, null = (energy.where(~area.isnan()[:, None], torch.nan) for energy in (own, null))
    layers = {"layer": both["layer"]}
    even = np.full(len(shown.names), float(area.nanmean()))
    return {
        "energy_in_mask": array(own.numpy(), ("image", "layer"), "fraction of the energy", both),
        "area": array(area.numpy(), ("image",), "fraction of the image", {"image": both["image"]}),
        "energy": array(own.nanmean(0).numpy(), ("layer",), "fraction of the energy", layers, title="energy on the object"),
        "twin_energy_in_mask": array(null.numpy(), ("image", "layer"), "fraction of the energy", both),
        "mean_area": array(even, ("layer",), "fraction of the energy", layers, title="an even map"),
    }


def _twin_energy_arrays(energy: xr.DataArray, index: np.ndarray[Any, Any], twins: int) -> dict[str, xr.DataArray]:
    """The energy on the object, mean over the untrained twins, with the smallest and the largest; each twin's is over its own images."""
    layers = {"layer": energy.coords["layer"].values}
    turns = [energy.values[index % twins == number] for number in range(twins)] or [energy.values]
    runs = [
        {"twin_energy": array(nan_mean(turn.T), ("layer",), "fraction of the energy", layers, title=TWINS)} for turn in turns
    ]
    return over_twins(runs, least=1)


def _map_names(images: Images, index: Any, classes: Sequence[str]) -> list[str]:
    """One name for each map: the image's, with the class where an image is shown more than once."""
    names = images.names
    several = len(set(index.tolist())) < len(index)
    return [f"{names[at]} · {title}" if several else names[at] for at, title in zip(index, classes, strict=True)]


def place_remark(shown: VisibleLayers, name: str, size: tuple[int, int]) -> str:
    """What to know about where the positions of a layer are drawn; empty where there is nothing."""
    where = shown.where[name]
    if not where.exact:
        return "its positions are assumed to tile the image evenly, since an operation before it cannot be followed."
    apart, off = max(where.row.spread, where.col.spread), offset_px(where, size)
    if apart > where.row.jump / 2:
        return f"its paths differ by {format_value(apart, 'px')}; positions are drawn at their mean."
    if off > where.row.jump / 4:
        # measured on trained networks: what a position responds to lies between the arithmetic and an even tiling
        return (
            f"kernels and padding shift its positions {format_value(off, 'px')} off an even tiling; "
            f"training may undo it ({option_hint('place', 'even')})."
        )
    return ""
