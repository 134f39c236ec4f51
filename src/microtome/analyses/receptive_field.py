"""Theoretical receptive field, stride and centre of each layer, and border layers.

Interval arithmetic on one forward pass, operation by operation and position by position: dilation, groups, transposed convolutions,
windows, interpolation and branches are followed as they run. The largest and the shortest path are reported separately; attention
over all tokens and global pooling cover the whole image. Squeeze-excitation gates and group statistics depend on every pixel as well:
as in the literature they are not counted, but named. Where an operation is not followed, the image is filled with NaN
and the layer observed. A *border layer* enlarges a field that already covers the whole image on its shortest path: at this input
size it adds no information.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 1-5; border
layers, Richter et al. 2021, arXiv:2106.12307; the rule on gates is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import xarray as xr

from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable, layers_hint, option_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import reasons_not_measured
from microtome.instruments.receptive_fields import probe_pixels, receptive_fields
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Panel, Question, Table
from microtome.prose import agree, capitalise, count_of, plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

DEFAULT = ("convs", "blocks")
MAX_MEASURED = 6  # layers behind operations that are not followed, measured by NaN; each costs some 30 forward passes
AXES = ["row", "col"]


@final
class ReceptiveField(Analysis):
    """Largest and shortest-path field, stride, centre, and border layers, by layer and axis."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Theoretical receptive fields"
    rank: ClassVar[int] = 7
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = (
        3  # 3: the shortest path through unfold is counted once; 2: interpolation, unfold, patterns; rows and columns apart
    )

    at: tuple[str, ...] = option(("convs", "blocks"), "layers to report: names, globs or aliases")
    size: int = option(0, "image side, px; 0: the size of the recipe", low=0, high=8192)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=4.0, seconds=0.2)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        size = (self.size, self.size) if self.size else specimen.recipe.size
        names = [name for name in self.at if self.at != DEFAULT or name in specimen.aliases]
        layers = specimen.find(names or ["last"])
        try:
            by_layer = receptive_fields(specimen, layers, size)
        except (RuntimeError, AssertionError, ValueError) as error:
            if size == specimen.recipe.size:
                raise
            raise BadOption(
                f"receptive_field: {specimen.name} does not run on {size[0]} x {size[1]} px; "
                f"{option_hint('size', 0)} takes {specimen.recipe.size}."
            ) from error
        gated: dict[str, str] = {}
        if self.at == DEFAULT:  # without the layers inside gates
            inside = [name for name, field in by_layer.items() if field.whole and field.grid == (1, 1)]
            gated = dict.fromkeys(inside, "they lie inside gates: one value for the whole image")
            by_layer = {name: field for name, field in by_layer.items() if name not in gated}
        if not by_layer:
            raise Unmeasurable(
                f"None of {', '.join(layers[:4])} of {specimen.name} has rows and columns that derive from the image. "
                f"List layers that do: {layers_hint(specimen.name)}"
            )
        missing = reasons_not_measured(specimen, names or ["last"], by_layer, gated)
        return Measurement(_to_arrays(specimen, by_layer, size), {"unmeasured": missing})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        size, whole, border = finding["size"], finding["whole"].values, finding["border"].values
        local = [index for index in range(size.sizes["layer"]) if not whole[index]]
        numbers: list[KeyNumber] = []
        if local:
            sides = finding["side"].values
            most = max(local, key=lambda index: (float((size.values[index] / sides).max()), index))
            axis = int((size.values[most] / sides).argmax())  # rows against rows, columns against columns
            at = str(size.coords["layer"].values[most])
            largest, shortest, stride = (float(finding[name].values[most, axis]) for name in ("size", "smallest", "jump"))
            side = "image side" if sides[0] == sides[1] else ("image height", "image width")[axis]
            numbers = [
                KeyNumber(
                    name="receptive field", value=largest, unit="px", baseline=float(sides[axis]), baseline_name=side, at=at
                ),
                KeyNumber(name="receptive field, shortest path", value=shortest, unit="px", at=at),
                KeyNumber(name="stride", value=stride, unit="px", at=at),
            ]
        return [
            *numbers,
            KeyNumber(name="layers that cover the whole image", value=int(whole.sum()), at=_first_marked(size, whole)),
            KeyNumber(name="border layers", value=int(border.sum()), better="lower", at=_first_marked(size, border)),
            KeyNumber(name="layers", value=size.sizes["layer"]),
        ]

    def headline(self, finding: Finding) -> str:
        leading = finding.key_numbers[0]
        if leading.name != "receptive field":
            count, total = int(leading.value), int(finding.key("layers").value)
            subject = count_of(count, total, "layer")
            first = f", first {leading.at}" if count > 1 else f", {leading.at}" if count else ""
            verb = agree(count, "covers", "cover")
            return f"{capitalise(subject)} {verb} the whole image by construction{first}."
        border = finding.key("border layers")
        along = "" if leading.baseline_name == "image side" else f" {'high' if 'height' in leading.baseline_name else 'wide'}"
        start = f"The largest receptive field is {leading.text} ({leading.at}) in an image of {leading.baseline_text}{along}"
        return f"{start}, with {plural(int(border.value), 'border layer')}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        rows, cols = finding["side"].values
        image = format_value(rows, "px") if rows == cols else f"{format_value(rows)} x {format_value(cols, 'px')}"
        by = "" if rows == cols else "axis"
        shown: list[Panel] = [
            Curve(
                title="Receptive field by depth", y=("largest", "shortest"), x="layer", by=by, null=("picture",), log="y",
                note=f"Dashed: the image, {image}. Layers that cover the whole image by construction are shown there.",
            ),
            Curve(title="Stride by depth", y=("stride",), x="layer", by=by, log="y"),
        ]  # fmt: skip
        if bool(finding["border"].any()):
            note = "Their input already covers the whole image on its shortest path, so they matter only for larger images."
            shown.append(Table(title="Border layers", rows="part", columns=("border_layer", "matters"), note=note))
        columns = ("size", "smallest", "jump", "center", "spread", "remark")
        return [*shown, Table(title="All layers", rows="layer", columns=columns)]

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            "A theoretical field holds the pixels that can matter; networks use a small part of it (erf).",
            "Fields are not clipped at the edge of the image: what lies beyond it is padding.",
            "Windows that the edge of the image cuts count as cut.",
        ]
        if finding["border"].any():
            start = f"{finding.key('border layers').at}, the first border layer, adds information only for images larger than"
            rows, cols = (float(side) for side in finding["matters"].values[0])
            beyond = format_value(rows, "px") if rows == cols else f"{format_value(rows)} x {format_value(cols, 'px')}"
            lines.append(f"{start} {beyond}.")
        if finding["gated"].any():
            lines.append(
                f"From {_first_marked(finding['gated'], finding['gated'].values)} on, gates (squeeze-excitation and the like) or group "
                "statistics make every value depend on the whole image; the sizes do not count them."
            )
        if (finding["spread"].values > 0).any():
            lines.append(
                f"Centres of joined branches lie up to {format_value(float(finding['spread'].max()), 'px')} apart; "
                "center is their mean over paths."
            )
        if missed := [str(text) for text in finding["remark"].values if "not followed" in str(text)]:
            lines.append(f"{plural(len(missed), 'layer')} behind operations that are not followed: {missed[0]}.")
        return lines


def _first_marked(layers: xr.DataArray, marked: np.ndarray[Any, Any]) -> str:
    """The first layer that is marked, or an empty text."""
    return next((str(name) for name, mark in zip(layers.coords["layer"].values, marked, strict=True) if mark), "")


def _to_arrays(specimen: Specimen, by_layer: Mapping[str, Field], size: tuple[int, int]) -> dict[str, Any]:
    names, every = list(by_layer), list(by_layer.values())
    both = {"layer": names, "axis": AXES}
    inexact = [name for name, field in by_layer.items() if not field.exact]
    measured = {name: _measured_size(specimen, name, by_layer[name], size) for name in inexact[:MAX_MEASURED]}
    sizes = np.array([measured.get(name, field.size) for name, field in by_layer.items()])
    border = np.array([field.is_border(size) for field in every])
    whole = np.array([field.whole and name not in measured for name, field in by_layer.items()])
    remarks = [_remark(name, field, bool(mark), measured) for (name, field), mark in zip(by_layer.items(), border, strict=True)]
    arrays = {
        "size": array(sizes, ("layer", "axis"), "px", both, "largest field"),
        "smallest": array(np.array([field.smallest for field in every]), ("layer", "axis"), "px", both, "shortest path"),
        "jump": array(np.array([field.jump for field in every]), ("layer", "axis"), "px", both, "stride"),
        "center": array(np.array([field.center for field in every]), ("layer", "axis"), "px", both, "centre of position 0"),
        "spread": array(
            np.array([(field.row.spread, field.col.spread) for field in every]), ("layer", "axis"), "px", both,
            "distance of branch centres",
        ),
        "grid": array(np.array([field.grid for field in every]), ("layer", "axis"), "positions", both),
        "side": array(np.array(size), ("axis",), "px", {"axis": AXES}, "image side"),
        "whole": array(whole, ("layer",), "yes or no", {"layer": names}),
        "gated": array(np.array([field.gated for field in every]), ("layer",), "yes or no", {"layer": names}),
        "border": array(border, ("layer",), "yes or no", {"layer": names}),
        "remark": array(np.array(remarks, dtype=object), ("layer",), "text", {"layer": names}, "remark"),
    }  # fmt: skip
    arrays |= _curves(by_layer, sizes, size)
    marked = [name for name, mark in zip(names, border, strict=True) if mark]
    if marked:
        arrays["border_layer"] = array(np.array(marked, dtype=object), ("part",), "text", title="layer")
        beyond = np.array([by_layer[name].entering for name in marked])
        arrays["matters"] = array(beyond, ("part", "axis"), "px", {"axis": AXES}, "matters for images larger than")
    return arrays


def _curves(by_layer: Mapping[str, Field], sizes: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Curves over depth: one number for each layer, that of the axis with the larger field; one for each axis where sides differ."""
    square, side = size[0] == size[1], np.array(size, dtype=float)
    small = np.array([field.smallest for field in by_layer.values()])
    curves = {
        "largest": (np.where(np.isfinite(sizes), sizes, side), "largest path"),
        "shortest": (np.where(np.isfinite(small), small, side), "shortest path"),
        "picture": (np.tile(side, (len(by_layer), 1)), "image side"),
        "stride": (np.array([field.jump for field in by_layer.values()]), "stride"),
    }
    dims = ("layer",) if square else ("axis", "layer")
    coords = {"layer": list(by_layer)} | ({} if square else {"axis": AXES})
    return {
        name: array(values.max(1) if square else values.T, dims, "px", coords, title)
        for name, (values, title) in curves.items()
    }


def _measured_size(specimen: Specimen, name: str, field: Field, size: tuple[int, int]) -> tuple[float, float]:
    """(rows, cols) px that a middle position depends on, by NaN; clipped to the image."""
    rows, cols = probe_pixels(specimen, name, (field.grid[0] // 2, field.grid[1] // 2), size)
    return float(rows[1] - rows[0] + 1), float(cols[1] - cols[0] + 1)


def _remark(name: str, field: Field, border: bool, measured: Mapping[str, Any]) -> str:
    remarks: list[str] = []
    if not field.exact:
        how = "measured by NaN at a middle position" if name in measured else "upper bounds"
        remarks.append(f"{', '.join(field.unfollowed)} not followed: sizes {how}")
    elif field.whole:
        remarks.append("whole image")
    elif field.row.whole or field.col.whole:
        remarks.append(f"whole {'column' if field.row.whole else 'row'} of the image")
    if field.gated:
        remarks.append("through gates: whole image")
    return "; ".join([*remarks, "border layer"] if border else remarks)
