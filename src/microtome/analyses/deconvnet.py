"""What in each picture a unit answered to: its strongest activations carried back to the pixels, beside the patches.

All other activations of the layer are set to zero, the chosen one keeps its size, and the signal goes back through the network:
max pooling puts it at the switches (and adds up where windows overlap), every rectifier lets it through by `rule`, convolutions
are transposed. Rectifiers are found however they are written, and the number found is held against the graph's. Batch norm,
average pooling, residual sums and concatenations pass it as the linear maps they are; squeeze-and-excitation gates are held
constant; biases play no part. The activations are found in the shared scan; the backward passes are made afterwards, for those
alone. An activation below zero starts with its size, not its sign, so that its projection shows what would raise it: the
paper's layers end in a ReLU and have none. Only for rule gradient the sign would merely turn the image over. For local response
normalisation the paper gives no inverse: its divisor is held constant, too. GELU, SiLU, softmax and layer norm, for which no
rule is defined, are differentiated; where those are all there is, the picture is the plain gradient, and called so.

Such pictures look like the objects in them even where the network knows nothing: the rule and the local connections alone bring the
picture's edges back (Nie et al. 2018). So three numbers stand beside them: how much a projection looks like that of another unit
of the same cell, like that of the same unit with random weights, and like the mere edges of the picture.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1 and fig. 2; rules, Mahendran & Vedaldi 2016, ECCV, table 1, and Kim et al.
2019, arXiv:1902.04893, eq. 3 (rectgrad; without the padding trick and the product with the picture); image recovery, Nie, Zhang &
Patel 2018, arXiv:1805.07039; sanity checks, Adebayo et al. 2018, arXiv:1810.03292. Gates and divisors held constant are our reading.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import torch
import torch.nn.functional as F

from microtome.analysis import Arrays, BatchValues, Census, Measurement, option
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.layer_choice import mappable, unmeasured
from microtome.instruments.projection import AT_ONCE, Passage, projected, told, visible
from microtome.instruments.strongest_patches import Window, chosen_units, crops, cut, fired, grid_place, peaks, shrunk, windows
from microtome.numerics.maps.heat import partial_rank_correlation
from microtome.numerics.maps.strata import edges
from microtome.panels import Bars, Grid, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Top

DEFAULT = ("shallow", "middle", "deep")
DRAWN = 12  # layers with a picture
DOUBTED = 2  # strongest activations of each unit whose projections are compared with what they should differ from
RIVALS = ("another unit", "random weights", "edges of the picture")
SAME = 0.5  # rank correlation above which a projection is called another's rather than its own


@final
class Deconvnet(Census[Top]):
    """Projections of the strongest activations, beside their patches."""

    needs = "images"
    question = "understand"
    title = "Projections to the pixels"
    revision = 3

    at: tuple[str, ...] = option(("shallow", "middle", "deep"), "the layers to look at: names, globs or aliases")
    rule: Literal["deconvnet", "guided", "gradient", "rectgrad"] = option(
        "deconvnet", "what a rectifier lets through on the way back"
    )
    k: int = option(9, "how many of the strongest activations of each unit", low=2, high=100)
    units: int = option(3, "units to show of each layer", low=1, high=4096)
    sort: Literal["spread", "first", "strong", "selective"] = option(
        "spread", "which units: evenly from those that fire, the first, the strongest, those whose pictures share a class"
    )
    numbers: tuple[int, ...] = option((), "units to show, by number from 0; empty: as sort says")
    size: int = option(112, "px, the longest side that a projection is kept with", low=8, high=2048)
    quantile: float = option(0.98, "rectgrad: the share of a rectifier's signals that is stopped", low=0.0, high=1.0)

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return mappable(specimen, self._asked(specimen))

    def _asked(self, specimen: Specimen) -> Sequence[str]:
        if self.at != DEFAULT:
            return self.at
        # one branch of several is enough to begin with
        return [specimen.find(one)[-1] for one in self.at if one in specimen.aliases]

    def empty_tally(self) -> Top:
        return Top(self.k)

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return peaks(specimen.layer(name), value, 1)

    def add(self, specimen: Specimen, tally: Top, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        for name, (values, cells) in seen.items():
            tally.add(name, batch.index, values, cells)

    def to_arrays(self, specimen: Specimen, images: Images, tally: Top, twin: Top | None) -> Measurement:
        names = self.layers_to_watch(specimen)
        seats = windows(specimen, names)
        null = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        arrays: dict[str, Any] = {}
        passages: list[Passage] = []
        doubts: list[dict[str, float]] = []
        for name in names:
            found, passage, doubt = self._layer(specimen, null, images, name, tally, seats[name])
            arrays |= found
            passages.append(passage)
            doubts.append(doubt)
        arrays |= _facts(names, passages, doubts, self.rule)
        arrays["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        return Measurement(arrays, {"unmeasured": unmeasured(specimen, self._asked(specimen), names)})

    def _layer(
        self, specimen: Specimen, null: Specimen, images: Images, name: str, top: Top, window: Window
    ) -> tuple[dict[str, Any], Passage, dict[str, float]]:
        """The arrays of one layer, what its signal went through, and how much its projections look like what they should not."""
        value, image, cell = fired(top, name)
        if wrong := [one for one in self.numbers if not 0 <= one < value.shape[1]]:
            raise BadOption(
                f"deconvnet: {name} of {specimen.name} has no unit {wrong[0]}; its units are 0 to {value.shape[1] - 1}."
            )
        labels = None if images.labels is None else np.asarray(images.labels)
        shown = np.array(self.numbers or chosen_units(self.sort, self.units, value, image, labels))
        value, image, cell = value[:, shown], image[:, shown], cell[:, shown]
        maker = _Maker(specimen, null, images, name, window, self)
        pixels = maker.made(shown, image, cell)
        patches = crops(images, specimen.recipe, window, image, cell, self.size)
        drawn = {"unit": shown, "rank": np.arange(1, len(value) + 1)}
        pairs = {"unit": [f"{one} {what}" for one in shown for what in ("patch", "projection")], "rank": drawn["rank"]}
        both = np.stack([patches, visible(pixels)], 1).reshape(-1, *patches.shape[1:])
        row, col = grid_place(window, cell)
        told_at = {"axis": ["image", "row", "col"]}
        dims = ("unit", "rank", "row", "col", "rgb")
        arrays = {
            f"pair/{name}": array(both, dims, "8-bit grey levels", pairs, "patch, and its projection in steps of eight levels"),
            f"projection/{name}": array(pixels, dims, "activation · slope by normalised pixel", drawn),
            f"value/{name}": array(value.T, ("unit", "rank"), "activation", drawn),
            f"place/{name}": array(
                np.stack([image.T, row.T, col.T], 2), ("unit", "rank", "axis"), "place among the images, cell", drawn | told_at
            ),
        }
        return arrays, maker.passage, maker.doubt()

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        names = [str(name) for name in found["rectifiers"].layer.values]
        shown: list[Panel] = []
        for name in names[:DRAWN]:
            own = f"{_ruled(found, name)}; grey is zero, each on its own scale."
            said = f"{own} {_doubts(found, name)} (rank correlation; near 1 it is not its own)."
            shown.append(
                Grid(
                    title=f"Patches and projections of {name}", z=f"pair/{name}", across="rank", down="unit",
                    note=said,
                )
            )  # fmt: skip
        shown.append(
            Bars(title="Do the projections belong to the unit?", y=("likeness",), x="layer", by="measure",
                 note="Rank correlation of the signal's size, pixel by pixel, with what a projection should differ from.")
        )  # fmt: skip
        shown.append(
            Table(
                title="What the signal went through", rows="layer", columns=("rectifiers", "gates", "curved", "signed_likeness")
            )
        )
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        deep = str(found["rectifiers"].layer.values[-1])
        unit, random, _ = (float(found["likeness"].sel(layer=deep, measure=one)) for one in RIVALS)
        if not np.isfinite(unit):
            return f"No unit of {deep} can be projected: none of 1 or more shown gives an activation whose signal reaches the pixels."
        little = [what for what, like in (("unit", unit), ("weights", random)) if like > SAME]
        verdict = (
            f"so it says little of the {' or the '.join(little)}" if little else "so it is the unit's own for the greater part"
        )
        if float(found["trained"]) == 0:
            verdict = "and with untrained weights nothing of it was learnt" if not little else verdict
        return f"{_ruled(found, deep)} below {deep}. {_doubts(found, deep)} (rank correlation), {verdict}."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "Projections by the deconvnet and guided rules are partial image recovery: their detail comes from the rule and the local "
            "connections, hardly from the class or the weights (Nie et al. 2018). Read them beside the three numbers, not alone.",
            "A projection is of one activation in one picture; it does not show what the unit looks for in general.",
            "Contrast is stretched for each projection: brightness cannot be compared between them.",
        ]
        below = [name.partition("/")[2] for name in found if name.startswith("value/") and bool((found[name].values < 0).any())]
        if below:
            said.append(
                f"Some of the activations shown of {', '.join(below[:3])}{' and others' if len(below) > 3 else ''} are below zero: their "
                "projections start with their size and show what would raise them."
            )
        if float(found["trained"]) == 0:
            said.append("These weights are untrained: the projections show the architecture and the pictures, not knowledge.")
        for name, curved in zip(map(str, found["curved"].layer.values), found["curved"].values, strict=True):
            if curved:
                said.append(f"{name}: no rule is defined for {curved} on the way; their derivative was taken.")
        return said


class _Maker:
    """Makes the projections of one layer, chunk by chunk, and gathers how much they look like what they should differ from."""

    def __init__(self, specimen: Specimen, null: Specimen, images: Images, name: str, window: Window, how: Deconvnet) -> None:
        self.specimen, self.null, self.images, self.name, self.window, self.how = specimen, null, images, name, window, how
        self.passage = Passage()
        self._alike: dict[str, list[float]] = {name: [] for name in (*RIVALS, "signed unit", "signed random")}

    def made(self, units: Any, image: Any, cell: Any) -> Any:
        """Projections float32 (unit, rank, row, col, rgb) of the places (rank, unit); not a number where there is none."""
        rows, cols = shrunk(self.window.size, self.how.size)
        found = np.full((image.shape[1], image.shape[0], rows, cols, 3), np.nan, np.float32)
        slots = np.argwhere(image.T >= 0)  # (unit's place, rank)
        for doubted in (True, False):
            some = slots[(slots[:, 1] < DOUBTED) == doubted]
            for start in range(0, len(some), AT_ONCE):
                self._chunk(found, some[start : start + AT_ONCE], units, image, cell, doubted)
        return found

    def _chunk(self, found: Any, slots: Any, units: Any, image: Any, cell: Any, doubted: bool) -> None:
        places, ranks = slots.T
        pixels = self.images.pixels(self.specimen.recipe, image[ranks, places])
        x = self.specimen.recipe.normalised(torch.from_numpy(pixels).to(self.specimen.device))
        unit, cells = torch.from_numpy(units[places]), torch.from_numpy(cell[ranks, places])
        own = projected(self.specimen, self.name, x, unit, cells, self.how.rule, quantile=self.how.quantile, rival=doubted)
        self.passage = own.passage
        cut_out = [self._seen(one, int(at)) for one, at in zip(own.pixels, cells, strict=True)]
        size = found.shape[2:4]
        for (place, rank), one in zip(slots, cut_out, strict=True):
            small = F.interpolate(one.permute(2, 0, 1)[None], size=size, mode="area")[0]
            found[place, rank] = small.permute(1, 2, 0).numpy()
        if doubted:
            random = projected(
                self.null, self.name, x, unit, cells, self.how.rule, quantile=self.how.quantile, even=True
            ).pixels  # fmt: skip
            assert own.other is not None
            picture = torch.from_numpy(edges(pixels))[:, None].expand(-1, 3, -1, -1)
            for place, at in enumerate(cells):
                rivals = (own.other[place], random[place], picture[place])
                self._compare(cut_out[place], [self._seen(one, int(at)) for one in rivals], self._away(int(at)))

    def _seen(self, pixels: torch.Tensor, at: int) -> torch.Tensor:
        """The window of a cell cut out of `pixels` (rgb, row, col), as (row, col, rgb); zero outside the picture."""
        row, col = grid_place(self.window, np.array(at))
        shown = pixels if len(pixels) == 3 else pixels.expand(3, -1, -1)  # a network of one channel
        return torch.from_numpy(cut(shown.permute(1, 2, 0).numpy(), self.window, int(row), int(col), (0, 0, 0)))

    def _away(self, at: int) -> torch.Tensor:
        """How far each pixel of a cell's window lies from the cell's centre, px (row, col); not a number outside the picture."""
        row, col = grid_place(self.window, np.array(at))
        down, across = self.window.centre(int(row), int(col))
        rows, cols = self.window.picture
        away = np.hypot(np.arange(rows)[:, None] - down, np.arange(cols)[None] - across)
        return torch.from_numpy(cut(away[..., None], self.window, int(row), int(col), (np.nan,)))[..., 0]

    def _compare(self, own: torch.Tensor, rivals: Sequence[torch.Tensor], away: torch.Tensor) -> None:
        inside = ~away.isnan()
        mine, *others = (one[inside].double() for one in (own, *rivals))
        sizes = [one.abs().sum(1) for one in (mine, *others)]
        for name, size in zip(RIVALS, sizes[1:], strict=True):
            self._alike[name].append(float(partial_rank_correlation(sizes[0], size, away[inside])))
        for name, other in zip(("signed unit", "signed random"), others, strict=False):
            norms = mine.norm() * other.norm()
            self._alike[name].append(float((mine * other).sum() / norms) if norms > 0 else float("nan"))

    def doubt(self) -> dict[str, float]:
        """Mean likeness by rival; not a number where nothing could be compared."""
        known = {name: [one for one in values if np.isfinite(one)] for name, values in self._alike.items()}
        return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}


def _facts(
    names: Sequence[str], passages: Sequence[Passage], doubts: Sequence[Mapping[str, float]], rule: str
) -> dict[str, Any]:
    layers = {"layer": list(names)}
    likeness = [[doubt[rival] for rival in RIVALS] for doubt in doubts]
    signed = [[doubt[one] for one in ("signed unit", "signed random")] for doubt in doubts]
    return {
        "likeness": array(np.array(likeness), ("layer", "measure"), "rank correlation", layers | {"measure": list(RIVALS)}),
        "signed_likeness": array(
            np.array(signed), ("layer", "measure"), "cosine", layers | {"measure": list(RIVALS[:2])}, "cosine with"
        ),
        "rectifiers": array([one.rectifiers for one in passages], ("layer",), "operations", layers, "rectifiers"),
        "gates": array([one.gates for one in passages], ("layer",), "operations", layers, "gates and divisors held constant"),
        "curved": array(np.array(told(passages), dtype=object), ("layer",), "text", layers, "differentiated"),
        "rule": array(np.array([rule] * len(names), dtype=object), ("layer",), "text", layers),
    }


def _ruled(found: Arrays, name: str) -> str:
    """Which rule really made the layer's projections."""
    rule, count = str(found["rule"].sel(layer=name).item()), int(found["rectifiers"].sel(layer=name))
    curved = str(found["curved"].sel(layer=name).item())
    if rule == "gradient":
        return "Plain gradient"
    if not count:
        return f"Plain gradient ({rule} was asked for, but there are 0 rectifiers)"
    return f"Rule {rule} at {count} rectifier{'s' * (count > 1)}" + (f", derivatives at {curved}" if curved else "")


def _doubts(found: Arrays, name: str) -> str:
    unit, random, mere = (float(found["likeness"].sel(layer=name, measure=one)) for one in RIVALS)
    return f"A projection looks like another unit's by {unit:.2f}, like random weights' by {random:.2f}, like mere edges by {mere:.2f}"
