"""Class activation maps: where the evidence for a class lies, from shallow to deep.

Grad-CAM weighs each unit's map by the mean gradient of the class score and keeps the positive part. Maps are raw (not stretched
to 0..1) and lie where the cells really are. Two doubts are measured beside them: does the map change with the class, and does
an untrained network of the same architecture, or a mere edge detector, give the same map? If so, the map is no finding.

Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1-2; sanity checks, Adebayo et al. 2018, arXiv:1810.03292; energy in the
mask, Wang et al. 2020, arXiv:1910.01279, sec. 4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
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
from microtome.numerics.maps.heat import energy_inside, heat_coverage
from microtome.numerics.maps.strata import edge_strength
from microtome.numerics.receptive.geometry import interpolate, resample_area
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen

OVERLAY_GRID = 56  # cells, longest side of the maps drawn over them


@dataclass
class _BatchMaps:
    """What a batch gave, one row for each picture: maps (image, row, col) are signed, by layer."""

    index: np.ndarray[Any, Any]
    pixels: np.ndarray[Any, Any]
    scores: Tensor
    target: Tensor
    maps: dict[str, Tensor]
    other: dict[str, Tensor]
    twin: dict[str, Tensor]


@final
class Cam(Analysis):
    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Class activation maps"
    revision: ClassVar[int] = 2

    at: tuple[str, ...] = option("shallow,middle,deep,last3", "layers to look at, by name, glob or alias")
    kind: Literal["gradcam"] = option("gradcam", "how activations and gradients become a map")
    target: Literal["predicted", "label"] = option("predicted", "the class asked about, where classes names none")
    classes: tuple[str, ...] = option((), "classes asked about, by name or output number; empty: the target of each image")
    only: tuple[str, ...] = option(
        (), "images to show, by name or place; empty: spread over object size and clutter, or evenly"
    )
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "where cells lie: by kernels, strides and padding, or evenly tiled"
    )
    count: int = option(6, "how many images are shown", low=1, high=200)
    grid: int = option(7, "side of the common grid on which layers are compared, in cells", low=2, high=64)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        taken = images.take(choose_images(self.name(), specimen, images, self.only, self.count))
        wanted = _class_indices(specimen, self.classes)
        labels = np.full(len(taken), -1, dtype=np.int64)
        if self.target == "label" and not wanted:
            answers = match_classes(specimen, taken, int(specimen.outputs or 0))  # refuses images without any label
            labels = answers.targets(np.asarray(taken.labels))
            if (labels < 0).any():
                raise BadOption("cam: target is label, but some images have none. Try --target predicted, or name --classes.")
        twin = specimen.working_twin(images)
        seen: list[_BatchMaps] = []
        shown: VisibleLayers | None = None
        for batch in batches(specimen, taken, pace):
            shown = shown or place_cells(visible_layers(specimen, self.at, batch.x[:4]), self.place, specimen.recipe.size)
            fixed = torch.from_numpy(labels[batch.index]) if self.target == "label" else None
            for one in wanted or [None]:
                asked = fixed if one is None else torch.full((len(batch.x),), one)
                seen.append(_attribute_batch(specimen, twin, shown.names, batch, asked, self.kind))
            pace.listener(Step(f"{specimen.name}: maps", int(batch.index[-1]) + 1, len(taken), 0.0))
        assert shown is not None  # `take` refuses an empty choice
        return _to_arrays(specimen, taken, shown, seen, self.grid)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        mask = "mask" if "mask" in found else ""
        own = "Each map has a colour scale of its own." + (" The outline is the object's mask." if mask else "")
        shown: list[Panel] = [
            Overlay(title="Where the evidence lies", note=own, base="image", heat="smooth", across="layer", mask=mask)
        ]
        if mask:
            share = Bars(title="Heat on the object", y=("energy",), x="layer", null=("twin_energy", "mean_area"))
            shown.append(replace(share, note="Grey: the untrained twin, and an even map."))
        shown.append(Table(title="What was asked", rows="image", columns=("label", "predicted", "probability", "target")))
        shown.append(
            Bars(
                title="Does the map depend on the class and on training?",
                note="Rank correlation with the map of the runner-up class, of the untrained twin, and edges: near 1 it says little.",
                y=("class_correlation", "twin_correlation", "edge_correlation"),
                x="layer",
            )
        )
        for layer in found["heat"].coords["layer"].values:
            note = "The grid as the network has it, its cells where they really lie."
            heat, extent = f"heat/{layer}", f"extent/{layer}"
            shown.append(
                Overlay(title=f"{layer} on its own grid", note=note, base="image", heat=heat, mask=mask, extent=extent)
            )
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        deep = str(found["heat"].coords["layer"].values[-1])
        at = {"layer": deep}
        count = found["image"].sizes["image"]
        rivals = {"the runner-up class' map": "class_correlation", "the untrained twin's": "twin_correlation"}
        doubt = "rank correlation with " + ", with ".join(
            f"{rival} {_format_number(float(found[name].sel(at)), '.2f')}" for rival, name in rivals.items()
        )
        if "energy" in found:
            inside, chance, null = (float(found[name].sel(at)) for name in ("energy", "mean_area", "twin_energy"))
            return (
                f"At {deep}, {_format_number(inside, '.0%')} of the heat lies on objects that cover {chance:.0%} of the picture "
                f"(untrained twin {_format_number(null, '.0%')}; {count} maps); {doubt}."
            )
        half = found["coverage50"].sel(at).values
        if np.isnan(half).all():
            return f"At {deep}, nothing speaks for the asked class in any of {count} maps."
        middle = float(np.nanmedian(half))
        return f"At {deep}, half of the heat fits in {middle:.0%} of the picture (median of {count} maps; even: 50%); {doubt}."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [f"Left out {name}: {why}." for name, why in _pairs(found.get("dropped"))]
        said += [f"{name}: {why}" for name, why in _pairs(found.get("placing"))]
        empty = found["empty"]
        for layer in empty.coords["layer"].values:
            if number := int(empty.sel(layer=layer).sum()):
                said.append(
                    f"{layer}: {number} of {empty.sizes['image']} maps are empty: all evidence there is against the class."
                )
        if low := int((found["probability"] < 0.5).sum()):
            said.append(f"In {low} of {empty.sizes['image']} maps the asked class has a probability below one half.")
        if float(found["trained"]) == 0:
            said.append("These weights are untrained: the maps show the architecture, not knowledge.")
        return said


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
    specimen: Specimen, taken: Images, shown: VisibleLayers, seen: list[_BatchMaps], grid: int
) -> dict[str, xr.DataArray]:
    order = np.argsort(np.concatenate([one.index for one in seen]), kind="stable")  # the classes of a picture side by side
    index = np.concatenate([one.index for one in seen])[order]
    scores = torch.cat([one.scores for one in seen])[order]
    target = torch.cat([one.target for one in seen])[order]
    pixels = np.concatenate([one.pixels for one in seen])[order]
    maps, other, twin = (
        {name: torch.cat([getattr(one, part)[name] for one in seen])[order] for name in shown.names}
        for part in ("maps", "other", "twin")
    )
    names = _map_names(taken, index, [output_name(specimen, int(one)) for one in target])
    images = {"image": names}
    both = images | {"layer": list(shown.names)}
    heats = {name: value.relu() for name, value in maps.items()}
    masks = _image_masks(taken, specimen, index)
    found = image_arrays(pixels, masks, images) | _target_arrays(specimen, taken, index, scores, target, images)
    found |= _map_arrays(heats, shown, pixels.shape[1:3], grid, images, both)
    found |= _sanity_arrays(maps, other, twin, pixels, shown, grid)
    if masks is not None:
        found |= _mask_arrays(heats, {name: value.relu() for name, value in twin.items()}, shown, masks, both)
    found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
    loose = {name: why for name in shown.names if (why := _coverage_remark(shown, name, specimen.recipe.size))}
    for name, dim, told in (("dropped", "layer_", shown.dropped), ("placing", "layer__", loose)):
        if told:
            found[name] = array(np.array(list(told.values()), dtype=object), (dim,), "text", {dim: list(told)})
    return found


def _target_arrays(
    specimen: Specimen, taken: Images, index: Any, scores: Tensor, target: Tensor, images: dict[str, Any]
) -> dict[str, xr.DataArray]:
    chance = scores.double().softmax(1)
    words = taken.titles or taken.classes
    known = taken.labels[index] if taken.labels is not None else np.full(len(index), -1)
    texts = {
        "label": [words[one] if words and one >= 0 else "unknown" for one in known],
        "predicted": [output_name(specimen, int(one)) for one in scores.argmax(1)],
        "target": [output_name(specimen, int(one)) for one in target],
    }
    found = {name: array(np.array(text, dtype=object), ("image",), "text", images) for name, text in texts.items()}
    sure = chance.gather(1, target[:, None])[:, 0].numpy()
    return found | {"probability": array(sure, ("image",), "1", images, "probability of the target")}


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
    found = {
        "heat": array(common.float().numpy(), dims, "score", both, "positive evidence, mean in each cell of a common grid"),
        "smooth": array(smooth.float().numpy(), dims, "score", both, "positive evidence, interpolated for drawing"),
        "peak": array(peak.numpy(), ("image", "layer"), "score", both),
        "empty": array((peak <= 0).numpy(), ("image", "layer"), "1", both),
    }
    for share in (50, 90):
        spread = torch.stack([heat_coverage(common[:, place], share / 100) for place in range(len(shown.names))], 1)
        found[f"coverage{share}"] = array(spread.numpy(), ("image", "layer"), "share of the picture", both)
    for name in shown.names:
        found[f"heat/{name}"] = array(heats[name].float().numpy(), ("image", "row", "col"), "score", images)
        extent = np.tile(shown.where[name].extent(size), (len(heats[name]), 1))
        sides = {"axis": ["top", "bottom", "left", "right"]}
        found[f"extent/{name}"] = array(extent, ("image", "axis"), "share of the picture", images | sides)
    return found


def _sanity_arrays(
    maps: dict[str, Tensor], other: dict[str, Tensor], twin: dict[str, Tensor], pixels: Any, shown: VisibleLayers, grid: int
) -> dict[str, xr.DataArray]:
    """Mean rank correlations of the signed maps with what should differ from them."""
    pictured = torch.from_numpy(edge_strength(pixels))
    rivals = {"class_correlation": other, "twin_correlation": twin, "edge_correlation": pictured}
    titles = {
        "class_correlation": "runner-up class",
        "twin_correlation": "untrained twin",
        "edge_correlation": "edges of the picture",
    }
    coords = {"layer": list(shown.names)}
    rows = {
        name: mean_rank_correlation(maps, one, shown, (pixels.shape[1], pixels.shape[2]), grid) for name, one in rivals.items()
    }
    found = {name: array(row, ("layer",), "rank correlation", coords, titles[name]) for name, row in rows.items()}
    opposite = 1 - np.array(rows["class_correlation"])
    return found | {"class_sensitivity": array(opposite, ("layer",), "1", coords, "1 - correlation between classes")}


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
        "energy_in_mask": array(own.numpy(), ("image", "layer"), "share of the heat", both),
        "area": array(area.numpy(), ("image",), "share of the picture", {"image": both["image"]}),
        "energy": array(own.nanmean(0).numpy(), ("layer",), "share of the heat", layers, title="heat on the object"),
        "twin_energy": array(null.nanmean(0).numpy(), ("layer",), "share of the heat", layers, title="untrained twin"),
        "mean_area": array(even, ("layer",), "share of the heat", layers, title="an even map"),
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


def _format_number(value: float, form: str) -> str:
    """The number in words; maps without positive evidence anywhere have none."""
    return "undefined, its maps being empty or even" if np.isnan(value) else format(value, form)


def _image_masks(images: Images, specimen: Specimen, index: Any) -> Any:
    return images.masks(specimen.recipe, index) if images.has_masks else None


def _map_names(images: Images, index: Any, classes: Sequence[str]) -> list[str]:
    """One name for each map: the picture's, with the class where a picture is shown more than once."""
    names = images.names
    several = len(set(index.tolist())) < len(index)
    return [f"{names[at]} · {one}" if several else names[at] for at, one in zip(index, classes, strict=True)]


def _coverage_remark(shown: VisibleLayers, name: str, size: tuple[int, int]) -> str:
    where = shown.where[name]
    if not where.exact:
        return "the places of its cells are assumed to tile the picture, since an operation on the way is not followed."
    apart, off = max(where.row.spread, where.col.spread), offset_px(where, size)
    if apart > where.row.jump / 2:
        return f"paths that differ by {apart:.0f} px meet there; cells are drawn at their mean place."
    if off > where.row.jump / 4:
        # measured on trained networks: what a cell answers to lies between the arithmetic and an even tiling, nearer to either
        return f"its cells lie {off:.1f} px off an even tiling by kernels and padding; training may have drawn them back (--place even)."
    return ""


def _pairs(texts: xr.DataArray | None) -> list[tuple[str, str]]:
    return (
        []
        if texts is None
        else [(str(a), str(b)) for a, b in zip(texts.coords[texts.dims[0]].values, texts.values, strict=True)]
    )
