"""What the findings of several specimens say, laid side by side: one number by criterion, one row of answers by image.

Only reads findings; what it cannot find is not a number, never a guess.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.errors import Unmeasurable
from microtome.finding import Finding, array

# criterion: (analysis, array, coordinate of its measure or "")
CRITERIA: dict[str, tuple[str, str, str]] = {
    "own head, top-1 (share)": ("accuracy", "overall", "top-1"),
    "localisation lift (share)": ("objects", "overall", "lift"),
    "parameters (1)": ("cost", "cost", "parameters (1)"),
    "multiply-adds (M per image)": ("cost", "cost", "multiply-adds (M per image)"),
    "time of a batch (ms per image)": ("cost", "cost", "time of a batch (ms per image)"),
    "live memory (MB per image)": ("cost", "cost", "live memory (MB per image)"),
}
PROBE_CRITERION, IDLE_CRITERION, SMALL_CRITERION, CLUTTER_CRITERION = (
    "best probe (share)",
    "blocks below their twin (share)",
    "smallest objects (share)",
    "most clutter (share)",
)


class Evidence:
    """Which answers are compared: `kind` ("own head" or "probe", empty without any) and for which specimens they are known."""

    def __init__(self, kind: str, known: np.ndarray[Any, Any]) -> None:
        self.kind = kind
        self.known = known


def group_by_specimen(findings: Sequence[Finding]) -> dict[str, dict[str, Finding]]:
    byname: dict[str, dict[str, Finding]] = {}
    for finding in findings:
        if finding.specimen:
            byname.setdefault(finding.specimen, {})[finding.analysis] = finding
    if not byname:
        raise Unmeasurable(
            "compare needs findings of at least one specimen. Measure first: microtome analyze SPECIMEN IMAGES --out DIR"
        )
    return byname


def criterion_columns(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, np.ndarray[Any, Any]]:
    """One number for each specimen by criterion; NaN where it was not measured; criteria known for nobody are left out."""
    columns = {
        name: np.array([_criterion_value(found, *place) for found in byname.values()]) for name, place in CRITERIA.items()
    }
    columns[PROBE_CRITERION] = np.array([_largest_distance(found.get("probe")) for found in byname.values()])
    columns[SMALL_CRITERION] = np.array([_outer_bin(found.get("objects"), "accuracy_by_size", 0) for found in byname.values()])
    columns[CLUTTER_CRITERION] = np.array(
        [_outer_bin(found.get("objects"), "accuracy_by_clutter", -1) for found in byname.values()]
    )
    columns[IDLE_CRITERION] = np.array([_idle_fraction(found.get("redundancy")) for found in byname.values()])
    order = [
        *list(CRITERIA)[:1],
        PROBE_CRITERION,
        *list(CRITERIA)[1:2],
        SMALL_CRITERION,
        CLUTTER_CRITERION,
        *list(CRITERIA)[2:],
        IDLE_CRITERION,
    ]
    kept = {name: columns[name] for name in order if not np.isnan(columns[name]).all()}
    return kept or {"parameters (1)": columns["parameters (1)"]}


def _criterion_value(found: Mapping[str, Finding], analysis: str, name: str, measure: str) -> float:
    if analysis not in found or measure not in found[analysis][name].measure.values:
        return float("nan")
    return float(found[analysis][name].sel(measure=measure))


def _largest_distance(finding: Finding | None) -> float:
    return float("nan") if finding is None else float(np.nanmax(finding["accuracy"].values))


def _outer_bin(finding: Finding | None, name: str, place: int) -> float:
    """The first (0) or last (-1) bin that has a number."""
    if finding is None or name not in finding.arrays:
        return float("nan")
    known = finding[name].values[~np.isnan(finding[name].values)]
    return float(known[place]) if len(known) else float("nan")


def _idle_fraction(finding: Finding | None) -> float:
    if finding is None or finding.origin["specimen"].get("trained") is False:
        return float("nan")
    return float(below_twins(finding).mean())


def below_twins(finding: Finding) -> np.ndarray[Any, Any]:
    """Which blocks (block,) of a redundancy finding change less than in all of the untrained twins."""
    return finding["verdict"].values == "below all twins"


def gather_evidence(
    byname: Mapping[str, Mapping[str, Finding]], trained: np.ndarray[Any, Any]
) -> tuple[Evidence, np.ndarray[Any, Any]]:
    """The kind of answers that most trained specimens have, own head before probe, and the answers (specimen, image)."""
    best: tuple[Evidence, np.ndarray[Any, Any]] = (
        Evidence("", np.zeros(len(byname), dtype=bool)),
        np.zeros((len(byname), 0)),
    )
    most = 0
    for kind in ("own head", "probe"):
        rows = [_correct_answers(found, kind) for found in byname.values()]
        known = np.array([row is not None for row in rows])
        if (known & trained).sum() > most:
            most = int((known & trained).sum())
            width = next(len(row) for row in rows if row is not None)
            best = Evidence(kind, known), np.stack([row if row is not None else np.full(width, np.nan) for row in rows])
    return best


def _correct_answers(found: Mapping[str, Finding], kind: str) -> np.ndarray[Any, Any] | None:
    """Right or wrong for each image (image,), or None where they were not measured or are no better than naming one class."""
    if kind == "own head":
        chance = _criterion_value(found, "accuracy", "overall", "chance")
        known = "accuracy" in found and not _criterion_value(found, "accuracy", "overall_low", "top-1") <= chance
        return found["accuracy"]["correct"].values if known else None
    if "probe" not in found or float(np.nanmax(found["probe"]["accuracy_low"].values)) <= float(
        found["probe"]["chance"].values[0]
    ):
        return None
    return found["probe"]["correct"].values[int(np.nanargmax(found["probe"]["accuracy"].values))].astype(np.float64)


def accuracy_bounds(byname: Mapping[str, Mapping[str, Finding]], kind: str, end: str) -> np.ndarray[Any, Any]:
    if kind == "own head":
        return np.array([_criterion_value(found, "accuracy", f"overall_{end}", "top-1") for found in byname.values()])
    told: list[float] = []
    for found in byname.values():
        probe = found.get("probe")
        told.append(
            float("nan")
            if probe is None or not kind
            else float(probe[f"accuracy_{end}"].values[int(np.nanargmax(probe["accuracy"].values))])
        )
    return np.array(told)


def size_arrays(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, xr.DataArray]:
    """Accuracy and lift by size and by clutter of all specimens that have them, when their bins agree."""
    arrays: dict[str, xr.DataArray] = {}
    having = {name: found["objects"] for name, found in byname.items() if "objects" in found}
    for name, dim in (("accuracy_by_size", "size"), ("lift_by_size", "size"), ("accuracy_by_clutter", "clutter")):
        bins = {tuple(finding[name].coords[dim].values) for finding in having.values() if name in finding.arrays}
        if len(bins) == 1 and all(name in finding.arrays for finding in having.values()):
            values = np.stack([finding[name].values for finding in having.values()])
            if not np.isnan(values).all():
                title = name.split("_")[0]
                arrays[name] = array(
                    values, ("specimen", dim), "share", {"specimen": list(having), dim: list(bins.pop())}, title
                )
    return arrays


def attention_arrays(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, xr.DataArray]:
    """Class activation maps of all specimens at their deepest layer, on one grid, when they show the same pictures alike."""
    having = {name: found["cam"] for name, found in byname.items() if "cam" in found}
    if len(having) < 2:
        return {}
    first = next(iter(having.values()))
    same = [finding for finding in having.values() if finding["heat"].sizes["row"] == first["heat"].sizes["row"]
            and finding["image"].shape == first["image"].shape and (finding["image"].values == first["image"].values).all()]  # fmt: skip
    if len(same) < len(having):
        return {}  # differently cropped pictures cannot share one base
    heat = np.stack([finding["heat"].values[:, -1] for finding in having.values()], axis=1)
    images = [str(one) for one in first["image"].coords["image"].values] if "image" in first["image"].coords else None
    told = {"image": images} if images else {}
    arrays = {
        "heat": array(heat, ("image", "specimen", "row", "col"), "1", told | {"specimen": list(having)}, "Grad-CAM"),
        "picture": array(first["image"].values, ("image", "row", "col", "rgb"), "1", told),
    }
    if "mask" in first.arrays:
        arrays["mask"] = array(first["mask"].values, ("image", "row", "col"), "1", told)
    return arrays
