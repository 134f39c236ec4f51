"""Horizontal or vertical bands in spatial kernels, as colours and as an index.

The kernel of every unit is factorised into three spatial maps, shown as red, green and blue; colours mean the same in every unit
of a layer (red on top or left, green between, blue below or right), units are sorted by similarity and grouped. The index A is
the mean over units of η_row - η_col, the fractions of spatial energy that the means over rows and over columns keep: 1 for
horizontal bands, -1 for vertical ones, 0 for neither. It is given for the raw weights and for the maps that the figure shows.
Fully connected layers that read a flattened feature map are analysed over its positions; those that read a pooled vector have none.

Source: Petrov et al. 2021, "Weight Banding", Distill, doi:10.23915/distill.00024.009, for the figures; the index, its nulls, and
the way in which colours are matched across units are ours.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.banding.wording import layer_verdict
from microtome.analysis import Analysis, Arrays, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.flattened_maps import flattened_maps
from microtome.instruments.untrained_twins import TWINS, over_twins, twin_count, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.intervals import MIN_VALUES, mean_interval
from microtome.numerics.weights import banding as bands_of
from microtome.numerics.weights.banding import BANDED_A, Bands
from microtome.numerics.weights.kernels import Kernel, find_kernels
from microtome.numerics.weights.nmf import factorise
from microtome.numerics.weights.unit_colours import align_factors, cluster_units, leaf_order, to_colours, ward_tree
from microtome.panels import Curve, Grid, Panel, Table
from microtome.prose import name_list, plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Workload

DEFAULT = ("last3",)
MIN_GROUPS = 4  # of the slider, as in the article
TWIN_UNITS = 32  # units of each layer of every twin whose maps are computed: any are as good as others
FEW_UNITS = 16
MEASURES = ("η row", "η col", "B row", "B col", "D", "D of maps")
COLUMNS = {"index": "A, raw", "index_nmf": "A, maps", "share": "units with D beyond ±0.5, maps",
           "share_raw": "units with D beyond ±0.5, raw",
           "band_row": "B row", "band_col": "B col", "angle": "angle of the stripes", "coherence": "coherence of the angle",
           "structure_z": "structure over shuffled positions", "structure_p": "p, shuffled positions",
           "flip_p": "p, random transposition", "units": "units", "unvaried": "units that do not vary over positions"}  # fmt: skip
UNITS = {"angle": "degrees, 0 horizontal, 90 vertical", "share": "fraction of units", "share_raw": "fraction of units",
         "structure_z": "standard deviations", "units": "units", "unvaried": "units"}  # fmt: skip


class _LayerBands(NamedTuple):
    """The results of one layer: a number for each of COLUMNS, η and D of each unit, intervals of both indices."""

    columns: dict[str, float]
    raw: Bands
    maps: Bands
    low_high: tuple[tuple[float, float], tuple[float, float]]


@final
class Banding(Analysis):
    """Kernels as colours, and bands along rows or columns by layer."""

    needs = "weights"
    question = "understand"
    title = "Weight banding"
    rank = 32
    revision = 6  # 6: an interval takes 20 units
    with_twin = True

    at: tuple[str, ...] = option(("last3",), "layers whose kernels are shown; last3: the last three that can be measured")
    groups: int = option(19, "largest number of groups of units", low=1, high=64)
    units: int = option(
        1024,
        "largest number of units of a layer that are measured, evenly spread",
        low=2,
        high=1_000_000,
        quick=256,
        full=1_000_000,
    )
    seed: int = option(0, "seed of the untrained twins, of the bootstrap and of random transpositions", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why no kernel of the network can be measured, or an empty text."""
        every = _spatial_kernels(specimen)
        if any(not kernel.reason for kernel in every.values()):
            return ""
        if not every:
            return "it has no convolution and no fully connected layer over a map whose weights can be read"
        first = next(iter(every))
        return f"none of its {plural(len(every), 'kernel')} can be measured ({first}: {every[first].reason})"

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        values = sum(p.numel() for p in specimen.net.parameters() if p.ndim > 1)
        return Workload(twins=specimen.twin_count, seconds=1.0 + 2e-7 * min(values, 5e7))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        every = _spatial_kernels(specimen)
        own = {name: _spread_units(kernel.values, self.units) for name, kernel in every.items() if not kernel.reason}
        if not own:
            raise Unmeasurable(f"banding() of {specimen.name}: {self.refusal(specimen, images)}")
        refused = {name: kernel.reason for name, kernel in every.items() if kernel.reason}
        shown = self._shown_layers(specimen, list(own), refused)
        maps = _nmf_maps(own)
        results = {name: self._layer_bands(own[name], maps[name]) for name in own}
        arrays = _layer_arrays(own, results)
        arrays |= over_twins(
            [_twin_arrays(own, _spatial_kernels(each)) for each in untrained_twins(specimen, None, self.seed + 1)]
        )
        if refused:
            arrays["unjudged"] = array(list(refused.values()), ("layer",), "text", {"layer": list(refused)}, "reason")
        for name, bands in results.items():
            columns = np.stack(
                [*bands.raw[:2], *_adjusted_pair(own[name], bands.raw), bands.raw.direction, bands.maps.direction], 1
            )
            arrays[f"bands/{name}"] = array(columns, ("unit", "measure"), "1", {"measure": list(MEASURES)})
        for name in shown:
            arrays |= self._tiles(name, maps[name], results[name].columns["index_nmf"])
        return arrays

    def _shown_layers(self, specimen: Specimen, measured: list[str], refused: Mapping[str, str]) -> list[str]:
        if self.at == DEFAULT:
            return measured[-3:]
        paths = [specimen.layer(name).path for name in specimen.find(self.at)]
        chosen = [name for name in measured if any(name == path or name.startswith(path + ".") for path in paths)]
        if not chosen:
            reason = next((f" {name}: {reason}." for name, reason in refused.items() if name in paths), "")
            raise Unmeasurable(
                f"banding() of {specimen.name}: none of {', '.join(self.at)} holds a kernel that can be measured.{reason} "
                f"Those that can: {', '.join(measured[:4])}{', …' if len(measured) > 4 else ''}."
            )
        return chosen

    def _layer_bands(self, values: Tensor, maps: Tensor) -> _LayerBands:
        raw, of_maps = bands_of.band_indices(values), bands_of.band_indices(maps)
        rows, cols = _adjusted_pair(values, raw)
        structure, angle = bands_of.structure_test(values), bands_of.stripe_orientation(values)
        columns = {
            "index": bands_of.banding_index(raw.direction), "index_nmf": bands_of.banding_index(of_maps.direction),
            "share": bands_of.strong_share(of_maps.direction), "share_raw": bands_of.strong_share(raw.direction),
            "band_row": bands_of.banding_index(rows), "band_col": bands_of.banding_index(cols), "angle": angle.angle,
            "coherence": angle.coherence, "structure_z": structure.z, "structure_p": structure.p,
            "flip_p": bands_of.sign_flip_p(raw.direction, seed=self.seed), "units": float(len(values)),
            "unvaried": float(np.isnan(raw.direction).sum()),
        }  # fmt: skip
        return _LayerBands(columns, raw, of_maps, (self._interval(raw.direction), self._interval(of_maps.direction)))

    def _interval(self, direction: Any) -> tuple[float, float]:
        known = direction[~np.isnan(direction)]
        interval = mean_interval(known, seed=self.seed)
        return interval.low, interval.high

    def _tiles(self, name: str, maps: Tensor, index: float) -> dict[str, Any]:
        """Colours of every unit sorted by similarity, the group of each for every number of groups, and the sizes of the groups."""
        matched = align_factors(maps.permute(0, 2, 3, 1).numpy(), horizontal=not index < 0)
        units = len(matched)
        counts = list(range(min(MIN_GROUPS, units, self.groups), min(self.groups, units) + 1))
        leaves = ward_tree(matched) if units > 1 else None
        order = leaf_order(leaves) if leaves is not None else np.arange(units)
        grouping = np.stack([cluster_units(matched, leaves, k) if leaves is not None else np.zeros(units, int) for k in counts])
        sizes = np.stack([np.bincount(each, minlength=counts[-1])[: counts[-1]] for each in grouping]) / units
        sizes[np.arange(counts[-1])[None] >= np.array(counts)[:, None]] = np.nan
        tiles = np.rint(255 * np.nan_to_num(to_colours(matched))).astype(np.uint8)[order]
        by_unit, by_count = {"unit": [int(unit) for unit in order]}, {"groups": counts}
        return {
            f"factors/{name}": array(tiles, ("unit", "row", "col", "rgb"), "colour, 0 to 255", by_unit, "spatial factors"),
            f"group/{name}": array(grouping[:, order], ("groups", "unit"), "number of the group", by_unit | by_count, "group"),
            f"group_share/{name}": array(sizes, ("groups", "part"), "fraction of units", by_count, "units in each group"),
        }

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        layers = [str(name) for name in finding["index"].layer.values]
        strongest = int(np.argmax(np.abs(np.nan_to_num(finding["index_nmf"].values))))

        def number(name: str, column: str, index: int, unit: str = "1") -> KeyNumber:
            value, baseline = float(finding[column].values[index]), float(finding[f"twin_{column}"].values[index])
            low, high = nan, nan
            if f"{column}_low" in finding:
                low, high = (float(finding[f"{column}_{end}"].values[index]) for end in ("low", "high"))
            return KeyNumber(
                name=name,
                value=value,
                unit=unit,
                low=low,
                high=high,
                has_interval=f"{column}_low" in finding,
                baseline=baseline,
                baseline_name=TWINS,
                at=layers[index],
            )

        last = len(layers) - 1
        return [
            number("banding index, maps", "index_nmf", last),
            number("banding index, raw weights", "index", last),
            number("banded units, maps", "share", last, FRACTION),
            number("strongest banding index, maps", "index_nmf", strongest),
            KeyNumber(name="kernels measured", value=len(layers)),
        ]

    def headline(self, finding: Finding) -> str:
        last = finding.key("banding index, maps")
        count = finding["index"].sizes["layer"]
        words = layer_verdict(finding, count - 1)
        if isnan(last.value):
            return f"No banding index for {last.at}, the last of {plural(count, 'kernel')}: its maps do not vary."
        twin = "" if isnan(last.baseline) else f" (untrained twins {last.baseline_text})"
        start = f"Untrained weights: {words}" if finding.trained is False else words[0].upper() + words[1:]
        return f"{start} in {last.at}, the last kernel: banding index {format_value(last.value)}{twin}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        shown_layers = [name.removeprefix("factors/") for name in finding.arrays if name.startswith("factors/")]
        shown: list[Panel] = [
            Grid(
                title=f"Kernels of {name}",
                z=f"factors/{name}",
                across="unit",
                groups=f"group/{name}",
                note=_layer_note(finding, name),
            )
            for name in reversed(shown_layers)
        ]
        shown += [
            Curve(
                title="Banding index by depth, maps", y=("index_nmf",), x="layer", low="index_nmf_low", high="index_nmf_high",
                null=("twin_index_nmf",), note=f"1 horizontal, -1 vertical. From about ±{BANDED_A} a published layer looks banded.",
            ),
            Curve(
                title="Banding index by depth, raw weights", y=("index",), x="layer", low="index_low", high="index_high",
                null=("twin_index",), note="The same index without factorisation.",
            ),
            Table(
                title="Kernels", rows="layer",
                columns=("kernel", "units", "index_nmf", "twin_index_nmf", "index", "index_low", "index_high", "twin_index",
                         "share", "band_row", "band_col", "flip_p", "structure_z", "angle", "coherence"),
            ),
        ]  # fmt: skip
        if "unjudged" in finding:
            shown.append(Table(title="Kernels not measured", rows="layer", columns=("unjudged",)))
        return shown

    def caveats(self, finding: Finding) -> Sequence[str]:
        units = list(zip(finding["units"].layer.values, finding["units"].values, strict=True))
        few = [str(name) for name, count in units if count < FEW_UNITS]
        lines = [
            f"Bands means |A| ≥ {BANDED_A} of the maps, a threshold chosen on 18 large trained layers, none held out.",
            "Factorisation amplifies faint bands: stripes with a tenth of the noise's variance give A = 0.08 raw and about 0.4 of the "
            "maps.",
            "Colours are sorted from top to bottom or left to right, so red is often above even in random weights; A decides.",
            "p for random transposition shows whether a layer has a common axis, not how strong it is.",
            "Oblique stripes and smooth kernels also differ from shuffled positions.",
            f"Intervals are over units (studentised bootstrap, 95%), from {MIN_VALUES} units on. "
            f"{_twins_text(finding)}",
        ]  # fmt: skip
        sampled = [str(name) for name, count in units if count == finding.options["units"]]
        if sampled:
            lines.append(f"At most {finding.options['units']} units are measured, evenly spread: {name_list(sampled, 4)}.")
        if few:
            lines.append(f"Fewer than {FEW_UNITS} units, so the index is uncertain: {name_list(few, 4)}.")
        if finding.trained is not True:
            known = "These weights are untrained: this is what chance gives."
            lines.append("It is not known whether these weights are trained." if finding.trained is None else known)
        return lines


def _spatial_kernels(specimen: Specimen) -> dict[str, Kernel]:
    return find_kernels(specimen.net, specimen.layers, flattened_maps(specimen))


def _spread_units(kernels: Tensor, most: int) -> Tensor:
    """The kernels of all units, or of `most` units evenly spread over them."""
    if len(kernels) <= most:
        return kernels
    return kernels[torch.linspace(0, len(kernels) - 1, most).round().long()]


def _nmf_maps(kernels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Three maps (unit, factor, row, col) for every unit; layers of one shape are factorised together."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, values in kernels.items():
        by_shape.setdefault(tuple(values.shape[1:]), []).append(name)
    by_name: dict[str, Tensor] = {}
    for (_, rows, cols), names in by_shape.items():
        together = kernels[names[0]] if len(names) == 1 else torch.cat([kernels[name] for name in names])
        maps = factorise(together.flatten(2)).maps.mT.unflatten(2, (rows, cols))
        by_name |= dict(zip(names, maps.split([len(kernels[name]) for name in names]), strict=True))
    return {name: by_name[name] for name in kernels}


def _adjusted_pair(values: Tensor, bands: Bands) -> tuple[Any, Any]:
    rows, cols = bands_of.chance_bands(values.shape[2], values.shape[3])
    return bands_of.adjust_for_chance(bands.rows, rows), bands_of.adjust_for_chance(bands.cols, cols)


def _twins_text(finding: Finding) -> str:
    """What of the twins is shown; empty where there are none."""
    count = twin_count(finding.origin)
    return f"Of {count} twins the mean is shown; their maps are of at most {TWIN_UNITS} units." if count else ""


def _twin_arrays(own: Mapping[str, Tensor], kernels: Mapping[str, Kernel]) -> dict[str, Any]:
    """Both indices and the banded units of a twin, whose maps are of evenly spaced units."""
    twin = {name: _spread_units(kernel.values, len(own[name])) for name, kernel in kernels.items() if name in own}
    few = {name: values[:: -(-len(values) // TWIN_UNITS)] for name, values in twin.items()}
    maps = _nmf_maps(few)
    rows = []
    for name in own:
        of_maps = bands_of.band_indices(maps[name]).direction
        rows.append(
            (
                bands_of.banding_index(bands_of.band_indices(twin[name]).direction),
                bands_of.banding_index(of_maps),
                bands_of.strong_share(of_maps),
            )
        )
    titles = {
        "index": "A, raw, untrained twins",
        "index_nmf": "A, maps, untrained twins",
        "share": "units with D beyond ±0.5, untrained twins",
    }
    columns = zip(titles.items(), np.array(rows).T, strict=True)
    layers = {"layer": list(own)}
    return {f"twin_{name}": array(values, ("layer",), UNITS.get(name, "1"), layers, title) for (name, title), values in columns}


def _layer_arrays(own: Mapping[str, Tensor], results: Mapping[str, _LayerBands]) -> dict[str, Any]:
    """Every column by layer, the intervals of both indices, and the shapes of the kernels."""
    layers = {"layer": list(own)}
    arrays: dict[str, Any] = {}
    for column, title in COLUMNS.items():
        values = [bands.columns[column] for bands in results.values()]
        arrays[column] = array(values, ("layer",), UNITS.get(column, "1"), layers, title)
    for index, column in enumerate(("index", "index_nmf")):
        for end, side in enumerate(("low", "high")):
            values = [bands.low_high[index][end] for bands in results.values()]
            arrays[f"{column}_{side}"] = array(
                values, ("layer",), "1", layers, f"{COLUMNS[column]}, {side} end of 95% interval"
            )
    shapes = [_shape_text(values) for values in own.values()]
    arrays["kernel"] = array(shapes, ("layer",), "text", layers, "channels, rows × cols")
    return arrays


def _shape_text(values: Tensor) -> str:
    return f"{values.shape[1]} × {values.shape[2]}×{values.shape[3]}"


def _layer_note(finding: Finding, name: str) -> str:
    index = [str(layer) for layer in finding["index"].layer.values].index(name)
    maps, raw = (float(finding[column].values[index]) for column in ("index_nmf", "index"))
    where = "left, green between, blue right" if maps < 0 else "top, green between, blue below"
    values = f"A = {format_value(maps)} (raw weights {format_value(raw)})"
    return f"{values}: {layer_verdict(finding, index)}. Red is {where}; each unit over its own largest value."
