"""Which pixels each layer can see at most: theoretical receptive field, stride and centre of its cells, and layers that see nothing new.

Interval arithmetic on one forward pass, operation by operation and cell by cell: dilation, groups, transposed convolutions,
windows, interpolation and branches are followed as they run. The largest and the shortest path are told apart; attention over all
tokens and global pooling see the whole picture. Squeeze-excitation gates and group statistics depend on every pixel as well: by
the custom of the literature they are not counted, but named. Where an operation is not followed, NaN is let loose in the picture
and the layer watched. A *border layer* enlarges a field that already holds the whole picture on its shortest path: it has nothing
new to see at this input size.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 1-5; border
layers, Richter et al. 2021, arXiv:2106.12307; the rule on gates is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import unmeasured
from microtome.instruments.receptive_fields import fields, probed
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Panel, Question, Table
from microtome.scan import Pace
from microtome.specimen import Specimen

DEFAULT = ("convs", "blocks")
PROBED = 6  # layers behind operations that are not followed for which NaN is let loose; each costs some 30 forward passes
AXES = ["row", "col"]


@final
class ReceptiveField(Analysis):
    """Largest and smallest field, jump, centre, and border layers, per layer and axis."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Theoretical receptive fields"
    revision: ClassVar[int] = 2  # 2: interpolation, unfold and repeats behind transposed convolutions; rows and columns apart

    at: tuple[str, ...] = option(("convs", "blocks"), "the layers asked about: names, globs or aliases")
    size: int = option(0, "side of the picture in px; 0: what the network is made for", low=0, high=8192)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        size = (self.size, self.size) if self.size else specimen.recipe.size
        names = [name for name in self.at if self.at != DEFAULT or name in specimen.aliases]
        asked = specimen.find(names or ["last"])
        try:
            found = fields(specimen, asked, size)
        except (RuntimeError, AssertionError, ValueError) as error:
            if size == specimen.recipe.size:
                raise
            raise BadOption(
                f"receptive_field: {specimen.name} does not run on {size[0]} x {size[1]} px; --size 0 takes {specimen.recipe.size}."
            ) from error
        gated: dict[str, str] = {}
        if self.at == DEFAULT:  # the inside of gates is no layer that one asks about
            gated = {
                name: "they lie inside gates: one value for the whole picture"
                for name, one in found.items()
                if one.whole and one.grid == (1, 1)
            }
            found = {name: one for name, one in found.items() if name not in gated}
        if not found:
            raise Unmeasurable(
                f"None of {', '.join(asked[:4])} of {specimen.name} has rows and columns that come from the picture. "
                f"List layers that do: microtome layers {specimen.name}"
            )
        return Measurement(
            _settled(specimen, found, size), {"unmeasured": unmeasured(specimen, names or ["last"], found, gated)}
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        rows, cols = found["side"].values
        picture = f"{rows:.0f} px" if rows == cols else f"{rows:.0f} x {cols:.0f} px"
        by = "" if rows == cols else "axis"
        shown: list[Panel] = [
            Curve(
                title="Receptive field over depth", y=("largest", "shortest"), x="layer", by=by, null=("picture",), log="y",
                note=f"Dashed: the picture, {picture}. What sees the whole picture by construction is drawn there.",
            ),
            Curve(title="Distance of neighbouring cells", y=("stride",), x="layer", by=by, log="y"),
        ]  # fmt: skip
        if bool(found["border"].any()):
            note = "Their input already sees the whole picture on its shortest path, so they matter only for larger pictures."
            shown.append(Table(title="Border layers", rows="part", columns=("border_layer", "matters"), note=note))
        columns = ("size", "smallest", "jump", "center", "spread", "remark")
        return [*shown, Table(title="All layers", rows="layer", columns=columns)]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        size, whole = found["size"], found["whole"].values
        sides = found["side"].values
        names = [str(name) for name in size.coords["layer"].values]
        parts: list[str] = []
        local = [place for place in range(len(names)) if not whole[place]]
        if local:
            most = max(local, key=lambda place: (float((size.values[place] / sides).max()), place))
            axis = int((size.values[most] / sides).argmax())
            numbers = [float(found[name][most][axis]) for name in ("size", "smallest", "jump")]
            along = "" if sides[0] == sides[1] else f" {('rows', 'columns')[axis]}"
            parts.append(
                f"{names[most]} sees {numbers[0]:.0f} px along its largest path, {numbers[1]:.0f} along its shortest, "
                f"cells {numbers[2]:.4g} px apart, in a picture of {sides[axis]:.0f}{along}"
            )
        if whole.any():
            parts.append(
                f"{int(whole.sum())} of {len(names)} layers see the whole picture by construction, first {_first(names, whole)}"
            )
        border = found["border"].values
        if border.any():
            beyond = found["matters"].values[0]
            size_px = f"{beyond[0]:.0f}" if beyond[0] == beyond[1] else f"{beyond[0]:.0f} x {beyond[1]:.0f}"
            parts.append(
                f"{int(border.sum())} of {len(names)} have nothing new to see (border layers), first {_first(names, border)}: "
                f"it matters for pictures beyond {size_px} px"
            )
        else:
            parts.append("no layer sees the whole picture before it begins, so each has something new to see")
        return "; ".join(parts) + "."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        told = [
            "A theoretical field says which pixels can matter at all; trained and untrained networks use a small part of it (erf).",
            "Fields are told unclipped: what lies beyond the edge is padding. Windows that are cut by the picture's edge count as cut.",
        ]
        if found["gated"].any():
            first = _first([str(name) for name in found["gated"].coords["layer"].values], found["gated"].values)
            told.append(
                f"From {first} on, gates (squeeze-excitation and the like) or group statistics make every value depend on the "
                "whole picture; as is the custom, the sizes do not count them."
            )
        if (found["spread"].values > 0).any():
            told.append(
                f"Joined branches are not aligned: their centres lie up to {float(found['spread'].max()):.3g} px apart; "
                "center is their mean over paths."
            )
        missed = [str(text) for text in found["remark"].values if "not followed" in str(text)]
        if missed:
            told.append(f"{len(missed)} layers lie behind operations that are not followed: {missed[0]}.")
        return told


def _first(names: Sequence[str], marked: Any) -> str:
    return next(name for name, mark in zip(names, marked, strict=True) if mark)


def _settled(specimen: Specimen, found: Mapping[str, Field], size: tuple[int, int]) -> dict[str, Any]:
    names = list(found)
    both = {"layer": names, "axis": AXES}
    inexact = [name for name, one in found.items() if not one.exact]
    measured = {name: _measured(specimen, name, found[name], size) for name in inexact[:PROBED]}
    sizes = np.array([measured.get(name, one.size) for name, one in found.items()])
    border = np.array([one.sees_nothing_new(size) for one in found.values()])
    whole = np.array([one.whole and name not in measured for name, one in found.items()])
    arrays = {
        "size": array(sizes, ("layer", "axis"), "px", both, "largest field"),
        "smallest": array(np.array([one.smallest for one in found.values()]), ("layer", "axis"), "px", both, "shortest path"),
        "jump": array(np.array([one.jump for one in found.values()]), ("layer", "axis"), "px", both),
        "center": array(np.array([one.center for one in found.values()]), ("layer", "axis"), "px", both, "centre of cell 0"),
        "spread": array(
            np.array([(one.row.spread, one.col.spread) for one in found.values()]), ("layer", "axis"), "px", both,
            "branches apart",
        ),
        "grid": array(np.array([one.grid for one in found.values()]), ("layer", "axis"), "cells", both),
        "side": array(np.array(size), ("axis",), "px", {"axis": AXES}, "picture"),
        "whole": array(whole, ("layer",), "yes or no", {"layer": names}),
        "gated": array(np.array([one.gated for one in found.values()]), ("layer",), "yes or no", {"layer": names}),
        "border": array(border, ("layer",), "yes or no", {"layer": names}),
        "remark": array(
            np.array([_remark(name, one, bool(mark), measured) for (name, one), mark in zip(found.items(), border, strict=True)],
                     dtype=object), ("layer",), "text", {"layer": names}, "remark",
        ),
    }  # fmt: skip
    arrays |= _drawn(found, sizes, size)
    marked = [name for name, mark in zip(names, border, strict=True) if mark]
    if marked:
        arrays["border_layer"] = array(np.array(marked, dtype=object), ("part",), "text", title="layer")
        beyond = np.array([found[name].entering for name in marked])
        arrays["matters"] = array(beyond, ("part", "axis"), "px", {"axis": AXES}, "matters for pictures beyond")
    return arrays


def _drawn(found: Mapping[str, Field], sizes: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Curves over depth: one number for each layer, that of the axis with the larger field; on a picture that is no square one for
    each axis, since a field is held against the side that it lies along.
    """
    square, side = size[0] == size[1], np.array(size, dtype=float)
    small = np.array([one.smallest for one in found.values()])
    curves = {
        "largest": (np.where(np.isfinite(sizes), sizes, side), "largest path"),
        "shortest": (np.where(np.isfinite(small), small, side), "shortest path"),
        "picture": (np.tile(side, (len(found), 1)), "the picture"),
        "stride": (np.array([one.jump for one in found.values()]), "distance of cells"),
    }
    dims = ("layer",) if square else ("axis", "layer")
    coords = {"layer": list(found)} if square else {"axis": AXES, "layer": list(found)}
    return {
        name: array(values.max(1) if square else values.T, dims, "px", coords, title)
        for name, (values, title) in curves.items()
    }


def _measured(specimen: Specimen, name: str, field: Field, size: tuple[int, int]) -> tuple[float, float]:
    """(rows, cols) px that a cell in the middle depends on, by NaN; clipped to the picture."""
    found = probed(specimen, name, (field.grid[0] // 2, field.grid[1] // 2), size)
    return float(found[0][1] - found[0][0] + 1), float(found[1][1] - found[1][0] + 1)


def _remark(name: str, field: Field, border: bool, measured: Mapping[str, Any]) -> str:
    told: list[str] = []
    if not field.exact:
        how = "measured by NaN in a middle cell" if name in measured else "taken as large as they can be"
        told.append(f"{', '.join(field.unfollowed)} not followed: sizes {how}")
    elif field.whole:
        told.append("whole picture")
    elif field.row.whole or field.col.whole:
        told.append(f"whole {'column' if field.row.whole else 'row'} of the picture")
    if field.gated:
        told.append("through gates: whole picture")
    return "; ".join([*told, "border layer"] if border else told)
