"""Where a network does well: accuracy and localisation by the object's size and the clutter around it.

Localisation is the share of the class evidence (Grad-CAM) on the object, less the share of the picture that it covers: an even map
has a lift of 0 at every size, so a large object is no advantage by itself. All maps are compared on one common grid. A blob in the
middle of the picture and the untrained twin are scored likewise: what they reach is no merit of the network.

Source: energy-based pointing game, Wang et al. 2020, arXiv:1910.01279, sec. 4.3; pointing game, Zhang et al. 2016,
arXiv:1608.00507; best threshold, Choe et al. 2020, arXiv:2001.07437; maps, Selvaraju et al. 2017, arXiv:1610.02391, eq. 1-2.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option, twin_indices
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import METHODS, VisibleLayers, attribution_maps, place_cells, visible_layers
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.numerics.maps.heat import THRESHOLDS
from microtome.numerics.maps.localisation import localisation_scores
from microtome.numerics.maps.strata import clutter_fraction
from microtome.numerics.receptive.geometry import resample_area
from microtome.numerics.statistics.intervals import Interval, bootstrap_interval, wilson_interval
from microtome.numerics.statistics.trends import median_interval, relative_loss, relative_ranks, slope_interval
from microtome.panels import Bars, Heat, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.tally import Rows

SIZES = (0.01, 0.04, 0.16, 0.36, 1.0)  # borders of the size bins, as shares of the picture
CLUTTERS: tuple[str, ...] = ("plain", "middle", "cluttered")  # thirds of the images
MIN_IMAGES = 10  # images: a bin with fewer has no number
POINTING_TOLERANCE = 15 / 224  # how far from the object the hottest place may lie, as a share of the picture's shorter side
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
    "accuracy by size": ("correct", "area", "share per doubling of the area"),
    "lift by size": ("lift", "area", "share per doubling of the area"),
    "centre lift by size": ("centre_lift", "area", "share per doubling of the area"),
    "accuracy by clutter": ("correct", "clutter", "share from the least to the most cluttered image"),
    "lift by clutter": ("lift", "clutter", "share from the least to the most cluttered image"),
}
UNUSUAL_BASELINES = {
    "unmarked": "have no mask or box",
    "cropped": "show nothing of their object",
    "empty": "have an empty map, since all evidence there is against the class; they have no lift",
    "tiny": "have an object below 1 % of the picture and count only over all",
}
LOSS_MEASURES = {"accuracy lost to clutter": "correct", "lift lost to clutter": "lift"}
Columns = dict[str, np.ndarray[Any, Any]]


@final
class Objects(Analysis):
    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "choose"
    title: ClassVar[str] = "Objects: size and clutter"
    revision: ClassVar[int] = 2

    at: str = option("deep", "the layer whose maps are scored (the coarsest, where several are named)")
    kind: Literal["gradcam"] = option("gradcam", "how activations and gradients become a map")
    target: Literal["label", "predicted"] = option("label", "the class whose evidence is looked for")
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "where cells lie: by kernels, strides and padding, or evenly tiled"
    )
    grid: int = option(7, "side of the common grid on which maps are scored, in cells", low=2, high=64)
    seed: int = option(0, "of the bootstrap over images", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        marked = images.take(np.flatnonzero(images.has_mask))
        answers, how = _target_outputs(specimen, marked)
        first = torch.from_numpy(marked.pixels(specimen.recipe, range(min(4, len(marked)))))
        shown = visible_layers(specimen, [self.at], specimen.recipe.normalise(first).to(specimen.device))
        shown = place_cells(shown, self.place, specimen.recipe.size)
        name = min(reversed(shown.names), key=lambda one: shown.where[one].row.count * shown.where[one].col.count)
        own = self._rows(specimen, marked, answers, shown, name, pace, "own")
        some = marked.take(twin_indices(len(marked)))
        twin = specimen.working_twin(images)
        null = self._rows(twin, some, answers[twin_indices(len(marked))], shown, name, pace, "twin")
        columns = _merge_columns(own, null, np.asarray(twin_indices(len(marked))))
        known = marked.facts("clutter")
        if known is not None and not np.isnan(known).any():
            columns["clutter"] = known
        found = _to_arrays(columns, self.seed)
        cells = np.array(shown.where[name].counts)
        said = {"layer": name, "labels": how, "target": self._asked_layers(how), "boxes": str(marked.mask_kind)}
        told = {"criterion": list(said)}
        found["said"] = array(np.array(list(said.values()), dtype=object), ("criterion",), "text", told)
        found["cells"] = array(cells, ("axis",), "cells", {"axis": ["row", "col"]})
        found["common"] = array(self.grid, (), "cells")
        found["unmarked"] = array(len(images) - len(marked), (), "images")
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        for one, seen, run in ((specimen, marked, "own"), (twin, some, "twin")):
            discard_tally(pace, self._key(one, seen, run))
        return found

    def _asked_layers(self, how: str) -> str:
        return self.target if how or self.target == "predicted" else "predicted"

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _rows(
        self,
        specimen: Specimen,
        images: Images,
        answers: np.ndarray[Any, Any],
        shown: VisibleLayers,
        name: str,
        pace: Pace,
        run: str,
    ) -> Rows:
        """One row of numbers for each image, kept while unfinished."""
        rows = Rows()
        by_label = self.target == "label"

        def visit(batch: Batch) -> None:
            wanted = torch.from_numpy(answers[batch.index]).to(batch.x.device)

            def targets(scores: Tensor) -> list[Tensor]:
                best = scores.argmax(1)
                return [torch.where(wanted >= 0, wanted, best) if by_label else best]

            scores, (maps,) = attribution_maps(specimen, [name], batch.x, targets, METHODS[self.kind])
            size = (int(batch.x.shape[2]), int(batch.x.shape[3]))
            heat = resample_area(maps[name].relu(), shown.where[name], size, (self.grid, self.grid)).cpu()
            masks = images.masks(specimen.recipe, batch.index)
            scored = localisation_scores(heat, torch.from_numpy(masks), POINTING_TOLERANCE * min(size))
            judged = _judge_batch(scores.cpu(), answers[batch.index], batch.pixels, masks)
            rows.add(batch.index, {name: one.numpy() for name, one in scored.items()} | judged)

        what = f"{specimen.name}: objects" + (" of the untrained twin" if run == "twin" else "")
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        scored = not np.isnan(found["accuracy"].values).all()
        note = "Grey: a blob in the middle of the picture, and the untrained twin. 0 is an even map."
        shown: list[Panel] = []
        for where in ("size", "clutter"):
            shown.append(Bars(
                title=f"Localisation by {where}", note=note, y=(f"lift_by_{where}",), x=where, low=f"lift_by_{where}_low",
                high=f"lift_by_{where}_high", null=(f"centre_lift_by_{where}", f"twin_lift_by_{where}"),
            ))  # fmt: skip
            if scored:
                shown.append(Bars(
                    title=f"Accuracy by {where}", y=(f"accuracy_by_{where}",), x=where, low=f"accuracy_by_{where}_low",
                    high=f"accuracy_by_{where}_high", note="Interval: Wilson, 95 %.",
                ))  # fmt: skip
        shown.append(Heat(title="Localisation by size and clutter", z="lift", scale="diverging"))
        if scored:
            shown.append(Heat(title="Accuracy by size and clutter", z="accuracy", low=0.0, high=1.0))
        shown.append(Table(title="Over all images", rows="measure", columns=("overall", "overall_low", "overall_high")))
        shown.append(Table(title="Trends", rows="pair", columns=("slope", "slope_low", "slope_high")))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays

        def value(name: str) -> tuple[float, float, float]:
            value, low, high = (float(found[part].sel(measure=name)) for part in ("overall", "overall_low", "overall_high"))
            return value, low, high

        lift, low, high = value("lift")
        count = int(found["images"])
        where = str(found["said"].sel(criterion="layer").values)
        text = (
            f"At {where}, {value('ebpg')[0]:.0%} of the class evidence lies on objects that cover {value('area')[0]:.0%} of "
            f"the picture: lift {lift:+.3f} ({low:+.3f} to {high:+.3f}; n = {count}), against {value('centre_lift')[0]:+.3f} for "
            f"a blob in the middle and {value('twin_lift')[0]:+.3f} for the untrained twin"
        )
        right = value("accuracy")
        if np.isnan(right[0]):
            return text + "; its own head is not scored on these classes."
        ends = _trend_text(found["accuracy_by_size"], "smallest", "largest")
        ends += _trend_text(found["accuracy_by_clutter"], "plainest", "most cluttered")
        return f"{text}. Accuracy {right[0]:.0%} ({right[1]:.0%} to {right[2]:.0%}){''.join(ends)}."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = {str(key): str(value) for key, value in zip(found["said"].criterion.values, found["said"].values, strict=True)}
        told = [
            "One network says nothing about its family: compare at least two of each before blaming width, depth or attention."
        ]
        if said["labels"].startswith("by order"):
            told.append(f"Outputs were matched to classes {said['labels']}.")
        if not said["labels"]:
            told.append(
                "The network's outputs are not the images' classes: no accuracy, and the maps are of the predicted class."
            )
        if said["boxes"] in ("box", "mixed"):
            told.append("Rectangles stand for objects: background inside a box counts as object.")
        if np.isnan(found["correct_count"].values) or int(found["correct_count"]) < MIN_IMAGES:
            told.append("Coverage is over all images, since fewer than 10 are known to be recognised.")
        told += _sparse_bins(found)
        told += _sizes_below_centre(found)
        told += [f"{number} images {text}." for name, text in UNUSUAL_BASELINES.items() if (number := int(found[name]))]
        cells, common = found["cells"].values, int(found["common"])
        if min(cells) < common:
            told.append(
                f"The map has {cells[0]} x {cells[1]} cells, coarser than the common grid of {common} x {common}: "
                f"to compare with finer networks, measure all with --grid {min(cells)}."
            )
        if float(found["trained"]) == 0:
            told.append("These weights are untrained.")
        return told


def _target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1 unknown), and how classes were matched; an empty text where they do not match."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None:
        return unknown, ""
    try:
        found = match_classes(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # said as a caveat: localisation can still be measured
        return unknown, ""
    return found.targets(images.labels), found.how


def _judge_batch(scores: Tensor, answers: np.ndarray[Any, Any], pixels: Any, masks: Any) -> dict[str, Any]:
    right = (scores.argmax(1).numpy() == answers).astype(np.float64)
    return {"correct": np.where(answers >= 0, right, np.nan), "clutter": clutter_fraction(pixels, masks)}


def _merge_columns(own: Rows, null: Rows, some: np.ndarray[Any, Any]) -> Columns:
    names = ("ebpg", "centre_ebpg", "pointing_game", "coverage50", "coverage90", "iou", "area", "peak", "correct", "clutter")
    columns = {name: own.column(name) for name in names}
    seen = columns["area"] > 0
    area = np.where(seen, columns["area"], np.nan)
    columns |= {"lift": columns["ebpg"] - area, "centre_lift": columns["centre_ebpg"] - area, "seen": seen, "area": area}
    columns["twin_lift"] = np.full(len(area), np.nan)
    columns["twin_lift"][some[null.index]] = null.column("ebpg") - null.column("area")
    overlap = columns["iou"]
    known = ~np.isnan(overlap).all(1)
    best = int(overlap[known].mean(0).argmax()) if known.any() else 0
    columns["iou"] = overlap[:, best]
    columns["threshold"] = np.array(THRESHOLDS[best])
    return columns


def _to_arrays(columns: Columns, seed: int) -> dict[str, xr.DataArray]:
    area, clutter, seen = columns["area"], columns["clutter"], columns["seen"]
    size_bin = np.where(area >= SIZES[0], np.searchsorted(SIZES[1:-1], np.nan_to_num(area), side="right"), -1)
    borders = np.nanquantile(clutter[seen], [1 / 3, 2 / 3]) if (seen & ~np.isnan(clutter)).any() else np.zeros(2)
    clutter_bin = np.where(np.isnan(clutter) | ~seen, -1, np.searchsorted(borders, np.nan_to_num(clutter), side="left"))
    sizes = [f"{low:.0%}–{high:.0%}" for low, high in pairwise(SIZES)]
    coords = {"size": sizes, "clutter": list(CLUTTERS)}
    cells = [[(size_bin == s) & (clutter_bin == c) for c in range(len(CLUTTERS))] for s in range(len(sizes))]
    right, lift = ([[_mean(columns[name], one) for one in row] for row in cells] for name in ("correct", "lift"))
    found = {
        "accuracy": array(right, ("size", "clutter"), "share", coords, "accuracy"),
        "lift": array(lift, ("size", "clutter"), "share", coords, "lift"),
        "count": array([[int(one.sum()) for one in row] for row in cells], ("size", "clutter"), "images", coords),
        "clutter_border": array(borders, ("bin",), "1"),
    }
    for dim, bins, names in (("size", size_bin, sizes), ("clutter", clutter_bin, list(CLUTTERS))):
        found |= _marginal_arrays(columns, dim, [bins == place for place in range(len(names))], names, seed)
    found |= _overall_arrays(columns, seed) | _trend_arrays(columns, clutter_bin, seed)
    counts = {
        "images": int(seen.sum()),
        "cropped": int((~seen).sum()),
        "empty": int((seen & (columns["peak"] <= 0)).sum()),
        "tiny": int((seen & (area < SIZES[0])).sum()),
        "correct_count": int(np.nansum(columns["correct"])),
    }
    found |= {name: array(number, (), "images") for name, number in counts.items()}
    found["iou_threshold"] = array(columns["threshold"], (), "share of the largest heat")
    for name in ("lift", "area", "clutter", "correct"):
        found[f"each_{name}"] = array(columns[name].astype(np.float64), ("image",), "share")
    return found


def _mean(values: np.ndarray[Any, Any], chosen: np.ndarray[Any, Any]) -> float:
    known = values[chosen & ~np.isnan(values)]
    return float(known.mean()) if len(known) >= MIN_IMAGES else float("nan")


def _marginal_arrays(columns: Columns, dim: str, bins: list[Any], names: list[str], seed: int) -> dict[str, xr.DataArray]:
    """Accuracy with Wilson intervals, lift with bootstrap intervals, and the two baselines, in each bin of one dimension."""
    accuracy = [_accuracy_interval(columns["correct"][one]) for one in bins]
    lift = [_bootstrap_interval(columns["lift"][one], seed) for one in bins]
    told = {dim: names}
    found: dict[str, xr.DataArray] = {}
    for name, rows in (("accuracy", accuracy), ("lift", lift)):
        for part, suffix in enumerate(("", "_low", "_high")):
            found[f"{name}_by_{dim}{suffix}"] = array([row[part] for row in rows], (dim,), "share", told, title=name)
    for name, title in (("centre_lift", "blob in the middle"), ("twin_lift", "untrained twin")):
        found[f"{name}_by_{dim}"] = array([_mean(columns[name], one) for one in bins], (dim,), "share", told, title=title)
    found[f"count_by_{dim}"] = array([int(one.sum()) for one in bins], (dim,), "images", told)
    return found


def _accuracy_interval(right: np.ndarray[Any, Any]) -> Interval:
    known = right[~np.isnan(right)]
    return wilson_interval(int(known.sum()), len(known)) if len(known) >= MIN_IMAGES else Interval(*[float("nan")] * 3)


def _bootstrap_interval(values: np.ndarray[Any, Any], seed: int, of: Callable[..., Interval] = bootstrap_interval) -> Interval:
    known = values[~np.isnan(values)]
    return of(known, seed=seed) if len(known) >= MIN_IMAGES else Interval(*[float("nan")] * 3)


def _overall_arrays(columns: Columns, seed: int) -> dict[str, xr.DataArray]:
    """Means over all images with intervals; coverage is the median over recognised images (all, where too few are)."""
    right = columns["correct"] == 1
    kept = right if right.sum() >= MIN_IMAGES else np.ones(len(right), dtype=bool)
    rows: list[Interval] = []
    for name in OVERALL_MEASURES:
        if name == "accuracy":
            rows.append(_accuracy_interval(columns["correct"][columns["seen"]]))
        elif name.startswith("coverage"):
            rows.append(_bootstrap_interval(columns[name][kept], seed, median_interval))
        else:
            rows.append(_bootstrap_interval(columns[name], seed))
    told = {"measure": list(OVERALL_MEASURES)}
    titles = ("value", "from", "to")
    return {
        f"overall{suffix}": array([row[part] for row in rows], ("measure",), "share", told, titles[part])
        for part, suffix in enumerate(("", "_low", "_high"))
    }


def _trend_arrays(columns: Columns, clutter_bin: Any, seed: int) -> dict[str, xr.DataArray]:
    """Straight-line trends and relative losses with bootstrap intervals over images."""
    against = {"area": np.log2(columns["area"]), "clutter": relative_ranks(columns["clutter"])}
    rows = [slope_interval(columns[name], against[axis], MIN_IMAGES, seed) for name, axis, _ in TREND_MEASURES.values()]
    ends = clutter_bin == 0, clutter_bin == len(CLUTTERS) - 1
    rows += [relative_loss(columns[name], *ends, MIN_IMAGES, seed) for name in LOSS_MEASURES.values()]
    units = [unit for *_, unit in TREND_MEASURES.values()] + ["share lost from the plain to the cluttered third"] * len(
        LOSS_MEASURES
    )
    told = {"pair": [*TREND_MEASURES, *LOSS_MEASURES]}
    found = {
        f"slope{suffix}": array([row[part] for row in rows], ("pair",), "see slope_unit", told, title)
        for part, (suffix, title) in enumerate((("", "trend"), ("_low", "from"), ("_high", "to")))
    }
    found["slope_unit"] = array(np.array(units, dtype=object), ("pair",), "text", told)
    return found


def _trend_text(values: xr.DataArray, first: str, last: str) -> list[str]:
    known = values.values[~np.isnan(values.values)]
    return [f", {known[0]:.0%} on the {first} to {known[-1]:.0%} on the {last}"] if len(known) > 1 else []


def _sizes_below_centre(found: Arrays) -> list[str]:
    """The sizes at which the network's maps find the object no better than a blob in the middle of the picture."""
    lift, blob = found["lift_by_size_low"], found["centre_lift_by_size"]
    sizes = [str(size) for size in lift.coords["size"].values if float(lift.sel(size=size)) <= float(blob.sel(size=size))]
    return [f"At object sizes of {', '.join(sizes)} the lift is not above that of a blob in the middle."] if sizes else []


def _sparse_bins(found: Arrays) -> list[str]:
    """Which bins have too few images for a number."""
    count = found["count"]
    thin = [
        f"{size}, {clutter}"
        for size in count.coords["size"].values
        for clutter in count.coords["clutter"].values
        if int(count.sel(size=size, clutter=clutter)) < MIN_IMAGES
    ]
    if not thin:
        return []
    shown = "; ".join(thin[:4]) + ("; …" if len(thin) > 4 else "")
    return [f"{len(thin)} of {count.size} bins have fewer than {MIN_IMAGES} images and no number ({shown})."]
