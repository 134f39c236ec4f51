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

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.receptive_fields import probe_pixels, receptive_fields
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen

DEFAULT = ("convs", "blocks")
MAX_MEASURED = 6  # layers behind operations that are not followed, measured by NaN; each costs some 30 forward passes
AXES = ["row", "col"]


@final
class ReceptiveField(Analysis):
    """Largest and shortest-path field, stride, centre, and border layers, by layer and axis."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Theoretical receptive fields"

    at: tuple[str, ...] = option(("convs", "blocks"), "layers to report: names, globs or aliases")
    size: int = option(0, "image side, px; 0: the size of the recipe", low=0, high=8192)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        size = (self.size, self.size) if self.size else specimen.recipe.size
        names = [name for name in self.at if self.at != DEFAULT or name in specimen.aliases]
        layers = specimen.find(names or ["last"])
        try:
            by_layer = receptive_fields(specimen, layers, size)
        except (RuntimeError, AssertionError, ValueError) as error:
            if size == specimen.recipe.size:
                raise
            raise BadOption(
                f"receptive_field: {specimen.name} does not run on {size[0]} x {size[1]} px; --size 0 takes {specimen.recipe.size}."
            ) from error
        if self.at == DEFAULT:  # without the layers inside gates
            by_layer = {name: field for name, field in by_layer.items() if not (field.whole and field.grid == (1, 1))}
        if not by_layer:
            raise Unmeasurable(
                f"None of {', '.join(layers[:4])} of {specimen.name} has rows and columns that derive from the image. "
                f"List layers that do: microtome layers {specimen.name}"
            )
        return _to_arrays(specimen, by_layer, size)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        size, whole, border = finding["size"], finding["whole"].values, finding["border"].values
        local = [index for index in range(size.sizes["layer"]) if not whole[index]]
        numbers: list[KeyNumber] = []
        if local:
            most = max(local, key=lambda index: (float(size[index].max()), index))
            at = str(size.coords["layer"].values[most])
            largest, shortest, stride = (float(finding[name][most].max()) for name in ("size", "smallest", "jump"))
            side = float(finding["side"].values.min())
            numbers = [
                KeyNumber(name="receptive field", value=largest, unit="px", baseline=side, baseline_name="image side", at=at),
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
            return f"{leading.text} of {finding.key('layers').text} layers cover the whole image by construction, first {leading.at}."
        border = finding.key("border layers")
        start = f"The largest receptive field is {leading.text} ({leading.at}) in an image of {leading.baseline_text}"
        return f"{start}, with {plural(int(border.value), 'border layer')}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        rows, cols = finding["side"].values
        image = format_value(rows, "px") if rows == cols else f"{format_value(rows)} x {format_value(cols, 'px')}"
        shown: list[Panel] = [
            Curve(
                title="Receptive field by depth", y=("largest", "shortest"), x="layer", null=("picture",), log="y",
                note=f"Dashed: the image, {image}. Layers that cover the whole image by construction are shown there.",
            ),
            Curve(title="Stride by depth", y=("stride",), x="layer", log="y"),
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
            lines.append(f"{start} {format_value(float(finding['matters'].values[0]), 'px')}.")
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
    border = np.array([_is_border(field, size) for field in every])
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
        beyond = [max(by_layer[name].entering) for name in marked]
        arrays["matters"] = array(np.array(beyond), ("part",), "px", title="matters for images larger than")
    return arrays


def _curves(by_layer: Mapping[str, Field], sizes: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Curves over depth: one number for each layer, that of the axis with the larger field."""
    layers = {"layer": list(by_layer)}
    side = float(max(size))
    small = np.array([field.smallest for field in by_layer.values()]).max(1)
    curves = {
        "largest": (np.where(np.isfinite(sizes), sizes, side).max(1), "largest path"),
        "shortest": (np.where(np.isfinite(small), small, side), "shortest path"),
        "picture": (np.full(len(by_layer), side), "image side"),
        "stride": (np.array([max(field.jump) for field in by_layer.values()]), "stride"),
    }
    return {name: array(values, ("layer",), "px", layers, title) for name, (values, title) in curves.items()}


def _is_border(field: Field, size: tuple[int, int]) -> bool:
    """Whether the shortest path into the layer already covers the whole image, and the layer enlarges it."""
    covered = all(np.isfinite(into) and into >= side for into, side in zip(field.entering, size, strict=True))
    return covered and not field.whole and max(field.smallest) > max(field.entering)


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
