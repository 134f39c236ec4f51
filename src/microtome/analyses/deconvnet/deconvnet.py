"""Strongest activations of each unit, projected back to the pixels, beside their patches.

All other activations of the layer are set to zero, the chosen one keeps its size, and the signal is propagated back through the
network: max pooling routes it by the switches (summing where windows overlap), every rectifier passes it by `rule`,
convolutions are transposed. Rectifiers are found however they are written, and their number is checked against the graph's.
Batch norm, average pooling, residual sums and concatenations pass it as the linear maps they are; squeeze-and-excitation gates
are held constant; biases are ignored. The activations are found in the shared scan; the backward passes follow, for those
alone. An activation below zero starts with its size, not its sign, so that its projection shows what would raise it: the
paper's layers end in a ReLU and have none. Only under rule gradient the sign would merely invert the image. For local response
normalisation the paper gives no inverse: its divisor is held constant, too. GELU, SiLU, softmax and layer norm, for which no
rule is defined, are differentiated; where there are no others, the projection is the plain gradient, and labelled so.

Projections look like the objects in the image even for random weights: the rule and the local connections alone recover
edges (Nie et al. 2018). So three controls are measured: the similarity of a projection to that of another unit
at the same position, to that of the same unit with random weights (each of the compared activations in another untrained twin, in turn),
and to the edges of the image.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1 and fig. 2; rules, Mahendran & Vedaldi 2016, ECCV, table 1, and Kim et al.
2019, arXiv:1902.04893, eq. 3 (rectgrad; without the padding trick and the product with the image); image recovery, Nie, Zhang &
Patel 2018, arXiv:1805.07039; sanity checks, Adebayo et al. 2018, arXiv:1810.03292. Gates and divisors held constant are our reading.
"""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
import torch

from microtome.analyses.deconvnet.projections import COMPARED_RANKS, CONTROLS, ProjectionMaker, control_arrays
from microtome.analysis import BatchValues, Census, Measurement, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import layers_with_maps, reasons_not_measured
from microtome.instruments.projection import projection_colours
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
from microtome.key_numbers import KeyNumber, format_value
from microtome.panels import Bars, Grid, Panel, Table
from microtome.prose import name_list, plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Top
from microtome.workload import Workload

DEFAULT = ("shallow", "middle", "deep")
MAX_LAYERS = 12  # layers with a figure
SAME_CORRELATION = 0.5  # rank correlation above which a projection is not specific to its unit


@final
class Deconvnet(Census[Top]):
    """Projections of the strongest activations, beside their patches."""

    needs = "images"
    question = "understand"
    title = "Projections to the pixels"
    rank = 35
    revision = 6  # 6: several untrained twins
    draws_twins = True

    at: tuple[str, ...] = option(("shallow", "middle", "deep"), "layers to project: names, globs or aliases")
    rule: Literal["deconvnet", "guided", "gradient", "rectgrad"] = option(
        "deconvnet", "what rectifiers pass on the backward pass"
    )
    k: int = option(9, "number of strongest activations of each unit", low=2, high=100, quick=3)
    units: int = option(2, "units shown of each layer", low=1, high=4096)
    sort: Literal["spread", "first", "strong", "selective"] = option(
        "spread", "units shown: evenly from the active ones, the first, the strongest, those whose images share a class"
    )
    numbers: tuple[int, ...] = option((), "units shown, by number from 0; empty: by sort")
    size: int = option(112, "longest side of a stored projection, px", low=8, high=2048)
    quantile: float = option(0.98, "rectgrad: fraction of a rectifier's signals set to zero", low=0.0, high=1.0)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = 3.0 * self.units * self.k * len(self.at)
        return Workload(forward=0.5 * shown, backward=0.3 * shown, twins=min(specimen.twin_count, COMPARED_RANKS * self.units))

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return layers_with_maps(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> Sequence[str]:
        if self.at != DEFAULT:
            return self.at
        # one branch of several is enough by default
        return [specimen.find(alias)[-1] for alias in self.at if alias in specimen.aliases]

    def empty_tally(self) -> Top:
        return Top(self.k)

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return strongest_activations(specimen.layer(name), value, 1)

    def add(self, specimen: Specimen, tally: Top, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        for name, (values, cells) in seen.items():
            tally.add(name, batch.index, values, cells)

    def to_arrays(self, specimen: Specimen, images: Images, tally: Top, twins: Sequence[Top]) -> Measurement:
        names = self.layers_to_watch(specimen)
        windows = patch_windows(specimen, names)
        arrays: dict[str, Any] = {}
        makers: list[ProjectionMaker] = []
        for name in names:
            of_layer, maker = self._layer(specimen, images, name, tally, windows[name])
            arrays |= of_layer
            makers.append(maker)
        facts = {
            "unmeasured": reasons_not_measured(specimen, self._asked(specimen), names),
            "twins": makers[-1].twins,  # of the layer that the key numbers are of
        }
        return Measurement(arrays | control_arrays(names, makers), facts)

    def _layer(
        self, specimen: Specimen, images: Images, name: str, top: Top, window: PatchWindow
    ) -> tuple[dict[str, Any], ProjectionMaker]:
        """The arrays of one layer, and what made its projections: it knows the operations passed and the similarity to the controls."""
        value, image, cell = nonzero_peaks(top, name)
        check_numbers(self.name(), specimen, name, self.numbers, value.shape[1])
        labels = None if images.labels is None else np.asarray(images.labels)
        shown = np.array(self.numbers or choose_units(self.sort, self.units, value, image, labels))
        value, image, cell = value[:, shown], image[:, shown], cell[:, shown]
        maker = ProjectionMaker(specimen, images, name, window, self.rule, self.quantile, self.size)
        pixels = maker.project(shown, image, cell)
        patches = crop_patches(images, specimen.recipe, window, image, cell, self.size)
        by_rank = {"unit": shown, "rank": np.arange(1, len(value) + 1)}
        pairs = {"unit": [f"{unit} {what}" for unit in shown for what in ("patch", "projection")], "rank": by_rank["rank"]}
        both = np.stack([patches, projection_colours(pixels)], 1).reshape(-1, *patches.shape[1:])
        row, col = grid_position(window, cell)
        positions, axes = np.stack([image.T, row.T, col.T], 2), {"axis": ["image", "row", "col"]}
        dims = ("unit", "rank", "row", "col", "rgb")
        arrays = {
            f"pair/{name}": array(both, dims, "8-bit grey levels", pairs, "patch, and its projection in steps of eight levels"),
            f"projection/{name}": array(pixels, dims, "activation · slope by normalised pixel", by_rank),
            f"value/{name}": array(value.T, ("unit", "rank"), "activation", by_rank),
            f"place/{name}": array(positions, ("unit", "rank", "axis"), "number of the image, position", by_rank | axes),
        }
        return arrays, maker

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        at = str(finding["rectifiers"].layer.values[-1])
        similarity = {control: float(finding["likeness"].sel(layer=at, measure=control)) for control in CONTROLS}
        names = ("similarity to another unit", "similarity to random weights", "similarity to edges")
        return [
            *(
                KeyNumber(name=name, value=similarity[control], better="lower", at=at)
                for name, control in zip(names, CONTROLS, strict=True)
            ),
            KeyNumber(name="rectifiers", value=int(finding["rectifiers"].sel(layer=at)), at=at),
            KeyNumber(name="units projected", value=int(finding[f"value/{at}"].notnull().any("rank").sum()), at=at),
        ]

    def headline(self, finding: Finding) -> str:
        unit, random, edges = finding.key_numbers[:3]
        if np.isnan(unit.value):
            count = plural(finding[f"value/{unit.at}"].sizes["unit"], "unit")
            return f"No projection at {unit.at}: no activation of the {count} shown reaches the pixels."
        start = "Untrained weights: projections" if finding.trained is False else "Projections"
        weights = "one untrained twin" if finding.facts["twins"] == 1 else "random weights"
        controls = f"{weights} {random.text}, image edges {edges.text}"
        return f"{start} of {unit.at} have rank correlation {unit.text} with those of another unit ({controls})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        names = [str(name) for name in finding["rectifiers"].layer.values]
        shown: list[Panel] = [
            Grid(
                title=f"Patches and projections of {name}", z=f"pair/{name}", across="rank", down="unit",
                note=f"{_rule_text(finding, name)}; grey is zero, each on its own scale. {_control_text(finding, name)}",
            )
            for name in names[:MAX_LAYERS]
        ]  # fmt: skip
        shown.append(
            Bars(title="Similarity of projections to controls", y=("likeness",), x="layer", by="measure",
                 note="Rank correlation of the size of the signal, pixel by pixel; near 1 the projection is not specific to the unit.")
        )  # fmt: skip
        columns = ("rectifiers", "gates", "curved", "signed_likeness")
        shown.append(Table(title="Operations on the backward pass", rows="layer", columns=columns))
        return shown

    def caveats(self, finding: Finding) -> Sequence[str]:
        unit = finding.key_numbers[0]
        lines = [f"At {unit.at}: {_rule_text(finding, unit.at)}."]
        least = (
            float(finding["random_low"].sel(layer=unit.at)) if finding.facts["twins"] > 1 else np.nan
        )  # nothing from one twin
        similar = [name for name, value in (("unit", unit.value), ("weights", least)) if value > SAME_CORRELATION]
        if similar:
            lines.append(
                f"Projections of {unit.at} are not specific to the {' or the '.join(similar)} (above {SAME_CORRELATION})."
            )
        lines += [
            "Projections by the deconvnet and guided rules are partial image recovery: their detail comes from the rule and the local "
            "connections (Nie et al. 2018).",
            "A projection is of one activation in one image; it does not show what the unit responds to in general.",
            "Contrast is stretched for each projection: brightness cannot be compared between them.",
        ]
        negative = [
            name.partition("/")[2]
            for name, values in finding.arrays.items()
            if name.startswith("value/") and bool((values.values < 0).any())
        ]
        if negative:
            lines.append(
                f"Some activations shown of {name_list(negative)} are below zero: their projections start with their size and show what "
                "would raise them."
            )
        if finding.trained is False:
            lines.append("These weights are untrained: the projections show the architecture and the images.")
        for name, curved in zip(map(str, finding["curved"].layer.values), finding["curved"].values, strict=True):
            if curved:
                lines.append(f"{name}: no rule is defined for {curved} on the backward pass; their derivative was taken.")
        return lines


def _rule_text(finding: Finding, name: str) -> str:
    """The rule that was applied in the layer's projections."""
    rule, count = str(finding.options["rule"]), int(finding["rectifiers"].sel(layer=name))
    curved = str(finding["curved"].sel(layer=name).item())
    if rule == "gradient":
        return "Plain gradient"
    if not count:
        return f"Plain gradient ({rule} was asked for, but there are 0 rectifiers)"
    return f"Rule {rule} at {plural(count, 'rectifier')}" + (f", derivatives at {curved}" if curved else "")


def _control_text(finding: Finding, name: str) -> str:
    values = (format_value(float(finding["likeness"].sel(layer=name, measure=control))) for control in CONTROLS)
    controls = ", ".join(f"{control} {value}" for control, value in zip(CONTROLS, values, strict=True))
    return f"Rank correlation with the projection of controls: {controls}."
