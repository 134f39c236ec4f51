"""Grad-CAM maps from shallow to deep layers, checked against an untrained twin.

Grad-CAM weights each unit's map by the mean gradient of the class score and keeps the positive part. Maps are raw (not rescaled to
0..1), and their positions are drawn where they lie in the image. Two checks come with them: does the map change with the class, and
does the untrained twin, or an edge detector, give the same map? If so, the map shows nothing that was learnt.

Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1-2; sanity checks, Adebayo et al. 2018, arXiv:1810.03292; energy in the
mask, Wang et al. 2020, arXiv:1910.01279, sec. 4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, UnknownName, did_you_mean
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import (
    METHODS,
    VisibleLayers,
    attribution_maps,
    mean_rank_correlation,
    offset_px,
    place_cells,
    visible_layers,
)
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.shown_images import choose_images, image_arrays, output_name
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.maps.heat import energy_inside, heat_coverage
from microtome.numerics.maps.strata import edge_strength
from microtome.numerics.receptive.geometry import interpolate, resample_area
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

OVERLAY_GRID = 56  # positions, longest side of the interpolated maps


@dataclass
class _BatchMaps:
    """The maps of a batch, one row for each image: signed, (image, row, col), by layer."""

    index: np.ndarray[Any, Any]
    pixels: np.ndarray[Any, Any]
    scores: Tensor
    target: Tensor
    maps: dict[str, Tensor]
    other: dict[str, Tensor]
    twin: dict[str, Tensor]


@final
class Cam(Analysis):
    """Class activation maps of several layers, with two sanity checks."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Class activation maps"
    rank: ClassVar[int] = 4
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 4  # 4: which images its twins see rests on their contents

    at: tuple[str, ...] = option("shallow,middle,deep,last3", "layers to map: names, globs or aliases")
    kind: Literal["gradcam"] = option("gradcam", "attribution method")
    target: Literal["predicted", "label"] = option("predicted", "target class of each image, where `classes` is empty")
    classes: tuple[str, ...] = option((), "target classes, by name or output number; empty: the `target` of each image")
    only: tuple[str, ...] = option(
        (), "images to show, by name or index; empty: spread over object size and clutter, or evenly"
    )
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "location of map positions: from kernels, strides and padding, or evenly tiled"
    )
    count: int = option(6, "number of images shown", low=1, high=200, quick=3, full=12)
    grid: int = option(7, "side of the common grid on which layers are compared, positions", low=2, high=64)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        return Workload(forward=8.0, backward=4.0 * shown, twins=1, seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        taken = images.take(choose_images(self.name(), specimen, images, self.only, self.count))
        wanted = _class_indices(specimen, self.classes)
        labels = np.full(len(taken), -1, dtype=np.int64)
        if self.target == "label" and not wanted:
            answers = match_classes(specimen, taken, int(specimen.outputs or 0))  # refuses images without any label
            labels = answers.targets(np.asarray(taken.labels))
            if (labels < 0).any():
                raise BadOption("cam: target is label, but some images have none. Try --target predicted, or name --classes.")
        twin = specimen.working_twin(images)
        parts: list[_BatchMaps] = []
        shown: VisibleLayers | None = None
        for batch in batches(specimen, taken, pace):
            shown = shown or place_cells(visible_layers(specimen, self.at, batch.x[:4]), self.place, specimen.recipe.size)
            fixed = torch.from_numpy(labels[batch.index]) if self.target == "label" else None
            for output in wanted or [None]:
                asked = fixed if output is None else torch.full((len(batch.x),), output)
                parts.append(_attribute_batch(specimen, twin, shown.names, batch, asked, self.kind))
            pace.listener(Step(f"{specimen.name}: maps", int(batch.index[-1]) + 1, len(taken), 0.0))
        assert shown is not None  # `take` refuses an empty choice
        remarks = {name: remark for name in shown.names if (remark := _coverage_remark(shown, name, specimen.recipe.size))}
        arrays = _to_arrays(specimen, taken, shown, parts, self.grid)
        return Measurement(arrays, {"dropped": dict(shown.dropped), "placing": remarks})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        deep = str(finding["heat"].coords["layer"].values[-1])

        def of(name: str) -> float:
            return float(finding[name].sel(layer=deep))

        half = finding["coverage50"].sel(layer=deep).values
        median = nan if np.isnan(half).all() else float(np.nanmedian(half))
        numbers = [
            KeyNumber(
                name="area of half the evidence",
                value=median,
                unit=FRACTION,
                baseline=0.5,
                baseline_name="an even map",
                at=deep,
            ),
            KeyNumber(name="rank correlation with the runner-up class", value=of("class_correlation"), better="lower", at=deep),
            KeyNumber(name="rank correlation with the untrained twin", value=of("twin_correlation"), better="lower", at=deep),
            KeyNumber(name="maps", value=finding["image"].sizes["image"]),
        ]
        if "energy" not in finding:
            return numbers
        inside = KeyNumber(
            name="energy-based pointing game",
            value=of("energy"),
            unit=FRACTION,
            baseline=of("twin_energy"),
            better="higher",
            at=deep,
        )
        return [inside, KeyNumber(name="object area", value=of("mean_area"), unit=FRACTION), *numbers]

    def headline(self, finding: Finding) -> str:
        half, count = finding.key("area of half the evidence"), finding["image"].sizes["image"]
        if np.isnan(half.value):
            return f"At {half.at} no evidence for the target class in any of {plural(count, 'map')}."
        if "energy" in finding and not np.isnan(finding.key("energy-based pointing game").value):
            inside, area = finding.key("energy-based pointing game"), finding.key("object area")
            twin = f"untrained twin {inside.baseline_text}" if inside.baseline_text else "the untrained twin's maps are empty"
            return (
                f"At {inside.at} {inside.text} of Grad-CAM energy lies on objects covering {area.text} of the image ({twin})."
            )
        return f"At {half.at} half of the Grad-CAM energy covers {half.text} of the image (median; an even map 50%)."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        mask = "mask" if "mask" in finding else ""
        own = "Each map has its own colour scale." + (" The outline is the object's mask." if mask else "")
        panels: list[Panel] = [
            Overlay(title="Where the evidence lies", note=own, base="image", heat="smooth", across="layer", mask=mask)
        ]
        if mask:
            energy = Bars(title="Energy on the object", y=("energy",), x="layer", null=("twin_energy", "mean_area"))
            panels.append(replace(energy, note="Grey: the untrained twin, and an even map."))
        panels.append(Table(title="Target classes", rows="image", columns=("label", "predicted", "probability", "target")))
        panels.append(
            Bars(
                title="Does the map depend on the class and on training?",
                note="Rank correlation with the map of the runner-up class, with the untrained twin's map and with edges; near 1 the map "
                "depends on neither.",
                y=("class_correlation", "twin_correlation", "edge_correlation"),
                x="layer",
            )
        )
        for layer in finding["heat"].coords["layer"].values:
            note = "The network's own grid, its positions where they lie in the image."
            heat, extent = f"heat/{layer}", f"extent/{layer}"
            panels.append(
                Overlay(title=f"{layer} on its own grid", note=note, base="image", heat=heat, mask=mask, extent=extent)
            )
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        caveats = [f"Left out {name}: {reason}." for name, reason in finding.facts["dropped"].items()]
        caveats += [f"{name}: {remark}" for name, remark in finding.facts["placing"].items()]
        empty = finding["empty"]
        for layer in empty.coords["layer"].values:
            if number := int(empty.sel(layer=layer).sum()):
                caveats.append(
                    f"{layer}: {number} of {empty.sizes['image']} maps are empty: all evidence is against the class."
                )
        if low := int((finding["probability"] < 0.5).sum()):
            caveats.append(f"In {low} of {empty.sizes['image']} maps the target class has a probability below one half.")
        if finding.trained is False:
            caveats.append("These weights are untrained: the maps show the architecture, not what was learnt.")
        return caveats


def _attribute_batch(
    specimen: Specimen, twin: Specimen, names: Sequence[str], batch: Batch, asked: Tensor | None, kind: str
) -> _BatchMaps:
    """Maps of the asked class (None: the predicted one), of the strongest other class, and of the twin for the asked class."""
    chosen: list[Tensor] = []

    def targets(scores: Tensor) -> list[Tensor]:
        first = scores.argmax(1) if asked is None else asked.to(scores.device)
        rest = scores.scatter(1, first[:, None], -torch.inf)
        chosen.extend([first, rest.argmax(1)])
        return chosen

    scores, (maps, other) = attribution_maps(specimen, names, batch.x, targets, METHODS[kind])
    _, (null,) = attribution_maps(twin, names, batch.x, lambda _: chosen[:1], METHODS[kind])
    host = [{name: value.cpu() for name, value in one.items()} for one in (maps, other, null)]
    return _BatchMaps(batch.index, batch.pixels, scores.cpu(), chosen[0].cpu(), *host)


def _to_arrays(
    specimen: Specimen, taken: Images, shown: VisibleLayers, parts: list[_BatchMaps], grid: int
) -> dict[str, xr.DataArray]:
    order = np.argsort(np.concatenate([part.index for part in parts]), kind="stable")  # the classes of an image side by side
    index = np.concatenate([part.index for part in parts])[order]
    scores = torch.cat([part.scores for part in parts])[order]
    target = torch.cat([part.target for part in parts])[order]
    pixels = np.concatenate([part.pixels for part in parts])[order]
    maps, other, twin = (
        {name: torch.cat([getattr(part, kind)[name] for part in parts])[order] for name in shown.names}
        for kind in ("maps", "other", "twin")
    )
    names = _map_names(taken, index, [output_name(specimen, int(output)) for output in target])
    images = {"image": names}
    both = images | {"layer": list(shown.names)}
    heats = {name: value.relu() for name, value in maps.items()}
    masks = _image_masks(taken, specimen, index)
    arrays = image_arrays(pixels, masks, images) | _target_arrays(specimen, taken, index, scores, target, images)
    arrays |= _map_arrays(heats, shown, pixels.shape[1:3], grid, images, both)
    arrays |= _sanity_arrays(maps, other, twin, pixels, shown, grid)
    if masks is not None:
        arrays |= _mask_arrays(heats, {name: value.relu() for name, value in twin.items()}, shown, masks, both)
    return arrays


def _target_arrays(
    specimen: Specimen, taken: Images, index: Any, scores: Tensor, target: Tensor, images: dict[str, Any]
) -> dict[str, xr.DataArray]:
    probability = scores.double().softmax(1)
    words = taken.titles or taken.classes
    known = taken.labels[index] if taken.labels is not None else np.full(len(index), -1)
    texts = {
        "label": [words[label] if words and label >= 0 else "unknown" for label in known],
        "predicted": [output_name(specimen, int(output)) for output in scores.argmax(1)],
        "target": [output_name(specimen, int(output)) for output in target],
    }
    arrays = {name: array(np.array(text, dtype=object), ("image",), "text", images) for name, text in texts.items()}
    target_probability = probability.gather(1, target[:, None])[:, 0].numpy()
    return arrays | {"probability": array(target_probability, ("image",), "1", images, "probability of the target")}


def _map_arrays(
    heats: dict[str, Tensor], shown: VisibleLayers, size: Any, grid: int, images: Any, both: Any
) -> dict[str, xr.DataArray]:
    size = (int(size[0]), int(size[1]))
    fine = min(OVERLAY_GRID, max(max(value.shape[1:]) for value in heats.values()))
    side = max(size)
    smooth_grid = (max(1, round(fine * size[0] / side)), max(1, round(fine * size[1] / side)))
    common = torch.stack([resample_area(heats[name], shown.where[name], size, (grid, grid)) for name in shown.names], 1)
    smooth = torch.stack([interpolate(heats[name], shown.where[name], size, smooth_grid) for name in shown.names], 1)
    peak = torch.stack([heats[name].amax((1, 2)) for name in shown.names], 1)
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
    maps: dict[str, Tensor], other: dict[str, Tensor], twin: dict[str, Tensor], pixels: Any, shown: VisibleLayers, grid: int
) -> dict[str, xr.DataArray]:
    """Mean rank correlations of the signed maps with what should differ from them."""
    edges = torch.from_numpy(edge_strength(pixels))
    rivals = {"class_correlation": other, "twin_correlation": twin, "edge_correlation": edges}
    titles = {
        "class_correlation": "runner-up class",
        "twin_correlation": "untrained twin",
        "edge_correlation": "edges of the image",
    }
    coords = {"layer": list(shown.names)}
    rows = {
        name: mean_rank_correlation(maps, one, shown, (pixels.shape[1], pixels.shape[2]), grid) for name, one in rivals.items()
    }
    arrays = {name: array(row, ("layer",), "rank correlation", coords, titles[name]) for name, row in rows.items()}
    opposite = 1 - np.array(rows["class_correlation"])
    return arrays | {"class_sensitivity": array(opposite, ("layer",), "1", coords, "1 - correlation between classes")}


def _mask_arrays(
    heats: dict[str, Tensor], twin: dict[str, Tensor], shown: VisibleLayers, masks: Any, both: Any
) -> dict[str, xr.DataArray]:
    wanted = torch.from_numpy(masks)
    size = (int(wanted.shape[1]), int(wanted.shape[2]))
    area = wanted.double().mean((1, 2)).where(wanted.flatten(1).any(1), torch.nan)
    own, null = (
        torch.stack(
            [energy_inside(resample_area(one[name], shown.where[name], size, size), wanted)[0] for name in shown.names], 1
        )
        for one in (heats, twin)
    )
    own, null = (one.where(~area.isnan()[:, None], torch.nan) for one in (own, null))
    layers = {"layer": both["layer"]}
    even = np.full(len(shown.names), float(area.nanmean()))
    return {
        "energy_in_mask": array(own.numpy(), ("image", "layer"), "fraction of the energy", both),
        "area": array(area.numpy(), ("image",), "fraction of the image", {"image": both["image"]}),
        "energy": array(own.nanmean(0).numpy(), ("layer",), "fraction of the energy", layers, title="energy on the object"),
        "twin_energy": array(null.nanmean(0).numpy(), ("layer",), "fraction of the energy", layers, title="untrained twin"),
        "mean_area": array(even, ("layer",), "fraction of the energy", layers, title="an even map"),
    }


def _class_indices(specimen: Specimen, classes: Sequence[str]) -> list[int]:
    """The outputs that `classes` name: by name (any of the synonyms), WordNet id, or number."""
    outputs = int(specimen.outputs or 0)
    known = {str(place): place for place in range(outputs)}
    for place, name in reversed(list(enumerate((specimen.labels or ())[:outputs]))):
        known |= {part.strip().lower(): place for part in (*name.split(","), name)}
    known |= {name: place for place, name in enumerate(specimen.wordnet or ()) if name}
    for one in classes:
        if one.lower() not in known:
            hint = (
                did_you_mean(one, specimen.labels)
                if specimen.labels
                else f" Its classes have no names; give 0 to {outputs - 1}."
            )
            raise UnknownName(f"cam: {specimen.name} has no class '{one}'.{hint}")
    return [known[one.lower()] for one in classes]


def _image_masks(images: Images, specimen: Specimen, index: Any) -> Any:
    return images.masks(specimen.recipe, index) if images.has_masks else None


def _map_names(images: Images, index: Any, classes: Sequence[str]) -> list[str]:
    """One name for each map: the image's, with the class where an image is shown more than once."""
    names = images.names
    several = len(set(index.tolist())) < len(index)
    return [f"{names[at]} · {one}" if several else names[at] for at, one in zip(index, classes, strict=True)]


def _coverage_remark(shown: VisibleLayers, name: str, size: tuple[int, int]) -> str:
    where = shown.where[name]
    if not where.exact:
        return "its positions are assumed to tile the image evenly, since an operation before it cannot be followed."
    apart, off = max(where.row.spread, where.col.spread), offset_px(where, size)
    if apart > where.row.jump / 2:
        return f"its paths differ by {format_value(apart, 'px')}; positions are drawn at their mean."
    if off > where.row.jump / 4:
        # measured on trained networks: what a position responds to lies between the arithmetic and an even tiling
        return f"kernels and padding shift its positions {format_value(off, 'px')} off an even tiling; training may undo it (--place even)."
    return ""
