"""Findings of several specimens side by side: one number per criterion, one row of answers per image.

Only reads findings; what it cannot find is not a number, never a guess.
"""

from collections.abc import Mapping
from math import nan
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.numerics.statistics.balanced import MAX_IMBALANCE, class_imbalance

Values = np.ndarray[Any, Any]

BALANCED, BALANCED_PROBE = "balanced accuracy", "best balanced probe accuracy"
# (analysis, key number): the columns of the comparison, in this order
CRITERIA = (
    ("accuracy", "top-1 accuracy"),
    ("accuracy", BALANCED),
    ("probe", "best probe accuracy"),
    ("probe", BALANCED_PROBE),
    ("transfer", "LogME"),
    ("robustness", "accuracy under corruption"),
    ("objects", "localisation lift"),
    ("objects", "accuracy on the smallest objects"),
    ("cost", "parameters"),
    ("cost", "multiply-adds"),
    ("cost", "latency of one image"),
    ("cost", "latency per image in a batch"),
    ("cost", "live memory"),
    ("cost", "memory peak"),
    ("redundancy", "blocks below all untrained twins"),
)


EVIDENCE = {"own head": ("accuracy", "top-1 accuracy", BALANCED), "probe": ("probe", "best probe accuracy", BALANCED_PROBE)}


class Evidence(NamedTuple):
    """Which answers are compared.

    `kind` is "own head" or "probe", empty without any; `known` says for which specimens (specimen,) there are answers. `labels` are
    the classes of the images (image,), -1 where unknown, and `imbalance` the images of the largest class over the smallest: where that
    is above `MAX_IMBALANCE`, balanced accuracy is compared.
    """

    kind: str
    known: Values
    labels: Values | None = None
    imbalance: float = 1.0

    @property
    def by_class(self) -> bool:
        """Whether balanced accuracy is compared."""
        return self.labels is not None and self.imbalance > MAX_IMBALANCE


def criterion_columns(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, np.ndarray[Any, Any]]:
    """One number for each specimen by criterion, with its unit; NaN where it was not measured; all-unknown criteria are left out."""
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for analysis, name in CRITERIA:
        numbers = [find_number(findings.get(analysis), name) for findings in byname.values()]
        known = next((number for number in numbers if number is not None), None)
        values = np.array([nan if number is None else number.value for number in numbers])
        if known is not None and not np.isnan(values).all():
            columns[f"{known.name} ({known.unit})"] = values
    return columns or {"parameters (1)": np.full(len(byname), nan)}


def find_number(finding: Finding | None, name: str) -> KeyNumber | None:
    """The key number of that name; None where there is none."""
    if finding is None:
        return None
    return next((number for number in finding.key_numbers if number.name == name), None)


def below_twins(finding: Finding) -> np.ndarray[Any, Any]:
    """Which blocks (block,) of a redundancy finding change less than in all of the untrained twins."""
    return finding["verdict"].values == "below all twins"


def gather_evidence(byname: Mapping[str, Mapping[str, Finding]], trained: Values) -> tuple[Evidence, Values]:
    """The kind of answers that most trained specimens have, own head before probe, and the answers (specimen, image)."""
    best: tuple[Evidence, Values] = Evidence("", np.zeros(len(byname), dtype=bool)), np.zeros((len(byname), 0))
    most = 0
    for kind in ("own head", "probe"):
        labels = _labels(byname, kind)
        imbalance = 1.0 if labels is None else class_imbalance(labels)
        rows = [_correct_answers(findings, kind, imbalance > MAX_IMBALANCE) for findings in byname.values()]
        known = np.array([row is not None for row in rows])
        if (known & trained).sum() > most:
            most = int((known & trained).sum())
            width = next(len(row) for row in rows if row is not None)
            answers = np.stack([row if row is not None else np.full(width, np.nan) for row in rows])
            best = Evidence(kind, known, labels, imbalance), answers
    return best


def _labels(byname: Mapping[str, Mapping[str, Finding]], kind: str) -> Values | None:
    """The classes of the images (image,), -1 where a finding does not use them; None where no finding says them."""
    analysis = EVIDENCE[kind][0]
    columns = [
        findings[analysis]["label"].values
        for findings in byname.values()
        if analysis in findings and "label" in findings[analysis]
    ]
    return np.min(columns, axis=0) if columns else None


def _correct_answers(findings: Mapping[str, Finding], kind: str, balanced: bool) -> Values | None:
    """Right or wrong for each image (image,), or None where they were not measured or are no better than always saying one class."""
    analysis, plain, by_class = EVIDENCE[kind]
    number = find_number(findings.get(analysis), by_class if balanced else plain)
    if number is None or number.low <= _chance(findings[analysis], number):
        return None
    correct = findings[analysis]["correct"]
    if kind == "own head":
        return correct.values
    accuracy = findings[analysis]["balanced" if balanced else "accuracy"].values
    return correct.values[int(np.nanargmax(accuracy))].astype(np.float64)


def _chance(finding: Finding, number: KeyNumber) -> float:
    """The accuracy of always predicting the most frequent class."""
    if finding.analysis == "probe" and number.name != BALANCED_PROBE:
        return float(finding["chance"].values[0])
    return number.baseline


def accuracy_bounds(byname: Mapping[str, Mapping[str, Finding]], evidence: Evidence, end: str) -> Values:
    """The lower ("low") or upper ("high") end of each specimen's accuracy; NaN where it is not known."""
    analysis, plain, by_class = EVIDENCE.get(evidence.kind, ("", "", ""))
    name = by_class if evidence.by_class else plain
    numbers = [find_number(findings.get(analysis), name) if name else None for findings in byname.values()]
    return np.array([nan if number is None else getattr(number, end) for number in numbers])


def size_arrays(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, xr.DataArray]:
    """Accuracy and lift by size and by clutter of all specimens that have them, when their bins agree."""
    arrays: dict[str, xr.DataArray] = {}
    having = {name: findings["objects"] for name, findings in byname.items() if "objects" in findings}
    for name, dim in (("accuracy_by_size", "size"), ("lift_by_size", "size"), ("accuracy_by_clutter", "clutter")):
        bins = {tuple(finding[name].coords[dim].values) for finding in having.values() if name in finding.arrays}
        if len(bins) == 1 and all(name in finding.arrays for finding in having.values()):
            values = np.stack([finding[name].values for finding in having.values()])
            if not np.isnan(values).all():
                title = name.split("_")[0]
                arrays[name] = array(
                    values, ("specimen", dim), "fraction", {"specimen": list(having), dim: list(bins.pop())}, title
                )
    return arrays


def attention_arrays(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, xr.DataArray]:
    """Class activation maps of all specimens at their deepest layer, on one grid, when they show the same images alike."""
    having = {name: findings["cam"] for name, findings in byname.items() if "cam" in findings}
    if len(having) < 2:
        return {}
    first = next(iter(having.values()))
    same = [finding for finding in having.values() if finding["heat"].sizes["row"] == first["heat"].sizes["row"]
            and finding["image"].shape == first["image"].shape and (finding["image"].values == first["image"].values).all()]  # fmt: skip
    if len(same) < len(having):
        return {}  # differently cropped images cannot share one base
    heat = np.stack([finding["heat"].values[:, -1] for finding in having.values()], axis=1)
    images = [str(name) for name in first["image"].coords["image"].values] if "image" in first["image"].coords else None
    coords = {"image": images} if images else {}
    arrays = {
        "heat": array(heat, ("image", "specimen", "row", "col"), "1", coords | {"specimen": list(having)}, "Grad-CAM"),
        "picture": array(first["image"].values, ("image", "row", "col", "rgb"), "1", coords),
    }
    if "mask" in first.arrays:
        arrays["mask"] = array(first["mask"].values, ("image", "row", "col"), "1", coords)
    return arrays
