"""The arrays of an occlusion finding: losses, labels in colours, loss on the object and elsewhere."""

from math import gcd
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analyses.occlusion.maps import MEASURES, OccluderGrid, OcclusionMaps
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.shown_images import image_arrays, output_name
from microtome.instruments.untrained_twins import NO_VERDICT, over_twins, split_turns, stack_twins, verdicts
from microtome.numerics.maps.heat import rank_correlation
from microtome.numerics.maps.occluders import centres, mask_coverage, object_contrast
from microtome.numerics.statistics.intervals import mean_interval, nan_mean
from microtome.prose import plural
from microtome.specimen import Specimen

# Okabe & Ito's colours, which most colour-blind people tell apart, and two more; the last is for all labels beyond
COLOURS = {
    "orange": (230, 159, 0), "sky blue": (86, 180, 233), "green": (0, 158, 115), "yellow": (240, 228, 66), "blue": (0, 114, 178),
    "red": (213, 94, 0), "pink": (204, 121, 167), "black": (30, 30, 30), "brown": (140, 86, 75), "light grey": (210, 210, 210),
}  # fmt: skip


def occlusion_arrays(
    own: OcclusionMaps,
    null: OcclusionMaps | None,
    places: OccluderGrid,
    masks: Any,
    specimen: Specimen,
    taken: Images,
    pixels: Any,
    twins: int,
    withheld: str,
) -> dict[str, xr.DataArray]:
    """The maps of the network and of its untrained twins, and what they lose on the object and elsewhere.

    Each image's map in `null` is of one of the `twins`, in turn; None where there are none. `withheld` is why no verdict is given.
    """
    null = null or own  # a stand-in: `Analysis.conclude` takes out what bears the twins' name where there are none
    images = {"image": list(taken.names)}
    shape = (int(pixels.shape[1]), int(pixels.shape[2]))
    middles = [centres(first, places.size, side) for first, side in zip((places.rows, places.cols), shape, strict=True)]
    at = images | {"row": middles[0], "col": middles[1]}
    left = [min(places.size, side - int(first[-1])) for first, side in zip((places.rows, places.cols), shape, strict=True)]
    dims = ("image", "row", "col")
    measures = {"measure": list(MEASURES)}
    arrays = {
        "activity": array(own.activity.numpy(), dims, "activation", at, "sum of the strongest map"),
        "probability": array(own.probability.numpy(), dims, "1", at, "probability of the target class"),
        "label": array(own.label.numpy(), dims, "output number", at, "most probable label"),
    }
    arrays["last_side"] = array(left, ("axis",), "px", {"axis": ["row", "col"]}, "side of the last occluder")
    arrays |= image_arrays(pixels, masks, images)
    arrays |= _loss_arrays(own, null, places, shape, at, images | measures)
    words = np.array([output_name(specimen, int(output)) for output in own.clean_label], dtype=object)
    arrays["clean_label"] = array(words, ("image",), "text", images, "without occluder: most probable")
    arrays["clean_probability"] = array(own.clean_probability.numpy(), ("image",), "1", images, "without occluder: probability")
    arrays["clean_activity"] = array(own.clean_activity.numpy(), ("image",), "activation", images)
    arrays["lowest"] = array(own.probability.amin((1, 2)).numpy(), ("image",), "1", images, "at the worst position")
    arrays["extent"] = array(_map_extent(places, shape, len(pixels)), ("image", "axis"), "fraction of the image", images | {
        "axis": ["top", "bottom", "left", "right"]
    })  # fmt: skip
    arrays |= _label_arrays(own.label, at, specimen)
    return (
        arrays
        if masks is None
        else arrays
        | _object_arrays(
            own,
            null,
            mask_coverage(torch.from_numpy(masks), places.rows, places.cols, places.size),
            images | measures,
            twins,
            withheld,
        )
    )


def _loss_arrays(
    own: OcclusionMaps,
    null: OcclusionMaps,
    places: OccluderGrid,
    shape: tuple[int, int],
    at: dict[str, Any],
    coords: dict[str, Any],
) -> dict[str, xr.DataArray]:
    """What each occluder position costs the network and its twins, how often the label changes, and how alike both maps are."""
    arrays: dict[str, xr.DataArray] = {}
    for prefix, maps in (("", own), ("twin_", null)):
        lost = maps.losses()
        arrays[f"{prefix}lost"] = array(lost.float().numpy(), ("image", "measure", "row", "col"), "fraction", at | coords)
        cells = overlay_cells(lost.float().numpy(), places, shape)
        if cells is not None:
            title = "loss, each position as far as its occluder reaches"
            arrays[f"{prefix}covered"] = array(cells, ("image", "measure", "row", "col"), "fraction", coords, title)
        changed = (maps.label != maps.clean_label[:, None, None]).double().mean((1, 2))
        title = "label changes" + (" (untrained twins)" if prefix else "")
        arrays[f"{prefix}changed"] = array(
            changed.numpy(), ("image",), "fraction of positions", {"image": coords["image"]}, title
        )
    correlations = [
        float(rank_correlation(own.losses()[:, m].flatten(1), null.losses()[:, m].flatten(1)).nanmean())
        for m in range(len(MEASURES))
    ]
    arrays["twin_correlation"] = array(
        correlations, ("measure",), "rank correlation", {"measure": coords["measure"]}, "with the map of random weights"
    )
    return arrays


def _cell_sides(first: np.ndarray[Any, Any], size: int, side: int) -> tuple[int, int]:
    """Px that a position takes in the overlay, and that the last one takes: centred on what the occluder covers, cut or whole."""
    step = int(first[1] - first[0]) if len(first) > 1 else size
    return step, step - max(0, int(first[-1]) + size - side)


def _map_extent(places: OccluderGrid, shape: tuple[int, int], count: int) -> np.ndarray[Any, Any]:
    """Outer edges of the maps as fractions of the image (image, axis): each position is centred on what its occluder covers."""
    edges: list[float] = []
    for first, side in ((places.rows, shape[0]), (places.cols, shape[1])):
        step, last = _cell_sides(first, places.size, side)
        near = (places.size - step) / 2
        edges += [near / side, (near + step * (len(first) - 1) + last) / side]
    return np.tile(np.array(edges), (count, 1))


def overlay_cells(values: np.ndarray[Any, Any], places: OccluderGrid, shape: tuple[int, int]) -> np.ndarray[Any, Any] | None:
    """Maps (…, row, col) by position, drawn out into a finer even grid (…, row, col) in which a cut occluder has a smaller part.

    None where no occluder is cut: then the positions themselves are an even grid.
    """
    sides = [_cell_sides(first, places.size, side) for first, side in zip((places.rows, places.cols), shape, strict=True)]
    if all(step == last for step, last in sides):
        return None
    for axis, (first, (step, last)) in enumerate(zip((places.rows, places.cols), sides, strict=True)):
        unit = gcd(step, last)
        repeats = np.full(len(first), step // unit)
        repeats[-1] = last // unit
        values = np.repeat(values, repeats, axis=values.ndim - 2 + axis)
    return values


def _label_arrays(label: Tensor, at: dict[str, Any], specimen: Specimen) -> dict[str, xr.DataArray]:
    """The label maps in a few colours, and the legend: the most frequent labels first."""
    values, counts = label.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[: len(COLOURS) - 1]
    names, shades = list(COLOURS), np.array(list(COLOURS.values()), dtype=np.uint8)
    colour = torch.full_like(label, len(COLOURS) - 1)
    for rank, place in enumerate(order):
        colour[label == values[place]] = rank
    texts = [output_name(specimen, int(values[place])) for place in order]
    fractions = [float((colour == rank).double().mean()) for rank in range(len(texts))]
    if len(values) > len(texts):
        texts.append(f"{plural(len(values) - len(texts), 'other')}")
        fractions.append(float((colour == len(COLOURS) - 1).double().mean()))
        shown = [*names[: len(texts) - 1], names[-1]]
    else:
        shown = names[: len(texts)]
    coords = {"rank": list(range(1, len(texts) + 1))}
    return {
        "label_colour": array(shades[colour.numpy()], ("image", "row", "col", "rgb"), "level", at),
        "legend": array(np.array(texts, dtype=object), ("rank",), "text", coords, "label"),
        "legend_colour": array(np.array(shown, dtype=object), ("rank",), "text", coords, "colour"),
        "legend_share": array(fractions, ("rank",), "fraction of positions", coords, "of all"),
    }


def _object_arrays(
    own: OcclusionMaps, null: OcclusionMaps, coverage: Tensor, coords: dict[str, Any], twins: int, withheld: str
) -> dict[str, xr.DataArray]:
    """Means over images of the loss on the object and elsewhere, by measure; the lift has an interval and a verdict."""
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    for prefix, maps in (("", own), ("twin_", null)):
        lost = maps.losses()
        for m in range(len(MEASURES)):
            for name, values in object_contrast(lost[:, m], coverage).items():
                rows.setdefault(prefix + name, []).append(values.numpy())
    each = {name: np.stack(values) for name, values in rows.items()}  # (measure, image)
    measures = {"measure": coords["measure"]}
    titles = {"inside": "on the object", "outside": "elsewhere"}
    arrays: dict[str, xr.DataArray] = {}
    for name, values in each.items():
        title = titles.get(name.removeprefix("twin_"), name) + (" (untrained twins)" if name.startswith("twin_") else "")
        arrays[name] = array(nan_mean(values), ("measure",), "fraction", measures, title)
    intervals = [mean_interval(row) for row in each["lift"]]
    for end in ("low", "high"):
        arrays[f"lift_{end}"] = array([getattr(each, end) for each in intervals], ("measure",), "fraction", measures)
    runs = [
        {"twin_lift": array(nan_mean(turn.T), ("measure",), "fraction", measures, "lift (untrained twins)")}
        for turn in split_turns(each["twin_lift"].T, twins)
    ]
    against = [NO_VERDICT] * len(MEASURES)
    if runs:
        arrays |= over_twins(runs, least=1)
        against = verdicts(arrays["lift_low"], arrays["lift_high"], stack_twins(runs, "twin_lift"), withheld)
    arrays["lift_against_twins"] = array(np.array(against, dtype=object), ("measure",), "text", measures)
    arrays["known"] = array((~np.isnan(each["lift"])).sum(1), ("measure",), "images", measures)
    arrays["each_lift"] = array(each["lift"].T, ("image", "measure"), "fraction", coords)
    return arrays
