"""What drives each unit most: its k strongest patches over a whole image set, cut to its receptive field.

One scan, in constant memory however many images there are; it can be stopped, resumed and spread over shards. A unit gives at most
one patch for each image, so that one lucky picture does not fill a row. A patch is the unit's receptive field at its true centre;
where it leaves the picture the mean colour stands, and where it is as large as the picture a frame marks the unit's cell. An
activation of exactly zero is no patch.

Nine pictures look alike to whoever wants to see it, so two numbers say whether a layer's units are particular: the probability that
two of a unit's pictures share a class, and that two different units share a picture. Both stand beside chance and beside the
untrained twin on the same images, whose units are random filters.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4 and fig. 2; one patch for each image is our reading of it. Simpson 1949, for
both probabilities; using them so is ours.
"""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
import torch

from microtome.analysis import TWIN_COUNT, Arrays, BatchValues, Census, Measurement, option, twin_indices
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import mappable, unmeasured
from microtome.instruments.strongest_patches import Window, chosen_units, crops, fired, grid_place, peaks, windows
from microtome.numerics.statistics.selectivity import agreement, chance_agreement, shared
from microtome.panels import Bars, Grid, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Top

DEFAULT = ("shallow", "middle", "deep")
DRAWN = 12  # layers with a picture; all have values and places
AXES = {"axis": ["image", "row", "col"]}


@final
class Patches(Census[Bundle]):
    """The k strongest patches of every unit."""

    needs = "images"
    question = "understand"
    title = "Strongest patches"
    revision = 2
    with_twin = True

    at: tuple[str, ...] = option(("shallow", "middle", "deep"), "the layers to look at: names, globs or aliases")
    k: int = option(9, "how many of the strongest patches of each unit", low=2, high=100)
    units: int = option(3, "units to show of each layer; the arrays of values hold all", low=1, high=4096)
    sort: Literal["spread", "first", "strong", "selective"] = option(
        "spread", "which units: evenly from those that fire, the first, the strongest, those whose pictures share a class"
    )
    numbers: tuple[int, ...] = option((), "units to show, by number from 0; empty: as sort says")
    per_image: int = option(1, "how many patches of a unit may come from one image", low=1, high=100)
    size: int = option(112, "px, the longest side that a patch is kept with", low=8, high=2048)

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return mappable(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> list[str]:
        return [one for one in self.at if self.at != DEFAULT or one in specimen.aliases]

    def empty_tally(self) -> Bundle:
        return Bundle({"all": Top(self.k), "few": Top(self.k)})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return peaks(specimen.layer(name), value, self.per_image)

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        every, some = tally.top("all"), tally.top("few")
        index = np.tile(batch.index, len(next(iter(seen.values()))[0]) // len(batch.index))
        known = np.isin(index, twin_indices(batch.total))  # the images that the untrained twin sees too
        for name, (values, cells) in seen.items():
            every.add(name, index, values, cells)
            if batch.total > TWIN_COUNT and known.any():
                some.add(name, index[known], values[known], cells[known])

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twin: Bundle | None) -> Measurement:
        assert twin is not None  # `with_twin` asks for it
        top, some, null = tally.top("all"), tally.top("few"), twin.top("all")
        names = self.layers_to_watch(specimen)
        seats = windows(specimen, names)
        arrays: dict[str, Any] = {}
        for name in names:
            arrays |= self._layer(specimen, images, name, top, seats[name])
        watched = twin_indices(len(images))
        labels = None if images.labels is None else np.asarray(images.labels)
        own = [fired(some if len(images) > TWIN_COUNT else top, name)[1] for name in names]
        twins = [fired(null, name)[1] for name in names]
        local = [np.searchsorted(watched, one) * (one >= 0) - (one < 0) for one in own]  # places among the watched images
        arrays |= _particular(names, local, twins, None if labels is None else labels[watched], len(watched))
        sides = {"layer": names, "axis": ["row", "col"]}
        arrays["extent"] = array([seats[name].size for name in names], ("layer", "axis"), "px", sides, "side of the window")
        arrays["silent"] = array(
            [float((fired(top, name)[1] < 0).all(0).mean()) for name in names], ("layer",), "share of units", {"layer": names}
        )
        arrays["followed"] = array([float(seats[name].exact) for name in names], ("layer",), "1", {"layer": names})
        arrays["seen"] = array([len(images), len(watched)], ("part",), "images", {"part": ["network", "untrained twin"]})
        return Measurement(arrays, {"unmeasured": unmeasured(specimen, self._asked(specimen), names)})

    def _layer(self, specimen: Specimen, images: Images, name: str, top: Top, window: Window) -> dict[str, Any]:
        """The arrays of one layer: values and places of all units, patches of those shown."""
        value, image, cell = fired(top, name)
        labels = None if images.labels is None else np.asarray(images.labels)
        shown = self._shown(specimen, name, value, image, labels)
        row, col = grid_place(window, cell)
        ranks, units = {"rank": np.arange(1, len(value) + 1)}, {"unit": np.arange(value.shape[1])}
        drawn = {"unit": shown} | ranks
        patches = crops(images, specimen.recipe, window, image[:, shown], cell[:, shown], self.size)
        boxes = [[window.box(row[k, u], col[k, u]) for k in range(len(value))] for u in shown]
        sides = {"axis": ["top", "bottom", "left", "right"]}
        found = {
            f"value/{name}": array(value, ("rank", "unit"), "activation", ranks | units),
            f"place/{name}": array(
                np.stack([image, row, col], 2), ("rank", "unit", "axis"), "place among the images, cell", ranks | units | AXES
            ),
            f"crop/{name}": array(patches, ("unit", "rank", "row", "col", "rgb"), "8-bit grey levels", drawn),
            f"box/{name}": array(np.array(boxes), ("unit", "rank", "axis"), "px", drawn | sides, "edges of the window"),
            f"picture/{name}": array(_told(image[:, shown].T, images.names), ("unit", "rank"), "text", drawn),
        }
        if labels is not None:
            words = images.titles or images.classes
            told = ["unknown" if one < 0 else words[one] if words else f"class {one}" for one in labels.tolist()]
            found[f"label/{name}"] = array(
                _told(image[:, shown].T, told), ("unit", "rank"), "text", drawn, "class of the picture"
            )
            found[f"agreement/{name}"] = array(agreement(image, labels), ("unit",), "probability", units, "share a class")
        return found

    def _shown(self, specimen: Specimen, name: str, value: Any, image: Any, labels: Any) -> Any:
        count = value.shape[1]
        if self.numbers:
            if wrong := [one for one in self.numbers if not 0 <= one < count]:
                raise BadOption(f"patches: {name} of {specimen.name} has no unit {wrong[0]}; its units are 0 to {count - 1}.")
            return np.array(self.numbers)
        told = labels is not None and np.isfinite(chance_agreement(labels))
        return chosen_units(self.sort, self.units, value, image, labels if told else None)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        names = [str(name) for name in found["extent"].layer.values]
        shown: list[Panel] = []
        for name in names[:DRAWN]:
            shown.append(
                Grid(
                    title=f"Strongest patches of {name}", z=f"crop/{name}", across="rank", down="unit", note=_note(found, name)
                )
            )
        if _labelled(found):
            shown.append(
                Bars(title="Do the pictures of a unit share a class?", y=("agreement",), x="layer",
                     null=("twin_agreement", "chance_agreement"),
                     note="Probability that two of a unit's pictures have the same class. Grey: the untrained twin, and chance.")
            )  # fmt: skip
        shown.append(
            Bars(title="Do different units share pictures?", y=("shared",), x="layer", null=("twin_shared", "chance_shared"),
                 note="Probability that a picture of one unit is one of another's. Grey: the untrained twin, and chance.")
        )  # fmt: skip
        kind = "label" if _labelled(found) else "picture"
        shown.append(
            Table(title=f"What the patches of {names[-1]} were cut from", rows="unit", columns=(f"{kind}/{names[-1]}",))
        )
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        names = [str(name) for name in found["extent"].layer.values]
        deep, k = {"layer": names[-1]}, found[f"value/{names[-1]}"].sizes["rank"]
        if float(found["silent"].sel(deep)) == 1:
            return f"No unit of {names[-1]} gives a finite activation other than zero on {int(found['seen'].values[0])} images."
        share, twin, chance = (float(found[f"{one}shared"].sel(deep)) for one in ("", "twin_", "chance_"))
        others = f"two different units share a picture with {share:.3f} (untrained twin {twin:.3f}, chance {chance:.3f})"
        if not _labelled(found):
            told = _verdict((twin - chance) / 2 > share - chance)
            return f"Among the {k} strongest pictures of each unit of {names[-1]}, {others}: {told}."
        own, null, even = (float(found[f"{one}agreement"].sel(deep)) for one in ("", "twin_", "chance_"))
        above = float(found["above_twin"].sel(deep))
        told = _verdict(above > 0.2 and own > max(null, even))
        return (
            f"At {names[-1]} two of a unit's {k} strongest pictures share a class with probability {own:.2f} (untrained twin "
            f"{null:.2f}, chance {even:.2f}); {above:.0%} of its units are above 95% of the twin's, so {told}; {others}."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        names = [str(name) for name in found["extent"].layer.values]
        count, watched = (int(one) for one in found["seen"].values)
        told = [
            "The strongest activations are the tail of a unit's answers: most of what it answers to is weaker and may look different.",
            "Which units are shown is a choice (--sort, --numbers); the numbers are over all units of a layer.",
        ]
        if watched < count:
            told.append(
                f"The comparison with the untrained twin is made on {watched} of the {count} images, the same for both."
            )
        for name in names:
            value = found[f"value/{name}"].values
            tied = int((value[0] == value[-1]).sum())
            if tied:
                told.append(
                    f"{name}: {tied} of {value.shape[1]} units reach the same largest value in {len(value)} images or more; "
                    "which of those are shown is decided by the order of the images."
                )
            if silent := float(found["silent"].sel(layer=name)):
                told.append(f"{name}: {silent:.0%} of the units never gave a finite value other than zero and have no patch.")
            if not float(found["followed"].sel(layer=name)):
                told.append(f"{name}: the receptive field could not be followed to the pixels, so whole pictures are shown.")
        if len(names) > DRAWN:
            told.append(f"Patches of the first {DRAWN} of {len(names)} layers are shown; the arrays hold all.")
        return told


def _particular(names: Sequence[str], own: Sequence[Any], twins: Sequence[Any], labels: Any, count: int) -> dict[str, Any]:
    """How particular the units of each layer are, beside the twin's and chance; places (rank, unit) among `count` images."""
    told = {"layer": list(names)}

    def row(name: str, values: Sequence[float], unit: str, title: str) -> dict[str, Any]:
        return {name: array(np.array(values, dtype=np.float64), ("layer",), unit, told, title)}

    found = row("shared", [shared(one) for one in own], "probability", "network")
    found |= row("twin_shared", [shared(one) for one in twins], "probability", "untrained twin")
    found |= row("chance_shared", [1 / count] * len(names), "probability", "chance")
    if labels is not None:
        mine, null = ([agreement(one, labels) for one in each] for each in (own, twins))
        found |= row("agreement", [_mean(one) for one in mine], "probability", "network")
        found |= row("twin_agreement", [_mean(one) for one in null], "probability", "untrained twin")
        found |= row("chance_agreement", [chance_agreement(labels)] * len(names), "probability", "chance")
        above = [_above(one, other) for one, other in zip(mine, null, strict=True)]
        found |= row("above_twin", above, "share of units", "more of one class than 95% of the twin's units")
    return found


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _above(own: Any, null: Any) -> float:
    """The share of `own` above the 95th percentile of `null`; not a number where either is empty."""
    own, null = own[np.isfinite(own)], null[np.isfinite(null)]
    return float((own > np.quantile(null, 0.95, method="higher")).mean()) if len(own) and len(null) else float("nan")


def _labelled(found: Arrays) -> bool:
    """Whether the classes can say anything: some class has more than one picture."""
    return (
        "agreement" in found
        and float(found["chance_agreement"].values[0]) > 0
        and bool(np.isfinite(found["agreement"].values[-1]))
    )


def _verdict(more: bool) -> str:
    # units of a layer are not independent: 5% above the twin's 95% is chance, 12% was seen in an untrained network
    return "they are more particular than random filters" if more else "by that they are no more particular than random filters"


def _told(places: Any, words: Sequence[Any]) -> Any:
    """The words at those places, empty for -1."""
    told = np.empty(places.shape, dtype=object)
    for at in np.ndindex(places.shape):
        told[at] = str(words[places[at]]) if places[at] >= 0 else ""
    return told


def _note(found: Arrays, name: str) -> str:
    rows, cols = (int(one) for one in found["extent"].sel(layer=name).values)
    boxes = found[f"box/{name}"]
    whole = bool((boxes.sel(axis="top") == 0).all() and (boxes.sel(axis="left") == 0).all())
    seen = "The whole picture, since the unit can see all of it; the frame marks its cell." if whole else (
        f"The {rows} × {cols} px that the unit can see; even colour lies outside the picture."
    )  # fmt: skip
    return f"One row for each unit, strongest first. {seen}"
