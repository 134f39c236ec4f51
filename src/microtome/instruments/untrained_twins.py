"""The untrained twins that a measurement is set against: several, calibrated on the images, and the words for what comes out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from microtome.images import Images
from microtome.key_numbers import FRACTION, UNKNOWN, KeyNumber, format_value
from microtome.numerics.statistics.twins import side_of_twins, twin_range
from microtome.specimen import Specimen
from microtome.specimen.learnt_tensors import fraction_of_weights
from microtome.specimen.twins import TWIN_COUNT as TWIN_COUNT
from microtome.specimen.twins import TWIN_IMAGES as TWIN_IMAGES

FIRST_SEED = 1  # of the first twin
ONE_TWIN = "one untrained twin"  # where there is no more
TWINS = "untrained twins"  # what a key number calls their mean, its baseline
MAX_UNCHANGED = 0.05  # of a twin's weights may be trained ones before no verdict is given against it
VERDICTS = {-1: "below all twins", 0: "within the twins' range", 1: "above all twins"}
NO_VERDICT = "no verdict"
NOT_MEASURED = "not measured"
WITHOUT_TWINS = "No untrained twin was measured (twins: 0), so nothing is compared with random weights."
TWIN_LABELS = ("twin", "untrained twin", TWINS)  # coordinates at which an array holds their numbers
LEAST = 2  # twins: nothing is said of one, but of those that are shown the images in turn


def untrained_twins(specimen: Specimen, images: Images | None, first: int = FIRST_SEED) -> Iterator[Specimen]:
    """The specimen's twins with seeds from `first` on, ready to run, calibrated on `images`; one by one, so that they may be large.

    As many as the run asks for (`Specimen.twin_count`, 5 by default). Where it asks for none, the network itself stands in once, so that
    analyses need not know: `over_twins`, `stack_twins` and `without_twins` make what would be a twin's number not a number.
    """
    if not specimen.twin_count:
        yield specimen
    for seed in range(first, first + specimen.twin_count):
        yield specimen.working_twin(images, seed)


def twins_in_turn(
    specimen: Specimen, images: Images | None, count: int, index: np.ndarray[Any, Any] | None = None
) -> Iterator[tuple[int, Specimen, np.ndarray[Any, Any]]]:
    """Number, untrained twin and the rows that it is shown, of the images at `index` among `count` (of all by default).

    Every image is shown to one twin, in turn, so that several cost no more than one that is shown all; not more twins than images.
    """
    parts = turn_count(specimen, count)
    places = np.arange(count) if index is None else index
    for number in range(parts):
        rows = np.flatnonzero(places % parts == number)
        if len(rows):
            yield number, specimen.working_twin(images, FIRST_SEED + number), rows


def turn_count(specimen: Specimen, count: int) -> int:
    """How many twins `twins_in_turn` gives for that many images."""
    return min(specimen.twin_count, count)


def split_turns(values: np.ndarray[Any, Any], parts: int) -> list[np.ndarray[Any, Any]]:
    """The rows that each of `parts` twins gave, where image after image was shown to them in turn."""
    return [values[number::parts] for number in range(parts)]


def twins_text(count: int) -> str:
    """What to call that many twins: nothing may be concluded from one, so it is called one."""
    return ONE_TWIN if count == 1 else TWINS


def range_text(low: float, high: float, missing: str = "") -> str:
    """The smallest and the largest of the twins: "0.12 to 0.34"; where they are not known, why."""
    if np.isnan(low) or np.isnan(high):
        return missing or UNKNOWN
    return f"{format_value(low)} to {format_value(high)}"


def facts_of_twins(specimen: Specimen) -> dict[str, Any]:
    """The record of this specimen's twins in a finding: their notes, and the fraction of their weights that is still trained."""
    if not specimen.twin_count:
        return {"count": 0}
    twin = next(iter(specimen.known_twins), None)
    if twin is None:
        return {}
    return {
        "count": specimen.twin_count,
        "notes": list(twin.remarks),
        "unchanged": fraction_of_weights(twin.net, twin.unchanged),
    }


def twin_count(origin: Mapping[str, Any]) -> int:
    """How many twins the finding of that origin was compared with."""
    return int((origin.get("twins") or {}).get("count", TWIN_COUNT))


def doubts_about_twins(facts: Mapping[str, Any] | None) -> list[str]:
    """A caveat where more of the twins' weights are trained than a comparison bears."""
    held = float((facts or {}).get("unchanged", 0.0))
    if held <= MAX_UNCHANGED:
        return []
    return [
        f"{format_value(held, FRACTION)} of the untrained twins' weights could not be drawn anew and are the network's own, so what is "
        "set against the twins here is no evidence."
    ]


def reason_for_no_verdict(specimen: Specimen, images: Images | None) -> str:
    """Why nothing may be concluded from the specimen's twins, as a clause; empty where it may."""
    if not specimen.twin_count:
        return "no untrained twin was measured (twins: 0)"
    twin = specimen.working_twin(images)
    held = fraction_of_weights(twin.net, twin.unchanged)
    if held <= MAX_UNCHANGED:
        return ""
    return f"{format_value(held, FRACTION)} of the untrained twins' weights could not be drawn anew ({', '.join(twin.unchanged[:3])})"


def over_twins(
    runs: Sequence[Mapping[str, xr.DataArray]], same: Sequence[str] = (), least: int = LEAST
) -> dict[str, xr.DataArray]:
    """Of each twin's arrays (`twin_x`) the mean over the twins, with `twin_x_low` and `twin_x_high`, the smallest and the largest.

    Arrays named in `same` are no measurement (how many images were seen) and are the first twin's. Of fewer than `least` runs nothing is
    a number: one stands in where there are no twins.
    """
    arrays: dict[str, xr.DataArray] = {}
    for name, first in runs[0].items():
        if name in same:
            arrays[name] = first
            continue
        stack = np.stack([np.asarray(run[name].values, dtype=np.float64) for run in runs])
        stack = stack if len(runs) >= least else np.full_like(stack, np.nan)
        for end, values in zip(("", "_low", "_high"), twin_range(stack), strict=True):
            arrays[name + end] = first.copy(data=values.astype(first.dtype if first.dtype.kind == "f" else np.float64))
        arrays[f"{name}_low"].attrs["title"] = "smallest of the untrained twins"
        arrays[f"{name}_high"].attrs["title"] = "largest of the untrained twins"
    return arrays


def stack_twins(runs: Sequence[Mapping[str, Any]], name: str) -> np.ndarray[Any, Any]:
    """That array of all twins: (twin, …); not numbers of one run alone, which stands in where there are no twins."""
    stack = np.stack([np.asarray(run[name], dtype=np.float64) for run in runs])
    return stack if len(runs) >= LEAST else np.full_like(stack, np.nan)


def without_twins(arrays: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """The arrays of a measurement without twins: what bears a twin's name, as an array or as a coordinate, is not a number.

    Texts of it say "not measured", verdicts stay. How many images were seen (`count`) is no measurement.
    """
    return {name: values if name == "count" else _without_twin(name, values) for name, values in arrays.items()}


def _without_twin(name: str, values: xr.DataArray) -> xr.DataArray:
    whole = "twin" in name.partition("/")[0]  # behind it stands a layer or a class
    places = {
        dim: np.isin(values.coords[dim].values.astype(str), TWIN_LABELS)
        for dim in values.dims
        if dim in values.coords and values.coords[dim].dtype.kind in "UO"
    }
    places = {dim: marked for dim, marked in places.items() if marked.any()}
    if not whole and not places:
        return values
    data = values.values
    if data.dtype.kind in "UO":
        blank, data = np.array(NOT_MEASURED, dtype=object), data.astype(object)
        whole = whole and not bool(np.isin(data.astype(str), [*VERDICTS.values(), NO_VERDICT]).any())
    elif "rgb" in values.dims:
        blank = np.array(128, dtype=data.dtype)  # grey
    else:
        data = data.astype(data.dtype if data.dtype.kind == "f" else np.float64)
        blank = np.array(np.nan, dtype=data.dtype)
    marked = xr.DataArray(np.full(data.shape, whole), dims=values.dims)
    for dim, labels in places.items():
        marked = marked | xr.DataArray(labels, dims=(dim,))
    return values.copy(data=np.where(marked.transpose(*values.dims).values, blank, data))


def name_missing(numbers: Sequence[KeyNumber]) -> list[KeyNumber]:
    """Key numbers of a measurement without twins: what would be a twin's is called not measured, where its baseline is named so."""
    return [
        replace(
            number,
            missing=NOT_MEASURED if "twin" in number.name or "random weights" in number.name else number.missing,
            baseline_missing=NOT_MEASURED if number.baseline_name in (TWINS, ONE_TWIN) else number.baseline_missing,
        )
        for number in numbers
    ]


def verdicts(low: Any, high: Any, twins: Any, withheld: str = "", *, ratio: bool = False) -> list[str]:
    """For each value, given by its interval, one of `VERDICTS` against `twins` (twin, …); `NO_VERDICT` where it is `withheld`.

    Nor is there one where the interval is not known, or fewer than `LEAST` twins have a value. `ratio`: the values are positive and differ
    by factors.
    """
    ends = np.atleast_1d(np.asarray(low, dtype=float)), np.atleast_1d(np.asarray(high, dtype=float))
    if len(twins) < LEAST:
        return [NO_VERDICT] * len(ends[0])
    values = np.asarray(twins, dtype=float).reshape(len(twins), *ends[0].shape)
    sides = side_of_twins(*ends, values, ratio)
    known = np.isfinite(ends[0]) & np.isfinite(ends[1]) & (np.isfinite(values).sum(0) >= LEAST)
    return [VERDICTS[int(side)] if sure and not withheld else NO_VERDICT for side, sure in zip(sides, known, strict=True)]
