"""The arrays of a finding on objects: means by size and clutter, over all images, and trends, each with its interval."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from microtome.finding import array
from microtome.instruments.untrained_twins import TWINS, over_twins, stack_twins, verdicts
from microtome.key_numbers import FRACTION
from microtome.numerics.maps.heat import THRESHOLDS
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, mean_interval, nan_mean
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.statistics.trends import relative_loss, relative_ranks, slope_interval
from microtome.tally import Rows

SIZES = (0.01, 0.04, 0.16, 0.36, 1.0)  # borders of the size bins, as fractions of the image
CLUTTERS: tuple[str, ...] = ("plain", "middle", "cluttered")  # thirds of the images
MIN_IMAGES = 10  # images: a bin with fewer has no number
OVERALL_MEASURES = (
    "accuracy",
    "lift",
    "ebpg",
    "area",
    "pointing_game",
    "iou",
    "centre_lift",
    "twin_lift",
    "coverage50",
    "coverage90",
)
TREND_MEASURES = {
    "accuracy by size": ("correct", "area", "fraction per doubling of the area"),
    "lift by size": ("lift", "area", "fraction per doubling of the area"),
    "centre lift by size": ("centre_lift", "area", "fraction per doubling of the area"),
    "accuracy by clutter": ("correct", "clutter", "fraction from the least to the most cluttered image"),
    "lift by clutter": ("lift", "clutter", "fraction from the least to the most cluttered image"),
}
LOSS_MEASURES = {"accuracy lost to clutter": "correct", "lift lost to clutter": "lift"}
Columns = dict[str, np.ndarray[Any, Any]]


def merge_columns(own: Rows, twins: Sequence[tuple[Rows, np.ndarray[Any, Any]]]) -> Columns:
    """What was measured, by name (image,): of the network, and of the untrained twins, each with the places of the images it was shown."""
    names = ("ebpg", "centre_ebpg", "pointing_game", "coverage50", "coverage90", "iou", "area", "peak", "correct", "clutter")
    columns = {name: own.column(name) for name in names}
    seen = columns["area"] > 0
    area = np.where(seen, columns["area"], np.nan)
    columns |= {"lift": columns["ebpg"] - area, "centre_lift": columns["centre_ebpg"] - area, "seen": seen, "area": area}
    columns |= {"twin_lift": np.full(len(area), np.nan), "twin_number": np.full(len(area), -1)}
    for number, (rows, places) in enumerate(twins):
        at = places[rows.index]
        columns["twin_lift"][at] = rows.column("ebpg") - area[at]
        columns["twin_number"][at] = number
    overlap = columns["iou"]
    known = ~np.isnan(overlap).all(1)
    best = int(overlap[known].mean(0).argmax()) if known.any() else 0
    columns["iou"] = overlap[:, best]
    columns["threshold"] = np.array(THRESHOLDS[best])
    return columns


def object_arrays(columns: Columns, seed: int, withheld: str) -> tuple[dict[str, xr.DataArray], dict[str, Any]]:
    """The arrays, and how many images went into them; `withheld` is why no verdict is given against the twins, or empty."""
    area, clutter, seen = columns["area"], columns["clutter"], columns["seen"]
    size_bin = np.where(area >= SIZES[0], np.searchsorted(SIZES[1:-1], np.nan_to_num(area), side="right"), -1)
    borders = np.nanquantile(clutter[seen], [1 / 3, 2 / 3]) if (seen & ~np.isnan(clutter)).any() else np.zeros(2)
    clutter_bin = np.where(np.isnan(clutter) | ~seen, -1, np.searchsorted(borders, np.nan_to_num(clutter), side="left"))
    sizes = [f"{low:.0%}–{high:.0%}" for low, high in pairwise(SIZES)]
    coords = {"size": sizes, "clutter": list(CLUTTERS)}
    bins = [[(size_bin == s) & (clutter_bin == c) for c in range(len(CLUTTERS))] for s in range(len(sizes))]
    right, lift = ([[_mean(columns[name], chosen) for chosen in row] for row in bins] for name in ("correct", "lift"))
    arrays = {
        "accuracy": array(right, ("size", "clutter"), FRACTION, coords, "accuracy"),
        "lift": array(lift, ("size", "clutter"), FRACTION, coords, "lift"),
        "count": array([[int(chosen.sum()) for chosen in row] for row in bins], ("size", "clutter"), "images", coords),
        "clutter_border": array(borders, ("bin",), "1"),
    }
    for dim, index, names in (("size", size_bin, sizes), ("clutter", clutter_bin, list(CLUTTERS))):
        arrays |= _marginal_arrays(columns, dim, [index == place for place in range(len(names))], names, seed)
    arrays |= _overall_arrays(columns, seed) | _trend_arrays(columns, clutter_bin, seed)
    arrays |= _twin_arrays(columns, arrays["overall_low"], arrays["overall_high"], withheld)
    for name in ("lift", "area", "clutter", "correct", "coverage50", "coverage90"):
        arrays[f"each_{name}"] = array(columns[name].astype(np.float64), ("image",), FRACTION)
    counts = {
        "images": int(seen.sum()),
        "cropped": int((~seen).sum()),
        "empty": int((seen & (columns["peak"] <= 0)).sum()),
        "tiny": int((seen & (area < SIZES[0])).sum()),
        "correct_count": int(np.nansum(columns["correct"])),
        "iou_threshold": float(columns["threshold"]),  # as a fraction of the largest value of a map
    }
    return arrays, counts


def _mean(values: np.ndarray[Any, Any], chosen: np.ndarray[Any, Any]) -> float:
    known = values[chosen & ~np.isnan(values)]
    return float(known.mean()) if len(known) >= MIN_IMAGES else float("nan")


def _marginal_arrays(columns: Columns, dim: str, bins: list[Any], names: list[str], seed: int) -> dict[str, xr.DataArray]:
    """Accuracy with exact intervals, lift with studentised ones, and the two baselines, in each bin of one dimension."""
    accuracy = [_accuracy_interval(columns["correct"][chosen]) for chosen in bins]
    lift = [_mean_interval(columns["lift"][chosen], seed) for chosen in bins]
    coords = {dim: names}
    arrays: dict[str, xr.DataArray] = {}
    for name, rows in (("accuracy", accuracy), ("lift", lift)):
        for part, suffix in enumerate(("", "_low", "_high")):
            arrays[f"{name}_by_{dim}{suffix}"] = array([row[part] for row in rows], (dim,), FRACTION, coords, title=name)
    for name, title in (("centre_lift", "blob in the centre"), ("twin_lift", TWINS)):
        means = [_mean(columns[name], chosen) for chosen in bins]
        arrays[f"{name}_by_{dim}"] = array(means, (dim,), FRACTION, coords, title=title)
    arrays[f"count_by_{dim}"] = array([int(chosen.sum()) for chosen in bins], (dim,), "images", coords)
    return arrays


def _accuracy_interval(right: np.ndarray[Any, Any]) -> Interval:
    known = right[~np.isnan(right)]
    return proportion_interval(int(known.sum()), len(known)) if len(known) >= MIN_IMAGES else UNKNOWN_INTERVAL


def _mean_interval(values: np.ndarray[Any, Any], seed: int) -> Interval:
    return mean_interval(values, seed=seed) if (~np.isnan(values)).sum() >= MIN_IMAGES else UNKNOWN_INTERVAL


def _median_interval(values: np.ndarray[Any, Any]) -> Interval:
    known = values[~np.isnan(values)]
    return median_interval(known) if len(known) >= MIN_IMAGES else UNKNOWN_INTERVAL


def _overall_arrays(columns: Columns, seed: int) -> dict[str, xr.DataArray]:
    """Means over all images with intervals; coverage is the median over correctly classified images (over all, where these are too few)."""
    right = columns["correct"] == 1
    kept = right if right.sum() >= MIN_IMAGES else np.ones(len(right), dtype=bool)
    rows: list[Interval] = []
    for name in OVERALL_MEASURES:
        if name == "accuracy":
            rows.append(_accuracy_interval(columns["correct"][columns["seen"]]))
        elif name.startswith("coverage"):
            rows.append(_median_interval(columns[name][kept]))
        elif (
            name == "twin_lift"
        ):  # images that one twin was shown are not independent: `_twin_arrays` gives the range over twins
            rows.append(Interval(float(nan_mean(columns[name])), np.nan, np.nan))
        else:
            rows.append(_mean_interval(columns[name], seed))
    coords = {"measure": list(OVERALL_MEASURES)}
    titles = ("value", "from", "to")
    return {
        f"overall{suffix}": array([row[part] for row in rows], ("measure",), FRACTION, coords, titles[part])
        for part, suffix in enumerate(("", "_low", "_high"))
    }


def _twin_arrays(columns: Columns, low: xr.DataArray, high: xr.DataArray, withheld: str) -> dict[str, xr.DataArray]:
    """The mean lift of the untrained twins with the smallest and the largest, and on which side of all of them the network's lies.

    Each twin was shown a part of the images, so its mean differs from the others' by more than its weights, and a verdict is cautious.
    """
    numbers = range(int(columns["twin_number"].max(initial=-1)) + 1)
    if not numbers:
        return {}
    means = [nan_mean(columns["twin_lift"][columns["twin_number"] == number]) for number in numbers]
    runs = [{"twin_lift": array(mean, (), FRACTION, title="lift of the untrained twins")} for mean in means]
    least, most = (float(end.sel(measure="lift")) for end in (low, high))
    against = verdicts(least, most, stack_twins(runs, "twin_lift"), withheld)[0]
    return {**over_twins(runs, least=1), "lift_against_twins": array(np.array(against, dtype=object), (), "text")}


def _trend_arrays(columns: Columns, clutter_bin: Any, seed: int) -> dict[str, xr.DataArray]:
    """Straight-line trends and relative losses with studentised intervals over images."""
    against = {"area": np.log2(columns["area"]), "clutter": relative_ranks(columns["clutter"])}
    rows = [slope_interval(columns[name], against[axis], MIN_IMAGES, seed) for name, axis, _ in TREND_MEASURES.values()]
    ends = clutter_bin == 0, clutter_bin == len(CLUTTERS) - 1
    rows += [relative_loss(columns[name], *ends, MIN_IMAGES, seed) for name in LOSS_MEASURES.values()]
    lost = "fraction lost from the plain to the cluttered third"
    units = [unit for *_, unit in TREND_MEASURES.values()] + [lost] * len(LOSS_MEASURES)
    coords = {"pair": [*TREND_MEASURES, *LOSS_MEASURES]}
    arrays = {
        f"slope{suffix}": array([row[part] for row in rows], ("pair",), "see slope_unit", coords, title)
        for part, (suffix, title) in enumerate((("", "trend"), ("_low", "from"), ("_high", "to")))
    }
    arrays["slope_unit"] = array(np.array(units, dtype=object), ("pair",), "text", coords)
    return arrays
