"""Feature maps of the strongest units, and units that are zero on every image.

Units are ranked by the energy (mean square) of their activations over all images, so the same ones are shown for every image. Tokens
are laid out on their grid without class or register tokens; maps of more than 64 px a side are averaged down by area. A unit is dead
when its output is exactly zero at every position of every image; this is counted only in layers that never go below zero. The
untrained twin shows how many that would be by chance.

Source: feature maps as in Zeiler & Fergus 2014, arXiv:1311.2901, sec. 3; dead units, Maas et al. 2013, "Rectifier
nonlinearities improve neural network acoustic models".
"""

from collections.abc import Sequence
from math import nan
from typing import Any, Literal, final

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from microtome.analysis import BatchValues, Census, Measurement, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import layers_with_maps, reasons_not_measured
from microtome.instruments.untrained_twins import TWINS, over_twins
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.positions import firing_rates
from microtome.panels import Bars, Grid, Panel
from microtome.prose import agree, capitalise, count_of, plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows, Total

MAX_MAP_SIDE = 64  # px, the most that a shown map has
MAX_LAYERS = 12  # layers with a figure; all have arrays
DEFAULT = ("shallow", "middle", "deep", "last3")


@final
class Features(Census[Bundle]):
    """Feature maps, strongest units, dead units."""

    needs = "images"
    question = "understand"
    title = "Feature maps"
    rank = 23
    counts_broken = True
    effort = "quick"
    revision = (
        5  # 5: which images its twins see rests on their contents; of layers that give the same tensor the outermost is named
    )
    with_twin = True

    at: tuple[str, ...] = option(("shallow", "middle", "deep", "last3"), "layers to show: names, globs or aliases")
    count: int = option(4, "images shown, the first of the set", low=1, high=64)
    units: int = option(12, "units shown of each layer", low=1, high=4096)
    sort: Literal["energy", "first"] = option("energy", "order of the units: the strongest over all images, or the first")

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return layers_with_maps(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> list[str]:
        return [name for name in self.at if self.at != DEFAULT or name in specimen.aliases]

    def empty_tally(self) -> Bundle:
        return Bundle({"sums": Total(), "shown": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        maps = specimen.layer(name).maps(value.detach())
        sums = firing_rates(maps.flatten(2))
        return sums, _shrink_maps(maps[torch.from_numpy(np.flatnonzero(seen.index < self.count))].float()).cpu().numpy()

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        sums, shown = tally.total("sums"), tally.rows("shown")
        values = {name: seen[name] for name in self.layers_to_watch(specimen)}
        parts = {f"{key}/{name}": part for name, (rates, _) in values.items() for key, part in rates._asdict().items()}
        sums.add(len(batch.index), parts)
        first = batch.index < self.count
        if first.any():
            maps = {f"map/{name}": part for name, (_, part) in values.items()}
            shown.add(batch.index[first], maps | {"picture": batch.pixels[first]})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        names = self.layers_to_watch(specimen)
        sums, shown = tally.total("sums"), tally.rows("shown")
        titles = {"image": [images.names[place] for place in shown.index]}
        arrays: dict[str, Any] = {
            "picture": array(shown.column("picture"), ("image", "row", "col", "rgb"), "8-bit grey levels", titles)
        }
        for name in names:
            strength = np.sqrt(sums[f"energy/{name}"] / sums.count)
            order = (
                np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable")
                if self.sort == "energy"
                else np.arange(len(strength))
            )
            chosen = order[: self.units]
            maps = shown.column(f"map/{name}")[:, chosen]
            arrays[f"map/{name}"] = array(maps, ("image", "unit", "row", "col"), "activation", titles | {"unit": chosen})
            arrays[f"strength/{name}"] = array(strength, ("unit",), "activation (root of the mean square)")
        arrays |= _sparsity_arrays("", tally, names)
        arrays |= over_twins([_sparsity_arrays("twin_", twin, names) for twin in twins])
        counts = {"images": tally.total("sums").count, "images of the twin": twins[0].total("sums").count}
        return Measurement(arrays, counts | {"unmeasured": reasons_not_measured(specimen, self._asked(specimen), names)})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        dead, twin, zeros, twin_zeros = (
            finding[name].values for name in ("dead_share", "twin_dead_share", "sparsity", "twin_sparsity")
        )
        layers = [str(name) for name in finding["dead_share"].layer.values]
        known = np.flatnonzero(np.isfinite(dead))
        worst = int(known[np.argmax(dead[known])]) if len(known) else -1
        return [
            KeyNumber(
                name="dead units, worst layer",
                value=float(dead[worst]) if len(known) else nan,
                baseline=float(twin[worst]) if len(known) else nan,
                baseline_name=TWINS,
                unit=FRACTION,
                better="lower",
                at=layers[worst] if len(known) else "no layer without negative values",
            ),
            KeyNumber(
                name="zeros, most", value=float(zeros.max()), baseline=float(twin_zeros[zeros.argmax()]), unit=FRACTION,
                baseline_name=TWINS, at=layers[int(zeros.argmax())],
            ),
            KeyNumber(name="layers without negative values", value=len(known)),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        layers = [str(name) for name in finding["dead_share"].layer.values]
        images = plural(finding.facts["images"], "image")
        broken = [name for name in layers if not np.isfinite(finding[f"strength/{name}"].values).all()]
        if broken:
            subject = capitalise(count_of(len(broken), len(layers), "layer"))
            first = f"first {broken[0]}" if len(broken) > 1 else broken[0]
            return f"{subject} {agree(len(broken), 'gives', 'give')} values that are not finite on {images}: {first}; look at its weights."
        dead = finding.key("dead units, worst layer")
        if np.isnan(dead.value):
            subject = "The only layer goes" if len(layers) == 1 else f"All {len(layers)} layers go"
            return f"{subject} below zero on {images}, so dead units cannot be counted."
        if not dead.value:
            rectified = int(finding.key("layers without negative values").value)
            which = "the only rectified layer" if rectified == 1 else f"{rectified} rectified layers"
            return f"Every unit of {which} is nonzero on some of {images}."
        units = finding[f"strength/{dead.at}"].size
        count = round(dead.value * units)
        subject = count_of(count, units, "unit")
        start = f"{capitalise(subject)} of {dead.at} {agree(count, 'is', 'are')}"
        return f"{start} zero on all {images}: {dead.text} (untrained twins {dead.baseline_text})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [Grid(title="The images", z="picture", across="image", each=False)]
        negative = finding["negative_share"].values
        for name, below in list(zip(map(str, finding["dead_share"].layer.values), negative, strict=True))[:MAX_LAYERS]:
            panels.append(
                Grid(
                    title=f"Feature maps of {name}", z=f"map/{name}", across="unit", down="image",
                    scale="diverging" if below > 0 else "sequential",
                )
            )  # fmt: skip
        if np.isfinite(finding["dead_share"].values).any():
            panels.append(
                Bars(title="Dead units", y=("dead_share",), x="layer", null=("twin_dead_share",), question="repair",
                     note="Grey: mean of the untrained twins. Layers that go below zero have no bar.")
            )  # fmt: skip
        panels.append(Bars(title="Zeros among the activations", y=("sparsity",), x="layer", null=("twin_sparsity",)))
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        count, twin_count = finding.facts["images"], finding.facts["images of the twin"]
        lines = [
            f"A unit that is zero on {plural(count, 'image')} may be nonzero on others.",
            "Each tile has its own colour scale: brightness cannot be compared between tiles.",
            f"Maps of more than {MAX_MAP_SIDE} px a side are averaged down by area; energy and dead units are counted on full maps.",
        ]
        signed = [str(name) for name in finding["dead_share"].layer.values[~np.isfinite(finding["dead_share"].values)]]
        if signed:
            lines.append(f"These layers have values below zero, so dead units cannot be counted there: {', '.join(signed)}.")
        if twin_count < count:
            lines.append(
                f"Each untrained twin saw {twin_count} of the {plural(count, 'image')}, which makes more of their units look dead."
            )
        if (layers := len(finding["dead_share"])) > MAX_LAYERS:
            lines.append(f"Figures show the first {MAX_LAYERS} of {layers} layers; the arrays hold all.")
        return lines


def _shrink_maps(maps: torch.Tensor) -> torch.Tensor:
    """Maps of at most `MAX_MAP_SIDE` px a side, each position the mean of what it covers."""
    rows, cols = maps.shape[2:]
    return (
        maps.clone()
        if max(rows, cols) <= MAX_MAP_SIDE
        else adaptive_avg_pool2d(maps, (min(rows, MAX_MAP_SIDE), min(cols, MAX_MAP_SIDE)))
    )


def _sparsity_arrays(prefix: str, tally: Bundle, names: Sequence[str]) -> dict[str, Any]:
    """Fractions of dead units, zeros and negative values, each (layer,); that of dead units only where nothing is negative."""
    sums = tally.total("sums")
    negative = np.array([float(sums[f"negative/{name}"]) / sums.count for name in names])
    dead = np.array([float((sums[f"fired/{name}"] == 0).mean()) for name in names])
    zeros = [float(sums[f"zero/{name}"]) / sums.count for name in names]
    layers, whose = {"layer": list(names)}, ", untrained twins" if prefix else ""
    known = np.where(negative > 0, np.nan, dead)
    return {
        f"{prefix}dead_share": array(known, ("layer",), "fraction of units", layers, f"dead units{whose}"),
        f"{prefix}sparsity": array(zeros, ("layer",), "fraction of values", layers, f"zeros{whose}"),
        f"{prefix}negative_share": array(negative, ("layer",), "fraction of values", layers),
    }
