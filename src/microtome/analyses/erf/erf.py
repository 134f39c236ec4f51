"""Effective receptive fields on your images, with Gaussian fit, theory and untrained twin.

The mean over units at one position is differentiated by the input; colours are averaged, the rule (positive part by default) is
applied image by image, and images are summed. One forward pass serves all layers, each costs one backward pass. Beside the field:
its Gaussian fit, the mass around the centre of the position, the area that holds it, its centre compared with the computed one,
the theoretical receptive field, and the field of an untrained network of the same architecture. Units are px of the input.

A Gaussian describes a field where it leaves at most half of its variance (R² = 1 - SSE / SST) and at least half of the mass lies
within 3 σ of its centre. The published R², 1 - var(residual) / var(field), is given beside it: it forgives a constant, so that a spike
on a flat field fits by it. `--offset true` fits that constant as well.

Published widths (torchvision's and timm's ResNets at 224 px) are given for comparison: for torchvision's first
ImageNet weights layer4 has σ (rows x columns) 73.7 x 76.5 px in ResNet-18, 97.2 x 96.1 in 34, 62.2 x 64.8 in 50, 60.7 x 60.1 in 101,
58.7 x 60.6 in 152, 67.7 x 70.9 in ResNeXt-50, 77.0 x 77.7 in ResNeXt-101, 60.7 x 58.4 and 59.9 x 56.9 in Wide-ResNet-50-2 and 101-2. Other
weights, and untrained ones, have other fields. These numbers are quoted, not measured again here.

Source: Luo et al. 2016, arXiv:1701.04128, sec. 2; Kim et al. 2021, arXiv:2108.13576, alg. 1 (rule relu, colour mean first, free
centre); rule replknet, area ratio, Ding et al. 2022, arXiv:2203.06717, app. C. Rules abs, square, signed, and the segmentation
target (mean over classes in the middle of the output) are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
from torch import Tensor

from microtome.analyses.erf.field_arrays import field_arrays, finite
from microtome.analyses.erf.published_fields import (
    SIZE,
    PublishedField,
    compare_with_published,
    has_published_weights,
    published_row,
)
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable, WatchError, layers_hint, option_hint, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.input_gradients import Target, input_gradients, mean_over_units, middle_cell
from microtome.instruments.layer_choice import reasons_not_measured
from microtome.instruments.receptive_fields import receptive_fields
from microtome.instruments.untrained_twins import TWINS, twin_count, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.receptive.effective import sum_gradients
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Workload

MIN_R2 = 0.5  # 1 - SSE / SST below which a Gaussian describes little of the field
MIN_INSIDE = 0.5  # fraction of the mass within 3 σ below which it describes a small part of the field


@final
class Erf(Analysis):
    """Input gradients of chosen positions, summed over images."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Effective receptive fields"
    rank: ClassVar[int] = 30
    revision: ClassVar[int] = 5  # 5: several untrained twins, whose images are chosen by content
    with_twin: ClassVar[bool] = True

    at: tuple[str, ...] = option(("stages",), "layers to differentiate: names, globs or aliases")
    kind: Literal["mean", "logit", "segmentation"] = option(
        "mean", "target: mean over units at a position, logit of the predicted class, or the middle of a segmentation"
    )
    rule: Literal["relu", "abs", "square", "signed", "replknet"] = option(
        "relu", "rule by which gradients of different sign are summed"
    )
    cell: tuple[int, ...] = option(
        (), "row and column of the position; empty: the middle of the feature map (upper left of four)"
    )
    channels: tuple[int, ...] = option((), "units to average, by number; empty: all")
    offset: bool = option(False, "whether to fit a constant under the Gaussian")
    count: int = option(12, "number of images, evenly spaced", low=1, high=100000, quick=4, full=50)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        return Workload(backward=2.5 * shown * (1 + specimen.twin_count / 4), twins=specimen.twin_count, seconds=1.0)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        indices = np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int))
        chosen = images.take(indices)
        theory = self._theory(specimen)
        cells = {name: self._cell(name, field.grid) for name, field in theory.items()}
        own = self._maps(specimen, chosen, pace, cells, "gradients")
        broken = [name for name, field in own.items() if not np.isfinite(field).all()]
        if broken:
            raise Unmeasurable(
                f"erf: the gradient of {broken[0]} of {specimen.name} is not finite; some of its weights or values are NaN or "
                f"infinite. See which: {weights_hint(specimen.name)}"
            )
        without_gradient = [name for name, field in own.items() if not np.abs(field).any()]
        if len(without_gradient) == len(own):
            raise WatchError(
                f"erf: the gradient of {', '.join(without_gradient)} is zero everywhere in all {plural(len(chosen), 'image')}: "
                "nothing in them depends on the input."
            )
        nulls = [
            self._maps(
                twin, _fifth(chosen, number, specimen.twin_count), pace, cells, f"gradients of untrained twin {number + 1}"
            )
            for number, twin in enumerate(untrained_twins(specimen, images))
        ]
        names = [name for name in own if name not in without_gradient]
        arrays = field_arrays(specimen, names, own, nulls, theory, cells, self.rule, self.offset)
        facts: dict[str, Any] = {"images": len(chosen), "without_gradient": without_gradient}
        if self.kind == "mean":
            facts["unmeasured"] = reasons_not_measured(specimen, self._asked(specimen), [*names, *without_gradient])
        if self.kind == "mean" and self.rule == "relu" and not self.cell and not self.channels:
            arrays, facts = arrays | _published_sigma(specimen, names), facts | _published_facts(specimen, names)
        return Measurement(arrays, facts)

    def _asked(self, specimen: Specimen) -> list[str]:
        return [name for name in self.at if name != "stages" or "stages" in specimen.aliases] or ["last"]

    def _theory(self, specimen: Specimen) -> dict[str, Field]:
        """The theoretical field of each layer; empty where the target is the network's output."""
        if self.kind == "logit":
            if specimen.outputs is None:
                raise Unmeasurable(
                    f"erf: {specimen.name} gives maps, not one score per class; try {option_hint('kind', 'segmentation')}."
                )
            return {}
        if self.kind == "segmentation":
            if specimen.outputs is not None:
                raise Unmeasurable(
                    f"erf: {specimen.name} gives one score per class, not maps; try {option_hint('kind', 'logit')}."
                )
            return {}
        layers = specimen.find(self._asked(specimen))
        theory = receptive_fields(specimen, layers)
        theory = {name: field for name, field in theory.items() if field.grid != (1, 1) or specimen.layer(name).grid}
        if not theory:
            raise Unmeasurable(
                f"erf: none of {', '.join(layers[:4])} has rows and columns. List layers that do: {layers_hint(specimen.name)}"
            )
        return theory

    def _cell(self, name: str, grid: tuple[int, int]) -> tuple[int, int]:
        if not self.cell:
            return middle_cell(grid)
        if len(self.cell) != 2 or not all(0 <= at < side for at, side in zip(self.cell, grid, strict=True)):
            raise BadOption(
                f"erf: cell is {','.join(map(str, self.cell))}; {name} has {grid[0]} rows and {grid[1]} columns, "
                f"counted from 0. Try {option_hint('cell', (grid[0] // 2, grid[1] // 2))}"
            )
        return self.cell[0], self.cell[1]

    def _maps(
        self, specimen: Specimen, chosen: Images, pace: Pace, cells: Mapping[str, tuple[int, int]], what: str
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Sums over images by layer, (row, col) float64."""
        sums: dict[str, Tensor] = {}

        def each(name: str, slope: Tensor) -> None:
            new = sum_gradients(slope, self.rule).cpu()
            sums[name] = sums[name] + new if name in sums else new

        targets = {name: self._target(specimen, name, cell) for name, cell in cells.items()}
        output = None if self.kind == "mean" else self._output_target()
        for batch in batches(specimen, chosen, pace):
            input_gradients(specimen, batch.x, targets, each, output)
            pace.listener(_batch_step(specimen, what, batch, len(chosen)))
        return {name: total.numpy() / len(chosen) for name, total in sums.items()}

    def _target(self, specimen: Specimen, name: str, cell: tuple[int, int]) -> Target:
        units = specimen.layer(name).units
        if any(not 0 <= unit < units for unit in self.channels):
            raise BadOption(f"erf: channels {','.join(map(str, self.channels))}; {name} has units 0 to {units - 1}.")
        if self.rule != "replknet":
            return mean_over_units(cell, self.channels)
        return lambda maps: maps[:, :, cell[0], cell[1]].clamp_min(0).sum(1)

    def _output_target(self) -> Target:
        def logit(given: Tensor) -> Tensor:
            scores = given.flatten(1)
            return scores.gather(1, scores.detach().argmax(1, keepdim=True))[:, 0]

        def center(given: Tensor) -> Tensor:
            row, col = middle_cell((int(given.shape[-2]), int(given.shape[-1])))
            return given[:, :, row, col].mean(1)

        return logit if self.kind == "logit" else center

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        at = str(finding["field"].coords["layer"].values[-1])
        own, null, theory = (finding[name].sel(layer=at).values for name in ("sigma", "twin_sigma", "theory"))
        sigma = [
            KeyNumber(
                name=f"Gaussian σ, {axis}",
                value=float(own[index]),
                unit="px",
                baseline=finite(null[index]),
                baseline_name=TWINS,
                at=at,
            )
            for index, axis in enumerate(("rows", "columns"))
        ]
        limited = bool(np.isfinite(theory).all())
        r2, twin_r2 = (float(finding[name].sel(layer=at)) for name in ("r2", "twin_r2"))
        return [
            *sigma,
            KeyNumber(name="R² of the Gaussian fit", value=r2, baseline=finite(twin_r2), baseline_name=TWINS, at=at),
            KeyNumber(
                name="mass within 3 σ",
                value=float(finding["inside"].sel(layer=at)),
                unit=FRACTION,
                baseline=finite(float(finding["twin_inside"].sel(layer=at))),
                baseline_name=TWINS,
                at=at,
            ),
            KeyNumber(
                name="pixels that hold 95% of the field", value=float(finding["used"].sel(layer=at)), unit=FRACTION, at=at
            ),
            *([KeyNumber(name="theoretical receptive field", value=float(theory.max()), unit="px", at=at)] if limited else []),
        ]

    def headline(self, finding: Finding) -> str:
        rows, columns, r2, inside = finding.key_numbers[:4]
        start = "Untrained weights, effective" if finding.trained is False else "Effective"
        if not is_gaussian(r2.value, inside.value):
            return f"{start} receptive field of {rows.at} is not Gaussian: R² {r2.text}, {inside.text} of the mass within 3 σ."
        twin = ""
        if np.isfinite(rows.baseline) and np.isfinite(columns.baseline):
            twin = f" (untrained twins {format_value(rows.baseline)} × {columns.baseline_text})"
        return f"{start} receptive field of {rows.at}: σ {format_value(rows.value)} × {columns.text}{twin}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        note = "Square root of the field, each tile on its own scale; below, the mean of the untrained twins, each on a part of the images."
        shown: list[Panel] = [Grid(title="Effective receptive fields", z="shown", across="layer", down="specimen", note=note)]
        if finding["field"].sizes["layer"] > 1:
            shown.append(
                Curve(
                    title="Width of the field by depth", y=("sigma_row", "sigma_col"), x="layer",
                    null=("twin_sigma_row", "twin_sigma_col"), log="y",
                    note="σ of the fitted Gaussian; grey: the mean of the untrained twins.",
                )
            )  # fmt: skip
            shown.append(Curve(title="Mass within a radius of the centre", y=("mass",), x="scale", by="layer"))
        columns = (
            "sigma",
            "r2",
            "inside",
            "r2_published",
            "twin_sigma",
            "twin_r2",
            "theory",
            "center_fit",
            "center",
            "used",
            "area",
        )
        return [*shown, Table(title="All layers", rows="layer", columns=columns)]

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = ["A field is of one position on these images, not of all positions on all images.",
                 "The width of the field is no measure of quality."]  # fmt: skip
        if offsets := _large_offsets(finding):
            lines.append(
                f"The field's centre of mass lies more than a quarter of a position off the computed centre: {', '.join(offsets)}."
            )
        fits = zip(finding["r2"].coords["layer"].values, finding["r2"].values, finding["inside"].values, strict=True)
        if poor := [str(name) for name, r2, inside in fits if not is_gaussian(r2, inside)]:
            lines.append(
                f"R² is below {MIN_R2}, or less than {format_value(MIN_INSIDE, FRACTION)} of the mass lies within 3 σ, at "
                f"{', '.join(poor)}, so σ does not describe the field there."
            )
        if missing := finding.facts["without_gradient"]:
            lines.append(
                f"Left out, since no gradient reaches the image (the mean over units of a LayerNorm is constant, for example): "
                f"{', '.join(missing)}."
            )
        if "published" in finding:
            here = finding["sigma"].sel(layer=finding.facts["published_layer"]).values.tolist()
            lines.append(
                compare_with_published(
                    f"{finding.facts['published_layer']} of {finding.facts['published_network']}",
                    finding.facts["published_weights"], finding["published"].values.tolist(), here,
                )
            )  # fmt: skip
        twin = finding["twin_sigma"]
        lost = [str(name) for name in twin.coords["layer"].values if not np.isfinite(twin.sel(layer=name)).all()]
        if lost and twin_count(finding.origin):
            lines.append(f"An untrained twin has no field to fit at {', '.join(lost)}.")
        return lines


def _fifth(images: Images, number: int, parts: int) -> Images:
    """Every `parts`-th image from the `number`-th on: together the twins see about as many images as the network; one at least."""
    return images.take(list(range(number, len(images), parts or len(images))) or [number % len(images)])


def is_gaussian(r2: float, inside: float) -> bool:
    """Whether a fit with that R² and that fraction of the mass within 3 σ describes the field; not where there is none."""
    return r2 >= MIN_R2 and inside >= MIN_INSIDE


def _large_offsets(finding: Finding) -> list[str]:
    """The layers whose field is centred more than a quarter of a position off the computed centre, with the offset."""
    offsets: list[str] = []
    for name in map(str, finding["field"].coords["layer"].values):
        offset = float(np.abs(finding["center_mass"].sel(layer=name) - finding["center"].sel(layer=name)).max())
        if offset > float(finding["jump"].sel(layer=name).max()) / 4:
            offsets.append(f"{name} by {format_value(offset, 'px')}")
    return offsets


def _published_sigma(specimen: Specimen, names: Sequence[str]) -> dict[str, Any]:
    """The published σ of this network's last map at this size; empty where none was published."""
    known = _published_arrays(specimen, names)
    if known is None:
        return {}
    name, row = known
    title = f"published σ of {row.layer} of {name}"
    return {"published": array(np.array(row.sigma), ("axis",), "px", {"axis": ["row", "col"]}, title)}


def _published_facts(specimen: Specimen, names: Sequence[str]) -> dict[str, Any]:
    """The network and layer of the published σ, and whether it is of the same weights."""
    known = _published_arrays(specimen, names)
    if known is None:
        return {}
    name, row = known
    same = has_published_weights(specimen.name, specimen.weights)
    return {"published_network": name, "published_layer": row.layer, "published_weights": "same" if same else "other"}


def _published_arrays(specimen: Specimen, names: Sequence[str]) -> tuple[str, PublishedField] | None:
    known = published_row(specimen.name)
    return None if known is None or known[1].layer not in names or specimen.recipe.size != SIZE else known


def _batch_step(specimen: Specimen, what: str, batch: Batch, total: int) -> Step:
    return Step(f"{specimen.name}: {what}", int(batch.index[-1]) + 1, total, 0.0)
