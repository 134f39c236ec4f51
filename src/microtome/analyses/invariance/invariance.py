"""How far each layer moves, and how sure the network stays, when the picture is shifted, enlarged, turned, mirrored or cropped anew.

At every layer ‖f(x) - f(Tx)‖ / ‖f(x)‖, and the probability of the true class, over the amounts of each warp. A random network can
hardly tell any two pictures apart and so looks invariant to everything: the distance is therefore also told as a share of the
distance between different pictures, beside the untrained twin's. Small shifts tell how often the answer stays (shift consistency),
and what the strides do to the maps: moved by a whole stride, they should move by one cell; moved by half a stride, the units' means
should not change more than that.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1 and fig. 5 (its ranges and border are not given; ours are options); shift
consistency and strides, Zhang 2019, arXiv:1904.11486, sec. 4. Division by norms and by the distance between pictures is ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast, final

import numpy as np
import torch
import xarray as xr

from microtome.analyses.invariance.examples import amounts_shown, few, followed, one_by_one, picture_panels, small
from microtome.analyses.invariance.plan import SCORES, Plan, comparable, doubled, numbers, stride_of, target_of, with_none
from microtome.analyses.invariance.summary import answers, distances, still_amount, strides
from microtome.analyses.invariance.views import CHUNK, Seen
from microtome.analyses.invariance.warps import WARPS, Border, Warp, reach
from microtome.analysis import Analysis, Arrays, Measurement, Needs, option
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import places
from microtome.instruments.layer_choice import unmeasured
from microtome.panels import Bars, Curve, Grid, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Recipe, Specimen
from microtome.tally import Rows

OPTIONS = {"row_shift": "shifts", "col_shift": "shifts", "crop_shift": "crops", "scale": "scales", "rotation": "rotations"}
BORDERS = {
    "reflect": "mirrored",
    "mean": "filled with the mean colour",
    "wrap": "the picture's far side",
    "crop": "real, cut from a larger picture",
}


@final
class Invariance(Analysis):
    """Distances of every layer and the probability of the true class under warps."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Invariance"
    revision: ClassVar[int] = 3

    at: tuple[str, ...] = option(("stages",), "the layers to measure: names, globs or aliases; the output is always told")
    warps: tuple[Literal["row_shift", "col_shift", "crop_shift", "scale", "rotation", "flip"], ...] = option(
        ("row_shift", "col_shift", "crop_shift", "scale", "rotation", "flip"), "what is done to the pictures"
    )
    shifts: tuple[str, ...] = option(
        (), "px to shift, numbers or first:last:step; empty: 1, 2, 4 … up to a quarter of the side, both ways"
    )
    crops: tuple[str, ...] = option((), "px to move the crop; empty: 1, 2, 4 … as far as the picture reaches, at least 4")
    scales: tuple[str, ...] = option(("1.2:1.8:0.2",), "enlargements, numbers or first:last:step")
    rotations: tuple[str, ...] = option(("45:180:45",), "degrees counter-clockwise, numbers or first:last:step")
    border: Literal["reflect", "mean", "wrap", "crop"] = option(
        "reflect", "what comes in from outside: mirrored, mean colour, the far side, or a larger cut of the picture"
    )
    count: int = option(8, "how many images, evenly from the set", low=1, high=100_000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `unfit` has refused before
        evenly = np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int))
        taken = images.take(evenly)
        plan = self._plan(specimen, taken)
        twin = specimen.working_twin(seed=1 if specimen.trained is False else 0)
        runs = {
            "": self._rows(specimen, taken, plan, pace, "warps"),
            "twin_": self._rows(
                twin, taken, replace(plan, target=np.full(len(taken), -1)), pace, "warps of the untrained twin"
            ),
        }
        found = distances(plan, runs) | answers(plan, runs) | strides(plan, runs)
        found |= one_by_one(plan, runs[""], taken) | self._shown(specimen, taken, plan)
        larger = {name: self._larger(specimen.recipe, plan, crops)[1] for name, crops in (("border", False), ("crop", True))}
        found["enlarged"] = array(list(larger.values()), ("part",), "times", {"part": list(larger)})
        found["said"] = array([plan.said, self.border], ("criterion",), "text", {"criterion": ["class", "border"]})
        found["count"] = array(len(taken), (), "images")
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        for one, run in ((specimen, "warps"), (twin, "warps of the untrained twin")):
            discard_tally(pace, self._key(one, taken, run))
        return Measurement(found, {"unmeasured": unmeasured(specimen, self._known(specimen), plan.names)})

    def _plan(self, specimen: Specimen, images: Images) -> Plan:
        names = [name for name in specimen.find(self._known(specimen)) if comparable(specimen, name)]
        size = specimen.recipe.size
        amounts: dict[Warp, tuple[float, ...]] = {
            warp: with_none(warp, self._amounts(warp, specimen.recipe)) for warp in _once(self.warps)
        }
        idle = next((warp for warp, some in amounts.items() if len(some) < 2), "warps" if not amounts else "")
        if idle:
            raise BadOption(f"invariance: option {OPTIONS.get(idle, idle)} names nothing that moves a picture.")
        gridded = [name for name in names if specimen.layer(name).grid not in (None, (1, 1))]
        x = specimen.recipe.normalised(torch.from_numpy(images.pixels(specimen.recipe, [0])).to(specimen.device))
        where = places(specimen, gridded, x) if gridded else {}
        strides = [stride_of(where.get(name), size[0]) for name in names]
        views: list[tuple[Warp, float]] = [
            (warp, amount) for warp, some in amounts.items() for amount in some if amount != WARPS[warp][1]
        ]
        aligned = sorted({shift for stride in strides if stride for shift in (1, stride // 2 or 1, stride)})
        for shift in aligned:
            views.append(("row_shift", float(shift)))
        target, said = target_of(specimen, images)
        return Plan((*names, SCORES), (*strides, 0), tuple(dict.fromkeys(views)), amounts, size, target, said)

    def _known(self, specimen: Specimen) -> Sequence[str]:
        return ("last3",) if self.at == ("stages",) and "stages" not in specimen.aliases else self.at

    def _amounts(self, warp: Warp, recipe: Recipe) -> list[float]:
        if warp == "flip":
            return [1.0, 2.0]
        if warp == "scale":
            return numbers("scales", self.scales, 0.1, 10.0)
        if warp == "rotation":
            return numbers("rotations", self.rotations, -360.0, 360.0)
        side = min(recipe.size)
        if warp == "crop_shift":
            room = max(4.0, side * (1 / recipe.crop - 1) / 2)
            return numbers("crops", self.crops, 0.0, side / 2) if self.crops else doubled(min(room, side / 4))
        given = numbers("shifts", self.shifts, -side / 2, side / 2)
        return given if self.shifts else [sign * shift for sign in (-1, 1) for shift in doubled(side / 4)]

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _larger(self, recipe: Recipe, plan: Plan, crops: bool) -> tuple[Recipe, float]:
        """The recipe of the larger picture that crops, or all other warps, are cut from, and how many times it is enlarged."""
        if not crops and self.border != "crop":
            return recipe, 1.0
        chosen: list[tuple[Warp, float]] = [(warp, amount) for warp, amount in plan.views if (warp == "crop_shift") == crops]
        margin = max((reach(one, amount, recipe.size) for one, amount in chosen), default=0)
        size = (recipe.size[0] + 2 * margin, recipe.size[1] + 2 * margin)
        enlarged = recipe.crop * min(size[0] / recipe.size[0], size[1] / recipe.size[1])
        return replace(recipe, size=size, crop=min(1.0, enlarged)), max(1.0, enlarged)

    def _rows(self, specimen: Specimen, images: Images, plan: Plan, pace: Pace, run: str) -> Rows:
        """One row for each image: what every view did to every layer; kept while unfinished."""
        rows = Rows()

        borders: tuple[tuple[bool, Border], ...] = ((False, self.border), (True, "crop"))

        def visit(batch: Batch) -> None:
            for part in np.array_split(np.arange(len(batch.index)), -(-len(batch.index) // CHUNK)):
                seen = Seen(specimen, plan, len(part))
                for crops, border in borders:
                    views = [place for place, (warp, _) in enumerate(plan.views) if (warp == "crop_shift") == crops]
                    if views:
                        recipe, _ = self._larger(specimen.recipe, plan, crops)
                        pixels = torch.from_numpy(images.pixels(recipe, batch.index[part])).to(specimen.device)
                        seen.look(recipe.normalised(pixels), views, border, crops)
                rows.add(batch.index[part], seen.columns(batch.index[part]))

        what = f"{specimen.name.removesuffix(' (untrained twin)')}: {run}"
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def _shown(self, specimen: Specimen, images: Images, plan: Plan) -> dict[str, xr.DataArray]:
        """The first picture under some amounts of every warp, and a few pictures under those that they are followed through."""
        first: list[Any] = []
        found: dict[str, xr.DataArray] = {}
        for warp in plan.amounts:
            crops = warp == "crop_shift"
            larger, _ = self._larger(specimen.recipe, plan, crops)
            some = few(len(images)) if warp in followed(plan) else [0]
            tiles = small(plan, specimen.recipe, larger, images, warp, "crop" if crops else self.border, some)
            first.append(tiles[0])
            if warp in followed(plan):
                told = {"image": [images.names[one] for one in some], "amount": amounts_shown(plan, warp)}
                found[f"pictures/{warp}"] = array(tiles, ("image", "amount", "row", "col", "rgb"), "8-bit grey levels", told)
        told = {"warp": list(plan.amounts)}
        return found | {"picture": array(np.stack(first), ("warp", "amount", "row", "col", "rgb"), "8-bit grey levels", told)}

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        note = "0: nothing moved; 1: as far as another picture. Mean over the amounts of each warp."
        shown: list[Panel] = [
            Curve(title="How far each layer moves", y=("change",), x="layer", by="warp", note=note),
            Curve(title="How far the untrained twin moves", y=("twin_change",), x="layer", by="warp", note=note),
            Grid(title="The first picture, warped", z="picture", across="amount", down="warp", each=False,
                 note=f"From the smallest to the largest amount; border: {found['said'].values[1]}."),
        ]  # fmt: skip
        shown += picture_panels(found)
        told = str(found["said"].values[0])
        for warp in map(str, found["change"].warp.values):
            unit = WARPS[cast(Warp, warp)][0]
            if warp == "flip":
                shown.append(
                    Bars(title="Distance by flip", y=("distance/flip",), x="layer", by="amount", null=("twin_distance/flip",))
                )
            else:
                shown.append(Curve(title=f"Distance by {_word(warp)}", note=f"Amount: {unit}.", y=(f"distance/{warp}",), x="amount",
                                   by="layer"))  # fmt: skip
            if f"probability/{warp}" in found and warp != "flip":
                low, high = f"probability_low/{warp}", f"probability_high/{warp}"
                shown.append(Curve(title=f"Probability by {_word(warp)}", note=f"Of {told}; amount: {unit}.", x="amount",
                                   y=(f"probability/{warp}",), low=low, high=high))  # fmt: skip
        if "pooled" in found:
            shown += [
                Bars(title="Strides: units' means", y=("pooled",), x="layer", by="measure", null=("twin_pooled",),
                     question="repair", note="Row shifts. Half a stride moving them more than a whole one is aliasing."),
                Bars(title="Strides: maps", y=("equivariance",), x="layer", by="measure",
                     null=("twin_equivariance",), note="Distance to the unmoved maps shifted as far; 0 is equivariant."),
            ]  # fmt: skip
        if "consistency" in found:
            columns = ("consistency", "consistency_low", "consistency_high", "twin_consistency", "small")
            shown.append(Table(title="Shift consistency", rows="warp", columns=columns, note=_few_classes(found)))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        at = max(found["change"].sizes["layer"] - 2, 0)  # the deepest layer before the output
        change, twin = found["change"].values[:, at], found["twin_change"].values[:, at]
        count, deep, warps = int(found["count"]), str(found["change"].layer.values[at]), found["change"].warp.values
        if not np.isfinite(change).any():
            return f"{deep} does not tell these pictures apart ({count}; it takes two), so that there is nothing to measure by."
        ends = [
            f"{how} by {_word(str(warps[one]))} {change[one]:.0%} (untrained twin {twin[one]:.0%})"
            for how, one in (("most", np.nanargmax(change)), ("least", np.nanargmin(change)))
        ]
        start = f"As shares of the distance between pictures ({count}), {deep} moves {' and '.join(ends)}"
        chances = {name.split("/")[1]: one for name, one in found.items() if name.startswith("probability/")}
        chances = {warp: one for warp, one in chances.items() if np.isfinite(one.values).all()}
        if chances:
            warp = min(chances, key=lambda one: float(chances[one].min()))
            told, amounts = chances[warp].values, chances[warp].amount.values
            still = told[list(found["amount_value"].sel(warp=warp).values).index(still_amount(warp))]
            unit = "" if warp == "flip" else WARPS[cast(Warp, warp)][0].split()[0]
            lowest = f"{told.min():.2f} ({_word(warp)} {_amount(amounts[told.argmin()])} {unit}".rstrip() + ")"
            start += f"; the probability of {found['said'].values[0]} falls from {still:.2f} to {lowest}"
        if "consistency" in found:
            small, share, null = (found[name].values[0] for name in ("small", "consistency", "twin_consistency"))
            start += f"; shifts up to {small:g} px leave {share:.0%} of answers the same (untrained twin {null:.0%})"
        return start + "."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            f"The border is {BORDERS[str(found['said'].values[1])]}: what comes in there moves the features as well.",
            "Enlarging, turning and shifts by broken pixels are bilinear, which blurs; that too is part of the distance.",
            "The means over amounts depend on the amounts: compare networks on the same ones.",
            "The equivariance of half a stride is measured against maps interpolated linearly, which no map of cells follows exactly.",
        ]
        for name, value in zip(found["enlarged"].part.values, found["enlarged"].values, strict=True):
            if value > 1:
                what = "crops" if name == "crop" else "all other warps"
                said.append(
                    f"To make room for {what}, the picture was enlarged {value:.2f} times: the network sees its middle only."
                )
        if (note := _few_classes(found)) and "consistency" in found:
            said.append(note)
        said.append("A network that is right more often is more consistent too (Zhang 2019): compare those of like accuracy.")
        if "consistency" not in found:
            said.append("The network gives no class scores, so that only distances are told.")
        if float(found["trained"]) == 0:
            said.append("These weights are untrained.")
        return said


def _once(warps: Sequence[Warp]) -> list[Warp]:
    return [warp for place, warp in enumerate(warps) if warp not in warps[:place]]


def _word(warp: str) -> str:
    return warp.replace("_", " ")


def _amount(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _few_classes(found: Arrays) -> str:
    if "answers" not in found:
        return ""
    own, null = (int(one) for one in found["answers"].values)
    return f"The network answers with {own} different classes, the untrained twin with {null}: who always says the same is consistent."
