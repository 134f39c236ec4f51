"""What chosen layers make of the first pictures: feature maps of their strongest units, and how many units never fire.

Units are ranked by the energy (mean square) of their activations over all images, so the same ones are shown for every picture.
Tokens are laid out on their grid without class or register tokens; maps of more than 64 px a side are averaged down by area. A
unit is dead when its output is exactly zero at every position of every image, which is told only of layers that never go below
zero; the untrained twin says how many that would be by chance.

Source: feature maps as in Zeiler & Fergus 2014, arXiv:1311.2901, sec. 3; dead units, Maas et al. 2013, "Rectifier
nonlinearities improve neural network acoustic models".
"""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from microtome.analysis import BatchValues, Census, Measurement, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import mappable, unmeasured
from microtome.numerics.statistics.positions import firing
from microtome.panels import Bars, Grid, Panel
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows, Total

SIDE = 64  # px, the most that a shown map has
DRAWN = 12  # layers with a picture; all have arrays
DEFAULT = ("shallow", "middle", "deep", "last3")


@final
class Features(Census[Bundle]):
    """Feature maps, strongest units, dead units."""

    needs = "images"
    question = "understand"
    title = "Feature maps"
    revision = 2
    with_twin = True

    at: tuple[str, ...] = option(("shallow", "middle", "deep", "last3"), "the layers to show: names, globs or aliases")
    count: int = option(4, "images to show, the first of the set", low=1, high=64)
    units: int = option(12, "units to show of each layer", low=1, high=4096)
    sort: Literal["energy", "first"] = option("energy", "which units: the strongest over all images, or the first")

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return mappable(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> list[str]:
        return [one for one in self.at if self.at != DEFAULT or one in specimen.aliases]

    def empty_tally(self) -> Bundle:
        return Bundle({"sums": Total(), "shown": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        maps = specimen.layer(name).maps(value.detach())
        sums = firing(maps.flatten(2))
        return sums, _small(maps[: self.count].float()).cpu().numpy()

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        sums, shown = tally.total("sums"), tally.rows("shown")
        told = {name: seen[name] for name in self.layers_to_watch(specimen)}
        sums.add(
            len(batch.index),
            {f"{key}/{name}": one for name, (parts, _) in told.items() for key, one in parts._asdict().items()},
        )
        few = int((batch.index < self.count).sum())  # places ascend, so the images to show come first in their batch
        if few:
            maps = {f"map/{name}": one[:few] for name, (_, one) in told.items()}
            shown.add(batch.index[:few], maps | {"picture": batch.pixels[:few]})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twin: Bundle | None) -> Measurement:
        assert twin is not None  # `with_twin` asks for it
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
        arrays |= _shares("", tally, names) | _shares("twin_", twin, names)
        return Measurement(arrays, {"unmeasured": unmeasured(specimen, self._asked(specimen), names)})

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = [Grid(title="The pictures", z="picture", across="image", each=False)]
        negative = found["negative_share"].values
        for name, below in list(zip(map(str, found["dead_share"].layer.values), negative, strict=True))[:DRAWN]:
            shown.append(
                Grid(
                    title=f"Feature maps of {name}", z=f"map/{name}", across="unit", down="image",
                    scale="diverging" if below > 0 else "sequential",
                )
            )  # fmt: skip
        if np.isfinite(found["dead_share"].values).any():
            shown.append(
                Bars(title="Units that never fire", y=("dead_share",), x="layer", null=("twin_dead_share",), question="repair",
                     note="Grey: the untrained twin. Layers that go below zero have no bar.")
            )  # fmt: skip
        shown.append(Bars(title="Zeros among the activations", y=("sparsity",), x="layer", null=("twin_sparsity",)))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        count, layers = int(found["seen"].values[0]), [str(name) for name in found["dead_share"].layer.values]
        broken = [name for name in layers if not np.isfinite(found[f"strength/{name}"].values).all()]
        if broken:
            return (
                f"{broken[0]} gives values that are not finite on {count} images ({len(broken)} of {len(layers)} layers do): "
                "look at its weights."
            )
        dead, null = found["dead_share"].values, found["twin_dead_share"].values
        if not np.isfinite(dead).any():
            return (
                f"{len(layers)} layers on {count} images: all of them go below zero, so none can be said to hold units "
                f"that never fire; {_range(100 * found['sparsity'].values)} % of their values are exactly zero."
            )
        rectified, zeros = (
            int(np.isfinite(dead).sum()),
            f"{_range(100 * found['sparsity'].values)} % of a layer's values are zero.",
        )
        if not np.nanmax(dead):
            return (
                f"Every unit of {rectified} rectified layers fires on some of {count} images (in the untrained twin up to "
                f"{100 * np.nanmax(null[np.isfinite(dead)]):.1f} % of a layer's never do); {zeros}"
            )
        worst = int(np.nanargmax(dead))
        units = found[f"strength/{layers[worst]}"].size
        return (
            f"On {count} images {round(dead[worst] * units)} of {units} units of {layers[worst]} never fire, "
            f"{100 * dead[worst]:.1f} % (untrained twin {100 * null[worst]:.1f} %), the largest share in {rectified} rectified "
            f"layers; {zeros}"
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        count, few = int(found["seen"].values[0]), int(found["twin_seen"].values[0])
        told = [
            f"A unit that never fires on {count} images may fire on others.",
            "Each tile has a colour scale of its own: brightness cannot be compared between tiles.",
            f"Maps of more than {SIDE} px a side are averaged down by area; energy and dead units are counted on full maps.",
        ]
        signed = [str(name) for name in found["dead_share"].layer.values[~np.isfinite(found["dead_share"].values)]]
        if signed:
            told.append(
                f"These layers give values below zero, so a dead unit cannot be told by its silence: {', '.join(signed)}."
            )
        if few < count:
            told.append(f"The untrained twin saw {few} of the {count} images, which makes more of its units look dead.")
        if len(found["dead_share"]) > DRAWN:
            told.append(f"Pictures of the first {DRAWN} of {len(found['dead_share'])} layers are shown; the arrays hold all.")
        return told


def _small(maps: torch.Tensor) -> torch.Tensor:
    """Maps of at most `SIDE` px a side, each cell the mean of what it covers."""
    rows, cols = maps.shape[2:]
    return maps.clone() if max(rows, cols) <= SIDE else adaptive_avg_pool2d(maps, (min(rows, SIDE), min(cols, SIDE)))


def _shares(prefix: str, tally: Bundle, names: Sequence[str]) -> dict[str, Any]:
    """Shares of dead units, zeros and negative values, each (layer,); that of dead units only where nothing is negative."""
    sums = tally.total("sums")
    negative = np.array([float(sums[f"negative/{name}"]) / sums.count for name in names])
    dead = np.array([float((sums[f"fired/{name}"] == 0).mean()) for name in names])
    told = {"layer": list(names)}
    return {
        f"{prefix}dead_share": array(
            np.where(negative > 0, np.nan, dead), ("layer",), "share of units", told, f"{prefix and 'twin: '}never fire"
        ),
        f"{prefix}sparsity": array(
            [float(sums[f"zero/{name}"]) / sums.count for name in names],
            ("layer",),
            "share of values",
            told,
            f"{prefix and 'twin: '}zeros",
        ),
        f"{prefix}negative_share": array(negative, ("layer",), "share of values", told),
        f"{prefix}seen": array([sums.count], ("criterion",), "images"),
    }


def _range(values: np.ndarray[Any, Any]) -> str:
    low, high = f"{np.nanmin(values):.0f}", f"{np.nanmax(values):.0f}"
    return low if low == high else f"{low} to {high}"
