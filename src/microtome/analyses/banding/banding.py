"""Spatial weights as colours, and how much of them is horizontal or vertical bands, against the untrained twin.

The kernel of every unit is factorised into three spatial maps, shown as red, green and blue; colours mean the same in every unit
of a layer (red on top or left, green between, blue below or right), units stand in order of likeness and in groups. The index A is
the mean over units of η_row - η_col, the shares of spatial energy that the means over rows and over columns keep: 1 for
horizontal bands, -1 for vertical ones, 0 for neither. Of the raw weights it is an honest size; of the maps it is what the eye sees.
Fully connected layers that read a flattened map are judged over its positions; those that read a pooled vector see no map.

Source: Petrov et al. 2021, "Weight Banding", Distill, doi:10.23915/distill.00024.009, for the pictures; the index, its nulls, and
the way in which colours are matched across units are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.banding.wording import judgement
from microtome.analysis import Analysis, Arrays, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.flattened_maps import flattened_maps
from microtome.numerics.statistics.intervals import bootstrap
from microtome.numerics.weights import banding as bands_of
from microtome.numerics.weights.banding import BANDED, Bands
from microtome.numerics.weights.kernels import Kernel, kernels
from microtome.numerics.weights.nmf import factorised
from microtome.numerics.weights.unit_colours import aligned, by_likeness, coloured, groups, tree
from microtome.panels import Curve, Grid, Panel, Table
from microtome.scan import Pace
from microtome.specimen import Specimen

DEFAULT = ("last3",)
FEWEST = 4  # groups that the slider begins with, as in the article
TWIN_UNITS = 128  # units of each layer of the twin whose maps are made: any are as good as others
MEASURES = ("η row", "η col", "B row", "B col", "D", "D of maps")
COLUMNS = {"index": "A, raw", "index_nmf": "A, maps", "share": "share with D beyond ±0.5, maps",
           "share_raw": "share with D beyond ±0.5, raw",
           "band_row": "B row", "band_col": "B col", "angle": "angle of the stripes", "coherence": "how much one angle rules",
           "structure_z": "structure over shuffled positions", "structure_p": "p, shuffled positions",
           "flip_p": "p, transposed at random", "units": "units", "unvaried": "units that do not vary over positions"}  # fmt: skip
UNITS = {"angle": "degrees, 0 horizontal, 90 vertical", "share": "share of units", "share_raw": "share of units",
         "structure_z": "standard deviations", "units": "units", "unvaried": "units"}  # fmt: skip


class _Judged(NamedTuple):
    """What one layer amounts to: a number for each of COLUMNS, intervals of both indices, η and D of each unit."""

    told: dict[str, float]
    raw: Bands
    seen: Bands
    low_high: tuple[tuple[float, float], tuple[float, float]]


@final
class Banding(Analysis):
    """Kernels as colours; bands along rows or columns, layer by layer, with intervals and the untrained twin."""

    needs = "weights"
    question = "understand"
    title = "Weight banding"
    revision = 2  # 2: maps that linear layers see are followed through the reshape

    at: tuple[str, ...] = option(("last3",), "the layers whose kernels are drawn; last3: the last three that are judged")
    groups: int = option(19, "the largest number of groups that units are put in", low=1, high=64)
    seed: int = option(0, "seed of the untrained twin, of resampled units and of random transpositions", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why no kernel of the network can be judged, or an empty text."""
        found = _kernels(specimen)
        if any(not one.reason for one in found.values()):
            return ""
        if not found:
            return "it has no convolution and no fully connected layer over a map whose weights can be read"
        first = next(iter(found))
        return f"none of its {len(found)} kernels can be judged ({first}: {found[first].reason})"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        found = _kernels(specimen)
        own = {name: one.values for name, one in found.items() if not one.reason}
        if not own:
            raise Unmeasurable(f"banding() of {specimen.name}: {self.refusal(specimen, images)}")
        drawn = self._drawn(specimen, list(own), {name: one.reason for name, one in found.items() if one.reason})
        twin = {name: one.values for name, one in _kernels(specimen.twin(self.seed + 1)).items() if name in own}
        maps = _maps(own)
        judged = {name: self._judged(own[name], maps[name]) for name in own}
        layers = {"layer": list(own)}
        arrays: dict[str, Any] = {}
        for column, title in COLUMNS.items():
            values = [one.told[column] for one in judged.values()]
            arrays[column] = array(values, ("layer",), UNITS.get(column, "1"), layers, title)
        for place, column in enumerate(("index", "index_nmf")):
            for end, side in enumerate(("low", "high")):
                values = [one.low_high[place][end] for one in judged.values()]
                arrays[f"{column}_{side}"] = array(values, ("layer",), "1", layers, f"{COLUMNS[column]}, {side} end of 95 %")
        arrays["kernel"] = array(
            [_shape(values) for values in own.values()], ("layer",), "text", layers, "channels, rows × cols"
        )
        arrays |= _twin_arrays(own, twin) | _refused(found, specimen)
        for name, one in judged.items():
            columns = np.stack([*one.raw[:2], *_both_adjusted(own[name], one.raw), one.raw.direction, one.seen.direction], 1)
            arrays[f"bands/{name}"] = array(columns, ("unit", "measure"), "1", {"measure": list(MEASURES)})
        for name in drawn:
            arrays |= self._pictures(name, maps[name], judged[name].told["index_nmf"])
        return arrays

    def _drawn(self, specimen: Specimen, judged: list[str], refused: Mapping[str, str]) -> list[str]:
        if self.at == DEFAULT:
            return judged[-3:]
        paths = [specimen.layer(name).path for name in specimen.find(self.at)]
        chosen = [name for name in judged if any(name == path or name.startswith(path + ".") for path in paths)]
        if not chosen:
            told = next((f" {name}: {reason}." for name, reason in refused.items() if name in paths), "")
            raise Unmeasurable(
                f"banding() of {specimen.name}: none of {', '.join(self.at)} holds a kernel that can be judged.{told} "
                f"Those that can: {', '.join(judged[:4])}{', …' if len(judged) > 4 else ''}."
            )
        return chosen

    def _judged(self, values: Tensor, maps: Tensor) -> _Judged:
        raw, seen = bands_of.bands(values), bands_of.bands(maps)
        rows, cols = _both_adjusted(values, raw)
        structure, angle = bands_of.structure(values), bands_of.orientation(values)
        told = {
            "index": bands_of.index(raw.direction), "index_nmf": bands_of.index(seen.direction),
            "share": bands_of.strong_share(seen.direction), "share_raw": bands_of.strong_share(raw.direction),
            "band_row": bands_of.index(rows), "band_col": bands_of.index(cols), "angle": angle.angle,
            "coherence": angle.coherence, "structure_z": structure.z, "structure_p": structure.p,
            "flip_p": bands_of.flipped(raw.direction, seed=self.seed), "units": float(len(values)),
            "unvaried": float(np.isnan(raw.direction).sum()),
        }  # fmt: skip
        return _Judged(told, raw, seen, (self._interval(raw.direction), self._interval(seen.direction)))

    def _interval(self, direction: Any) -> tuple[float, float]:
        known = direction[~np.isnan(direction)]
        if len(known) < 2:  # one unit says nothing about others
            return float("nan"), float("nan")
        found = bootstrap(known, seed=self.seed)
        return found.low, found.high

    def _pictures(self, name: str, maps: Tensor, ruling: float) -> dict[str, Any]:
        """Colours of every unit in order of likeness, the group of each for every number of groups, and the groups' shares."""
        matched = aligned(maps.permute(0, 2, 3, 1).numpy(), horizontal=not ruling < 0)
        units = len(matched)
        counts = list(range(min(FEWEST, units, self.groups), min(self.groups, units) + 1))
        leaves = tree(matched) if units > 1 else None
        order = by_likeness(leaves) if leaves is not None else np.arange(units)
        found = np.stack([groups(matched, leaves, k) if leaves is not None else np.zeros(units, int) for k in counts])
        sizes = np.stack([np.bincount(one, minlength=counts[-1])[: counts[-1]] for one in found]) / units
        sizes[np.arange(counts[-1])[None] >= np.array(counts)[:, None]] = np.nan
        pictures = np.rint(255 * np.nan_to_num(coloured(matched))).astype(np.uint8)[order]
        told, numbered = {"unit": [int(one) for one in order]}, {"groups": counts}
        return {
            f"factors/{name}": array(pictures, ("unit", "row", "col", "rgb"), "colour, 0 to 255", told, "spatial factors"),
            f"group/{name}": array(found[:, order], ("groups", "unit"), "number of the group", told | numbered, "group"),
            f"group_share/{name}": array(sizes, ("groups", "part"), "share of units", numbered, "units in each group"),
        }

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        drawn = [name.removeprefix("factors/") for name in found if name.startswith("factors/")]
        shown: list[Panel] = [
            Grid(
                title=f"Kernels of {name}", z=f"factors/{name}", across="unit", groups=f"group/{name}", note=_note(found, name)
            )
            for name in reversed(drawn)
        ]
        shown += [
            Curve(
                title="Bands by depth, of the maps", y=("index_nmf",), x="layer", low="index_nmf_low", high="index_nmf_high",
                null=("twin_index_nmf",), note=f"1 horizontal, -1 vertical. From about ±{BANDED} a published layer looks banded.",
            ),
            Curve(
                title="Bands by depth, of the raw weights", y=("index",), x="layer", low="index_low", high="index_high",
                null=("twin_index",), note="The same index without factorising: the share of the weights that is bands.",
            ),
            Table(
                title="All kernels that are judged", rows="layer",
                columns=("kernel", "units", "index_nmf", "twin_index_nmf", "index", "index_low", "index_high", "twin_index",
                         "share", "band_row", "band_col", "flip_p", "structure_z", "angle", "coherence"),
            ),
        ]  # fmt: skip
        if "unjudged" in found:
            shown.append(Table(title="Kernels that are not judged, and why", rows="layer", columns=("unjudged",)))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        layers = [str(name) for name in found["index"].layer.values]
        values = np.nan_to_num(found["index_nmf"].values)
        last = len(layers) - 1
        strongest = int(np.argmax(np.abs(values)))
        among = f"the last of {last + 1} kernels judged" if last else "the only kernel judged"
        told = f"{_said(found, last)} in {layers[last]}, {among}"
        if strongest != last:
            told += f"; strongest in {layers[strongest]}: {_said(found, strongest)}"
        return told + "." + _trained(found)

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        few = [str(name) for name, units in zip(found["units"].layer.values, found["units"].values, strict=True) if units < 16]
        told = [
            f"The words follow |A| ≥ {BANDED} of the maps. That rule was chosen on 18 published layers, none held out, with a "
            "thin margin, and is for large trained layers: read A itself, its interval, and the twin's.",
            "Factorising lifts faint bands: stripes with a tenth of the noise's variance give A = 0.08 raw and about 0.4 of the maps.",
            "Colours are matched and put in order from top to bottom or left to right, so that red is above more often than not even in "
            "random weights; whether the colours are stripes is the question, and A answers it.",
            "p for random transposition says whether a layer has any common axis, not how strong it is; oblique stripes also differ "
            "from shuffled positions, as does any smooth kernel.",
            f"Intervals are over units (bootstrap, 95 %). The twin is one draw; its maps are of at most {TWIN_UNITS} units.",
        ]  # fmt: skip
        if few:
            told.append(f"Fewer than 16 units, so little can be said of {', '.join(few[:4])}{', …' if len(few) > 4 else ''}.")
        return told


def _kernels(specimen: Specimen) -> dict[str, Kernel]:
    return kernels(specimen.net, specimen.layers, flattened_maps(specimen))


def _maps(kernels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Three maps (unit, factor, row, col) for every unit; layers of one shape are factorised together."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, values in kernels.items():
        alike.setdefault(tuple(values.shape[1:]), []).append(name)
    found: dict[str, Tensor] = {}
    for (_, rows, cols), names in alike.items():
        together = kernels[names[0]] if len(names) == 1 else torch.cat([kernels[name] for name in names])
        maps = factorised(together.flatten(2)).maps.mT.unflatten(2, (rows, cols))
        found |= dict(zip(names, maps.split([len(kernels[name]) for name in names]), strict=True))
    return {name: found[name] for name in kernels}


def _both_adjusted(values: Tensor, found: Bands) -> tuple[Any, Any]:
    rows, cols = bands_of.chance(values.shape[2], values.shape[3])
    return bands_of.adjusted(found.rows, rows), bands_of.adjusted(found.cols, cols)


def _twin_arrays(own: Mapping[str, Tensor], twin: Mapping[str, Tensor]) -> dict[str, Any]:
    """Both indices and the share of the twin, whose maps are made of evenly spread units."""
    few = {name: values[:: -(-len(values) // TWIN_UNITS)] for name, values in twin.items()}
    maps = _maps(few)
    rows = []
    for name in own:
        seen = bands_of.bands(maps[name]).direction
        rows.append((bands_of.index(bands_of.bands(twin[name]).direction), bands_of.index(seen), bands_of.strong_share(seen)))
    titles = {
        "index": "A, raw, untrained twin",
        "index_nmf": "A, maps, untrained twin",
        "share": "share with D beyond ±0.5, twin",
    }
    columns = zip(titles.items(), np.array(rows).T, strict=True)
    layers = {"layer": list(own)}
    return {f"twin_{name}": array(values, ("layer",), UNITS.get(name, "1"), layers, title) for (name, title), values in columns}


def _refused(found: Mapping[str, Kernel], specimen: Specimen) -> dict[str, Any]:
    trained = {True: "trained", False: "untrained", None: "unknown"}[specimen.trained]
    arrays = {"trained": array([trained], ("specimen",), "text", {"specimen": [specimen.name]})}
    refused = {name: one.reason for name, one in found.items() if one.reason}
    if refused:
        arrays["unjudged"] = array(list(refused.values()), ("layer",), "text", {"layer": list(refused)}, "why")
    return arrays


def _shape(values: Tensor) -> str:
    return f"{values.shape[1]} × {values.shape[2]}×{values.shape[3]}"


def _said(found: Arrays, place: int) -> str:
    names = ("index_nmf", "index", "index_low", "index_high", "twin_index_nmf")
    maps, raw, low, high, twin = (float(found[name].values[place]) for name in names)
    reach = float(np.abs(np.nan_to_num(found["twin_index_nmf"].values)).max())
    return judgement(maps, raw, low, high, twin, reach)


def _trained(found: Arrays) -> str:
    told = {
        "untrained": " These weights are untrained: this is what chance gives.",
        "unknown": " Nobody said whether these weights are trained.",
    }
    return told.get(str(found["trained"].values[0]), "")


def _note(found: Arrays, name: str) -> str:
    place = [str(one) for one in found["index"].layer.values].index(name)
    vertical = float(found["index_nmf"].values[place]) < 0
    where = "left, green between, blue right" if vertical else "top, green between, blue below"
    return f"{_said(found, place)}. Red is {where}; each unit over its own largest value."
