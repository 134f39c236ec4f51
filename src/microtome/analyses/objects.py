"""Accuracy and localisation by the size of the object and the clutter around it.

The localisation lift is the fraction of the class evidence (Grad-CAM) on the object minus the fraction of the image that the object
covers. An even map has a lift of 0 at every size, so a large object is no advantage by itself. All maps are compared on one common
grid. A blob in the centre of the image and the untrained twin are scored in the same way: what they reach is not due to training.

Source: energy-based pointing game, Wang et al. 2020, arXiv:1910.01279, sec. 4.3; pointing game, Zhang et al. 2016,
arXiv:1608.00507; best threshold, Choe et al. 2020, arXiv:2001.07437; maps, Selvaraju et al. 2017, arXiv:1610.02391, eq. 1-2.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypedDict, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Measurement, Needs, option, twin_indices
from microtome.errors import Unmeasurable, option_name
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import VisibleLayers, attribution_maps, map_kind, place_cells, visible_layers
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.maps.heat import THRESHOLDS
from microtome.numerics.maps.localisation import localisation_scores
from microtome.numerics.maps.strata import clutter_fraction
from microtome.numerics.receptive.geometry import resample_area
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, mean_interval
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.statistics.trends import relative_loss, relative_ranks, slope_interval
from microtome.panels import Bars, Heat, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.tally import Rows
from microtome.workload import Effort, Workload

SIZES = (0.01, 0.04, 0.16, 0.36, 1.0)  # borders of the size bins, as fractions of the image
CLUTTERS: tuple[str, ...] = ("plain", "middle", "cluttered")  # thirds of the images
MIN_IMAGES = 10  # images: a bin with fewer has no number
POINTING_TOLERANCE = 15 / 224  # distance of the maximum from the object, as a fraction of the shorter side
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
UNUSUAL_BASELINES = {
    "unmarked": "have no mask or box",
    "cropped": "do not show their object after cropping",
    "empty": "have an empty map, since all evidence is against the class, and have no lift",
    "tiny": "have an object below 1% of the image and count only over all images",
}
LOSS_MEASURES = {"accuracy lost to clutter": "correct", "lift lost to clutter": "lift"}
Columns = dict[str, np.ndarray[Any, Any]]


class _Ends(TypedDict):
    """The ends of a 95% interval."""

    low: float
    high: float
    has_interval: bool


@final
class Objects(Analysis):
    """Localisation lift and accuracy by object size and clutter."""

    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "choose"
    title: ClassVar[str] = "Objects: size and clutter"
    rank: ClassVar[int] = 5
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 4  # 4: exact and studentised intervals; which images its twins see rests on their contents

    at: str = option("deep", "layer whose maps are scored; the coarsest of several")
    kind: Literal["gradcam"] = option("gradcam", "attribution method")
    target: Literal["label", "predicted"] = option("label", "class whose evidence is mapped")
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "location of map positions: from kernels, strides and padding, or evenly tiled"
    )
    grid: int = option(7, "side of the common grid on which maps are scored, positions", low=2, high=64)
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen, images)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=8.0, backward=2.0 * len(images or ()), twins=1)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        marked = images.take(np.flatnonzero(images.has_mask))
        answers, how = _target_outputs(specimen, marked)
        first = torch.from_numpy(marked.inputs(specimen.recipe, range(min(4, len(marked)))))
        shown = visible_layers(specimen, [self.at], specimen.recipe.normalise(first).to(specimen.device))
        shown = place_cells(shown, self.place, specimen.recipe.size)
        name = min(reversed(shown.names), key=lambda one: shown.where[one].row.count * shown.where[one].col.count)
        own = self._rows(specimen, marked, answers, shown, name, pace, "own")
        watched = twin_indices(marked)
        some = marked.take(watched)
        twin = specimen.working_twin(images)
        null = self._rows(twin, some, answers[watched], shown, name, pace, "twin")
        columns = _merge_columns(own, null, np.asarray(watched))
        known = marked.facts("clutter")
        if known is not None and not np.isnan(known).any():
            columns["clutter"] = known
        arrays, counts = _to_arrays(columns, self.seed)
        for network, seen, run in ((specimen, marked, "own"), (twin, some, "twin")):
            discard_tally(pace, self._key(network, seen, run))
        facts = {"layer": name, "labels": how, "target": self._asked_class(how), "boxes": str(marked.mask_kind)}
        counts |= {"unmarked": len(images) - len(marked)}
        return Measurement(arrays, facts | counts | {"map_grid": list(shown.where[name].counts)})

    def _asked_class(self, how: str) -> str:
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

            scores, (maps,) = attribution_maps(specimen, [name], batch.x, targets, map_kind(self.kind))
            size = (int(batch.x.shape[2]), int(batch.x.shape[3]))
            heat = resample_area(maps[name].relu(), shown.where[name], size, (self.grid, self.grid)).cpu()
            masks = images.masks(specimen.recipe, batch.index)
            scored = localisation_scores(heat, torch.from_numpy(masks), POINTING_TOLERANCE * min(size))
            judged = _judge_batch(scores.cpu(), answers[batch.index], batch.pixels, masks)
            rows.add(batch.index, {name: one.numpy() for name, one in scored.items()} | judged)

        what = f"{specimen.name}: objects" + (" of the untrained twin" if run == "twin" else "")
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        value, low, high = (finding[name] for name in ("overall", "overall_low", "overall_high"))
        layer = finding.facts["layer"]

        def of(measure: str) -> float:
            return float(value.sel(measure=measure))

        def ends(measure: str, factor: float = 1.0) -> _Ends:
            return {
                "low": factor * float(low.sel(measure=measure)),
                "high": factor * float(high.sel(measure=measure)),
                "has_interval": True,
            }

        numbers = [
            KeyNumber(
                name="localisation lift", value=100 * of("lift"), unit="points", **ends("lift", 100),
                baseline=100 * of("twin_lift"), better="higher", at=layer,
            ),
            KeyNumber(
                name="lift of a centre blob", value=100 * of("centre_lift"), unit="points", **ends("centre_lift", 100),
            ),
            KeyNumber(
                name="energy-based pointing game", value=of("ebpg"), unit=FRACTION, **ends("ebpg"),
                baseline=of("area"), baseline_name="an even map", better="higher", at=layer,
            ),
        ]  # fmt: skip
        if not np.isnan(of("accuracy")):
            numbers.append(
                KeyNumber(name="top-1 accuracy", value=of("accuracy"), unit=FRACTION, **ends("accuracy"), better="higher")
            )
            numbers += _smallest_objects(finding)
        return [*numbers, KeyNumber(name="images", value=finding.facts["images"], unit="1")]

    def headline(self, finding: Finding) -> str:
        lift = finding.key("localisation lift")
        if np.isnan(lift.value):
            return f"The maps at {lift.at} have no localisation lift over {finding.facts['images']} images."
        twin = f"untrained twin {lift.baseline_text}" if lift.baseline_text else "no lift is known for the untrained twin"
        return f"Localisation lift (evidence on the object minus its area) at {lift.at}: {lift.text}; {twin}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        scored = not np.isnan(finding["accuracy"].values).all()
        note = "Grey: a blob in the centre of the image, and the untrained twin. An even map has a lift of 0."
        panels: list[Panel] = []
        for dim in ("size", "clutter"):
            panels.append(Bars(
                title=f"Localisation by {dim}", note=note, y=(f"lift_by_{dim}",), x=dim, low=f"lift_by_{dim}_low",
                high=f"lift_by_{dim}_high", null=(f"centre_lift_by_{dim}", f"twin_lift_by_{dim}"),
            ))  # fmt: skip
            if scored:
                panels.append(Bars(
                    title=f"Accuracy by {dim}", y=(f"accuracy_by_{dim}",), x=dim, low=f"accuracy_by_{dim}_low",
                    high=f"accuracy_by_{dim}_high", note="Bars: 95% exact interval (Clopper-Pearson).",
                ))  # fmt: skip
        panels.append(Heat(title="Localisation by size and clutter", z="lift", scale="diverging"))
        if scored:
            panels.append(Heat(title="Accuracy by size and clutter", z="accuracy", low=0.0, high=1.0))
        panels.append(Table(title="Over all images", rows="measure", columns=("overall", "overall_low", "overall_high")))
        panels.append(Table(title="Trends", rows="pair", columns=("slope", "slope_low", "slope_high")))
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        facts = finding.facts
        caveats = ["One network does not represent its family: compare at least two of each before blaming width or depth."]
        if facts["labels"].startswith("by order"):
            caveats.append(f"Outputs were matched to classes {facts['labels']}.")
        if not facts["labels"]:
            caveats.append(
                "The network's outputs are not the images' classes: no accuracy, and the maps are of the predicted class."
            )
        if facts["boxes"] in ("box", "mixed"):
            caveats.append("Boxes stand for objects: background inside a box counts as object.")
        if facts["correct_count"] < MIN_IMAGES:
            caveats.append(f"Coverage is over all images, since fewer than {MIN_IMAGES} are known to be classified correctly.")
        caveats += _sparse_bins(finding)
        caveats += _sizes_below_centre(finding)
        caveats += [f"{number} images {text}." for name, text in UNUSUAL_BASELINES.items() if (number := facts[name])]
        rows, cols = facts["map_grid"]
        common = finding.options["grid"]
        if min(rows, cols) < common:
            caveats.append(
                f"The map has {rows} × {cols} positions, coarser than the common grid of {common} × {common}: "
                f"to compare with finer networks, measure all with {option_name('grid')} {min(rows, cols)}."
            )
        if finding.trained is False:
            caveats.append("These weights are untrained.")
        return caveats


def _target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1 unknown), and how classes were matched; an empty text where they do not match."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None:
        return unknown, ""
    try:
        match = match_classes(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # a caveat says so: localisation can still be measured
        return unknown, ""
    return match.targets(images.labels), match.how


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


def _to_arrays(columns: Columns, seed: int) -> tuple[dict[str, xr.DataArray], dict[str, Any]]:
    """The arrays, and how many images went into them."""
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
    for name in ("lift", "area", "clutter", "correct"):
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
    for name, title in (("centre_lift", "blob in the centre"), ("twin_lift", "untrained twin")):
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
        else:
            rows.append(_mean_interval(columns[name], seed))
    coords = {"measure": list(OVERALL_MEASURES)}
    titles = ("value", "from", "to")
    return {
        f"overall{suffix}": array([row[part] for row in rows], ("measure",), FRACTION, coords, titles[part])
        for part, suffix in enumerate(("", "_low", "_high"))
    }


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


def _smallest_objects(finding: Finding) -> list[KeyNumber]:
    """Accuracy in the smallest size bin that has a number, beside that in the largest; nothing with fewer than two bins."""
    value, low, high = (finding[f"accuracy_by_size{end}"] for end in ("", "_low", "_high"))
    known = np.flatnonzero(~np.isnan(value.values))
    if len(known) < 2:
        return []
    first, last = int(known[0]), int(known[-1])
    sizes = value.coords["size"].values
    return [
        KeyNumber(
            name="accuracy on the smallest objects", value=float(value[first]), unit=FRACTION, low=float(low[first]),
            high=float(high[first]), has_interval=True, baseline=float(value[last]), baseline_name=f"objects of {sizes[last]} of the image",
            better="higher", at=str(sizes[first]),
        )
    ]  # fmt: skip


def _sizes_below_centre(finding: Finding) -> list[str]:
    """The sizes at which the network's lift is not above that of a blob in the centre of the image."""
    lift, blob = finding["lift_by_size_low"], finding["centre_lift_by_size"]
    known = finding["lift_by_size"].notnull()
    above = lift > blob  # false where the interval is unknown
    sizes = [str(size) for size in lift.coords["size"].values if bool(known.sel(size=size)) and not bool(above.sel(size=size))]
    return (
        [f"At object sizes of {', '.join(sizes)} the lift is not significantly above that of a blob in the centre."]
        if sizes
        else []
    )


def _sparse_bins(finding: Finding) -> list[str]:
    """A caveat on the bins that have too few images for a number."""
    count = finding["count"]
    sparse = [
        f"{size}, {clutter}"
        for size in count.coords["size"].values
        for clutter in count.coords["clutter"].values
        if int(count.sel(size=size, clutter=clutter)) < MIN_IMAGES
    ]
    if not sparse:
        return []
    shown = "; ".join(sparse[:4]) + ("; …" if len(sparse) > 4 else "")
    return [f"{len(sparse)} of {count.size} bins have fewer than {MIN_IMAGES} images and no number ({shown})."]
