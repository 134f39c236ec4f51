"""Strongest patches of each unit over all images, cropped to its receptive field.

One scan, in constant memory for any number of images; it can be stopped, resumed and spread over shards. A unit gives at most
one patch for each image, so that a single image does not fill a row. A patch is the unit's receptive field at its true centre;
outside the image it has the mean colour, and where it is as large as the image a frame marks the unit's position. An
activation of exactly zero is no patch.

Nine patches are easily seen as similar, so two numbers measure whether the units of a layer are specific: the probability that
two of a unit's images share a class, and that two different units share an image. Both are compared with chance and with the
untrained twin on the same images, whose units are random filters.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4 and fig. 2; one patch for each image is our reading of it. Simpson 1949, for
both probabilities; this use of them is ours.
"""

from collections.abc import Sequence
from math import isnan
from typing import Any, Literal, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement, option, shown_to_twins, twin_indices
from microtome.errors import option_name
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import layers_with_maps, reasons_not_measured
from microtome.instruments.strongest_patches import (
    PatchWindow,
    check_numbers,
    choose_units,
    crop_patches,
    grid_position,
    nonzero_peaks,
    patch_windows,
    strongest_activations,
)
from microtome.instruments.untrained_twins import TWINS, over_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.selectivity import chance_class_agreement, class_agreement, shared_image_rate
from microtome.panels import Bars, Grid, Panel, Table
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Top
from microtome.workload import Workload

DEFAULT = ("shallow", "middle", "deep")
MAX_LAYERS = 12  # layers with a figure; all have values and positions
AXES = {"axis": ["image", "row", "col"]}


@final
class Patches(Census[Bundle]):
    """The k strongest patches of every unit."""

    needs = "images"
    question = "understand"
    title = "Strongest patches"
    rank = 24
    counts_broken = True
    effort = "quick"
    revision = 4  # 4: which images its twins see rests on their contents
    with_twin = True

    at: tuple[str, ...] = option(("shallow", "middle", "deep"), "layers to show: names, globs or aliases")
    k: int = option(9, "number of strongest patches of each unit", low=2, high=100)
    units: int = option(3, "units shown of each layer; the arrays of values hold all", low=1, high=4096)
    sort: Literal["spread", "first", "strong", "selective"] = option(
        "spread", "units shown: evenly from the active ones, the first, the strongest, those whose images share a class"
    )
    numbers: tuple[int, ...] = option((), "units shown, by number from 0; empty: by sort")
    per_image: int = option(1, "most patches of a unit from one image", low=1, high=100)
    size: int = option(112, "longest side of a stored patch, px", low=8, high=2048)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=0.1 * self.units * self.k * len(self.at), seconds=0.5)

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return layers_with_maps(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> list[str]:
        return [name for name in self.at if self.at != DEFAULT or name in specimen.aliases]

    def empty_tally(self) -> Bundle:
        return Bundle({"all": Top(self.k), "few": Top(self.k)})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return strongest_activations(specimen.layer(name), value, self.per_image)

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        every, some = tally.top("all"), tally.top("few")
        index = np.tile(batch.index, len(next(iter(seen.values()))[0]) // len(batch.index))
        known = shown_to_twins(specimen, batch.images, index)  # the images that the untrained twin sees too
        for name, (values, cells) in seen.items():
            every.add(name, index, values, cells)
            if batch.total > specimen.twin_images and known.any():
                some.add(name, index[known], values[known], cells[known])

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        top, some = tally.top("all"), tally.top("few")
        names = self.layers_to_watch(specimen)
        windows = patch_windows(specimen, names)
        arrays: dict[str, Any] = {}
        for name in names:
            arrays |= self._layer(specimen, images, name, top, windows[name])
        watched = twin_indices(specimen, images)
        labels = None if images.labels is None else np.asarray(images.labels)
        own = [nonzero_peaks(some if len(images) > specimen.twin_images else top, name)[1] for name in names]
        local = [
            np.searchsorted(watched, index) * (index >= 0) - (index < 0) for index in own
        ]  # indices among the watched images
        known = None if labels is None else labels[watched]
        twin_peaks = [[nonzero_peaks(twin.top("all"), name)[1] for name in names] for twin in twins]
        arrays |= _selectivity_arrays(names, local, known, len(watched))
        arrays |= over_twins([_twin_selectivity(names, local, peaks, known) for peaks in twin_peaks])
        layers = {"layer": names}
        sides = layers | {"axis": ["row", "col"]}
        silent = [float((nonzero_peaks(top, name)[1] < 0).all(0).mean()) for name in names]
        exact = [float(windows[name].exact) for name in names]
        arrays["extent"] = array([windows[name].size for name in names], ("layer", "axis"), "px", sides, "side of the window")
        arrays["silent"] = array(silent, ("layer",), "fraction of units", layers, "units without a patch")
        arrays["followed"] = array(exact, ("layer",), "1", layers, "exact receptive field")
        missing = reasons_not_measured(specimen, self._asked(specimen), names)
        return Measurement(arrays, {"images": len(images), "twin_images": len(watched), "unmeasured": missing})

    def _layer(self, specimen: Specimen, images: Images, name: str, top: Top, window: PatchWindow) -> dict[str, Any]:
        """The arrays of one layer: values and positions of all units, patches of those shown."""
        value, image, cell = nonzero_peaks(top, name)
        labels = None if images.labels is None else np.asarray(images.labels)
        shown = self._units_to_show(specimen, name, value, image, labels)
        row, col = grid_position(window, cell)
        ranks, units = {"rank": np.arange(1, len(value) + 1)}, {"unit": np.arange(value.shape[1])}
        by_unit = {"unit": shown} | ranks
        patches = crop_patches(images, specimen.recipe, window, image[:, shown], cell[:, shown], self.size)
        boxes = [[window.box(row[k, u], col[k, u]) for k in range(len(value))] for u in shown]
        sides = {"axis": ["top", "bottom", "left", "right"]}
        arrays = {
            f"value/{name}": array(value, ("rank", "unit"), "activation", ranks | units),
            f"place/{name}": array(
                np.stack([image, row, col], 2), ("rank", "unit", "axis"), "number of the image, position", ranks | units | AXES
            ),
            f"crop/{name}": array(patches, ("unit", "rank", "row", "col", "rgb"), "8-bit grey levels", by_unit),
            f"box/{name}": array(np.array(boxes), ("unit", "rank", "axis"), "px", by_unit | sides, "edges of the window"),
            f"picture/{name}": array(_words_at(image[:, shown].T, images.names), ("unit", "rank"), "text", by_unit, "image"),
        }
        if labels is not None:
            words = images.titles or images.classes
            classes = ["unknown" if c < 0 else words[c] if words else f"class {c}" for c in labels.tolist()]
            of_image = _words_at(image[:, shown].T, classes)
            arrays[f"label/{name}"] = array(of_image, ("unit", "rank"), "text", by_unit, "class of the image")
            agreement = class_agreement(image, labels)
            arrays[f"agreement/{name}"] = array(agreement, ("unit",), "probability", units, "class agreement")
        return arrays

    def _units_to_show(self, specimen: Specimen, name: str, value: Any, image: Any, labels: Any) -> Any:
        if self.numbers:
            check_numbers(self.name(), specimen, name, self.numbers, value.shape[1])
            return np.array(self.numbers)
        usable = labels is not None and np.isfinite(chance_class_agreement(labels))
        return choose_units(self.sort, self.units, value, image, labels if usable else None)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        at = str(finding["extent"].layer.values[-1])

        def at_end(name: str) -> float:
            return float(finding[name].sel(layer=at))

        def pair(name: str, column: str, better: Literal["higher", "lower"]) -> list[KeyNumber]:
            value, twin, chance = (at_end(f"{prefix}{column}") for prefix in ("", "twin_", "chance_"))
            return [
                KeyNumber(name=name, value=value, unit=FRACTION, baseline=twin, baseline_name=TWINS, better=better, at=at),
                KeyNumber(name=f"{name}, chance", value=chance, unit=FRACTION, at=at),
            ]

        classes: list[KeyNumber] = []
        if _has_class_pairs(finding):
            above = KeyNumber(
                name="units above 95% of the twin's", value=at_end("above_twin"), unit=FRACTION, better="higher", at=at
            )
            classes = [*pair("class agreement", "agreement", "higher"), above]
        silent = KeyNumber(name="units without a patch", value=at_end("silent"), unit=FRACTION, better="lower", at=at)
        return [*classes, *pair("images shared by units", "shared", "lower"), silent]

    def headline(self, finding: Finding) -> str:
        leading, chance = finding.key_numbers[:2]
        silent = finding.key("units without a patch")
        if silent.value == 1:
            return f"No unit of {leading.at} has a finite activation other than zero on {plural(finding.facts['images'], 'image')}."
        if isnan(leading.value):
            return (
                f"At {leading.at}, {silent.text} of the units have no patch, too many for a comparison with the untrained twin."
            )
        start = f"Untrained weights, {leading.at}:" if finding.trained is False else f"At {leading.at},"
        compared = f"(untrained twins {leading.baseline_text or 'unknown'}, chance {chance.text})"
        if leading.name == "class agreement":
            return f"{start} {leading.text} of pairs of a unit's strongest images share a class {compared}."
        return f"{start} strongest images of two different units coincide with probability {leading.text} {compared}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        names = [str(name) for name in finding["extent"].layer.values]
        shown: list[Panel] = [
            Grid(
                title=f"Strongest patches of {name}",
                z=f"crop/{name}",
                across="rank",
                down="unit",
                note=_layer_note(finding, name),
            )
            for name in names[:MAX_LAYERS]
        ]
        if _has_class_pairs(finding):
            shown.append(
                Bars(title="Class agreement by layer", y=("agreement",), x="layer",
                     null=("twin_agreement", "chance_agreement"),
                     note="Probability that two of a unit's images have the same class. Grey: the untrained twin, and chance.")
            )  # fmt: skip
        shown.append(
            Bars(title="Images shared by units", y=("shared",), x="layer", null=("twin_shared", "chance_shared"),
                 note="Probability that images drawn from two different units are the same. Grey: the untrained twin, and chance.")
        )  # fmt: skip
        kind = "label" if _has_class_pairs(finding) else "picture"
        return [*shown, Table(title=f"Images of the patches of {names[-1]}", rows="unit", columns=(f"{kind}/{names[-1]}",))]

    def caveats(self, finding: Finding) -> Sequence[str]:
        names = [str(name) for name in finding["extent"].layer.values]
        count, watched = finding.facts["images"], finding.facts["twin_images"]
        lines = [
            *_specificity(finding),
            "The strongest activations are the tail of a unit's responses: most responses are weaker and may look different.",
            f"The units shown are a choice ({option_name('sort')}, {option_name('numbers')}); the numbers are over all units of a layer.",
        ]
        if watched < count:
            lines.append(
                f"The comparison with the untrained twin is on {watched} of the {plural(count, 'image')}, the same for both."
            )
        for name in names:
            value = finding[f"value/{name}"].values
            if ties := int((value[0] == value[-1]).sum()):
                lines.append(
                    f"{name}: {ties} of {plural(value.shape[1], 'unit')} reach the same largest value in "
                    f"{plural(len(value), 'image')} or more; "
                    "the order of the images decides which are shown."
                )
            if silent := float(finding["silent"].sel(layer=name)):
                fraction = format_value(silent, FRACTION)
                lines.append(f"{name}: {fraction} of the units have no finite value other than zero, so no patch.")
            if not float(finding["followed"].sel(layer=name)):
                lines.append(f"{name}: the receptive field could not be followed to the pixels, so whole images are shown.")
        if len(names) > MAX_LAYERS:
            lines.append(f"Patches of the first {MAX_LAYERS} of {plural(len(names), 'layer')} are shown; the arrays hold all.")
        return lines


def _specificity(finding: Finding) -> list[str]:
    """Whether the units of the deepest layer are more specific than random filters; empty where no unit has a patch.

    Units of a layer are not independent: 5% above the twin's 95% is chance, 12% was seen in an untrained network.
    """
    shared, chance = finding.key("images shared by units"), finding.key("images shared by units, chance").value
    if finding.key("units without a patch").value == 1 or shared.baseline_missing:
        return []
    if _has_class_pairs(finding):
        agreement, above = finding.key("class agreement"), finding.key("units above 95% of the twin's").value
        specific = above > 0.2 and agreement.value > max(agreement.baseline, finding.key("class agreement, chance").value)
    else:
        specific = (shared.baseline - chance) / 2 > shared.value - chance
    words = "more specific than random filters" if specific else "not clearly more specific than random filters"
    return [f"The units of {shared.at} are {words}."]


def _layer_row(names: Sequence[str], name: str, values: Sequence[float], unit: str, title: str) -> dict[str, Any]:
    return {name: array(np.array(values, dtype=np.float64), ("layer",), unit, {"layer": list(names)}, title)}


def _selectivity_arrays(names: Sequence[str], own: Sequence[Any], labels: Any, count: int) -> dict[str, Any]:
    """How specific the units of each layer are, with chance; indices (rank, unit) among `count` images."""
    arrays = _layer_row(names, "shared", [shared_image_rate(index) for index in own], "probability", "network")
    arrays |= _layer_row(names, "chance_shared", [1 / count] * len(names), "probability", "chance")
    if labels is not None:
        agreements = [_mean(class_agreement(index, labels)) for index in own]
        chance = [chance_class_agreement(labels)] * len(names)
        arrays |= _layer_row(names, "agreement", agreements, "probability", "network")
        arrays |= _layer_row(names, "chance_agreement", chance, "probability", "chance")
    return arrays


def _twin_selectivity(names: Sequence[str], own: Sequence[Any], twin: Sequence[Any], labels: Any) -> dict[str, Any]:
    """The same of one untrained twin, and the fraction of the network's units that are more specific than the twin's."""
    shared = [shared_image_rate(index) for index in twin]
    arrays = _layer_row(names, "twin_shared", shared, "probability", "untrained twins")
    if labels is not None:
        mine, null = ([class_agreement(index, labels) for index in by_layer] for by_layer in (own, twin))
        above = [_fraction_above(agreement, other) for agreement, other in zip(mine, null, strict=True)]
        arrays |= _layer_row(
            names, "twin_agreement", [_mean(agreement) for agreement in null], "probability", "untrained twins"
        )
        arrays |= _layer_row(names, "above_twin", above, "fraction of units", "units above 95% of a twin's")
    return arrays


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _fraction_above(own: Any, null: Any) -> float:
    """The fraction of `own` above the 95th percentile of `null`; NaN where either is empty."""
    own, null = own[np.isfinite(own)], null[np.isfinite(null)]
    return float((own > np.quantile(null, 0.95, method="higher")).mean()) if len(own) and len(null) else float("nan")


def _has_class_pairs(finding: Finding) -> bool:
    """Whether class agreement is defined: some class has more than one image."""
    return (
        "agreement" in finding
        and float(finding["chance_agreement"].values[0]) > 0
        and bool(np.isfinite(finding["agreement"].values[-1]))
    )


def _words_at(indices: Any, words: Sequence[Any]) -> Any:
    """The words at those indices, empty for -1."""
    texts = np.empty(indices.shape, dtype=object)
    for at in np.ndindex(indices.shape):
        texts[at] = str(words[indices[at]]) if indices[at] >= 0 else ""
    return texts


def _layer_note(finding: Finding, name: str) -> str:
    rows, cols = (int(side) for side in finding["extent"].sel(layer=name).values)
    boxes = finding[f"box/{name}"]
    whole = bool((boxes.sel(axis="top") == 0).all() and (boxes.sel(axis="left") == 0).all())
    window = f"The receptive field, {rows} × {cols} px; uniform colour lies outside the image."
    if whole:
        window = "The whole image, since the receptive field covers it; the frame marks the unit's position."
    return f"One row for each unit, strongest first. {window}"
