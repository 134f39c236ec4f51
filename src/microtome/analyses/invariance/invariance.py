"""How far features move when the image is shifted, scaled, rotated, flipped or re-cropped.

For every layer ‖f(x) - f(Tx)‖ / ‖f(x)‖, and the probability of the true class, over the amounts of each warp. A random network hardly
separates any two images and so looks invariant to everything; the distance is therefore also given as a fraction of the distance
between different images, over all pairs (of each image to as many others as 256 MB of features hold, where there are more), beside the
untrained twin's. Small shifts measure how often the predicted class stays (shift consistency)
and what strides do to the maps: shifted by a whole stride they should move by one position; shifted by half a stride, the means of
the units should not change more than that.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1 and fig. 5 (its ranges and border are not given; ours are options); shift
consistency and strides, Zhang 2019, arXiv:1904.11486, sec. 4. Division by norms and by the distance between images is ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast, final

import numpy as np
import torch
import xarray as xr

from microtome.analyses.invariance.examples import (
    example_arrays,
    example_indices,
    followed_warps,
    image_panels,
    shown_amounts,
    thumbnails,
)
from microtome.analyses.invariance.plan import (
    CLASS_SCORES,
    WarpPlan,
    grid_stride,
    is_comparable,
    parse_numbers,
    powers_of_two,
    target_outputs,
    with_identity,
)
from microtome.analyses.invariance.summary import answer_arrays, identity_amount, stride_arrays, warp_distance_arrays
from microtome.analyses.invariance.views import WARP_CHUNK, ViewRunner, distances_between, reference_count
from microtome.analyses.invariance.warps import WARPS, Border, Warp, warp_margin
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import cell_positions
from microtome.instruments.layer_choice import reasons_not_measured
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.panels import Bars, Curve, Grid, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Recipe, Specimen
from microtome.tally import Rows
from microtome.workload import Workload

OPTIONS = {"row_shift": "shifts", "col_shift": "shifts", "crop_shift": "crops", "scale": "scales", "rotation": "rotations"}
BORDERS = {
    "reflect": "mirrored",
    "mean": "the mean colour",
    "wrap": "the opposite side of the image",
    "crop": "real, cut from a larger image",
}


@final
class Invariance(Analysis):
    """Distances of every layer and the probability of the true class under warps."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Invariance"
    rank: ClassVar[int] = 37
    revision: ClassVar[int] = 7  # 7: values that are not finite are refused; features without a head have no probabilities

    at: tuple[str, ...] = option(("stages",), "layers to measure: names, globs or aliases; the output is always measured")
    warps: tuple[Literal["row_shift", "col_shift", "crop_shift", "scale", "rotation", "flip"], ...] = option(
        ("row_shift", "col_shift", "crop_shift", "scale", "rotation", "flip"), "warps to apply"
    )
    shifts: tuple[str, ...] = option(
        (), "shifts, px, as numbers or first:last:step; empty: 1, 2, 4 … up to a quarter of the side, both ways"
    )
    crops: tuple[str, ...] = option((), "shifts of the crop, px; empty: 1, 2, 4 … as far as the image reaches, at least 4")
    scales: tuple[str, ...] = option(("1.2:1.8:0.2",), "scale factors, as numbers or first:last:step")
    rotations: tuple[str, ...] = option(("45:180:45",), "rotations, degrees counter-clockwise, as numbers or first:last:step")
    border: Literal["reflect", "mean", "wrap", "crop"] = option(
        "reflect", "fill outside the image: mirrored, mean colour, the opposite side, or a larger crop"
    )
    count: int = option(
        6, "images measured, of each class in proportion, chosen by content", low=1, high=100_000, quick=2, full=16
    )

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        views = sum(len(self._amounts(warp, specimen.recipe)) for warp in self.warps)
        return Workload(forward=0.7 * (views + 6.0) * shown, twins=1)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        chosen = images.sample(self.count)
        taken = images.take(
            [place for place in images.content_order() if place in chosen]
        )  # draws and examples do not hang on names
        plan = self._plan(specimen, taken)
        twin = specimen.working_twin(images)
        runs = {
            "": self._rows(specimen, taken, plan, pace, "warps"),
            "twin_": self._rows(
                twin, taken, replace(plan, target=np.full(len(taken), -1)), pace, "warps of the untrained twin"
            ),
        }
        apart = {"": self._apart(specimen, taken, plan), "twin_": self._apart(twin, taken, plan)}
        found = warp_distance_arrays(plan, runs, apart) | answer_arrays(plan, runs) | stride_arrays(plan, runs)
        found |= example_arrays(plan, runs[""], taken) | self._example_images(specimen, taken, plan)
        larger = {name: self._larger(specimen.recipe, plan, crops)[1] for name, crops in (("border", False), ("crop", True))}
        facts = {
            "images": len(taken),
            "references": min(len(taken), reference_count(specimen, plan)),
            "class": plan.description,
            "enlarged": {name: factor for name, factor in larger.items() if factor > 1},
            "unmeasured": reasons_not_measured(specimen, self._layer_patterns(specimen), plan.names),
        }
        for one, run in ((specimen, "warps"), (twin, "warps of the untrained twin")):
            discard_tally(pace, self._key(one, taken, run))
        return Measurement(found, facts)

    def _plan(self, specimen: Specimen, images: Images) -> WarpPlan:
        names = [name for name in specimen.find(self._layer_patterns(specimen)) if is_comparable(specimen, name)]
        size = specimen.recipe.size
        amounts: dict[Warp, tuple[float, ...]] = {
            warp: with_identity(warp, self._amounts(warp, specimen.recipe)) for warp in _unique_warps(self.warps)
        }
        idle = next((warp for warp, some in amounts.items() if len(some) < 2), "warps" if not amounts else "")
        if idle:
            raise BadOption(f"invariance: option {OPTIONS.get(idle, idle)} names nothing that changes an image.")
        gridded = [name for name in names if specimen.layer(name).grid not in (None, (1, 1))]
        x = specimen.recipe.normalise(torch.from_numpy(images.pixels(specimen.recipe, [0])).to(specimen.device))
        where = cell_positions(specimen, gridded, x) if gridded else {}
        strides = [grid_stride(where.get(name), size[0]) for name in names]
        views: list[tuple[Warp, float]] = [
            (warp, amount) for warp, some in amounts.items() for amount in some if amount != WARPS[warp][1]
        ]
        aligned = sorted({shift for stride in strides if stride for shift in (1, stride // 2 or 1, stride)})
        for shift in aligned:
            views.append(("row_shift", float(shift)))
        target, said = target_outputs(specimen, images)
        return WarpPlan((*names, CLASS_SCORES), (*strides, 0), tuple(dict.fromkeys(views)), amounts, size, target, said)

    def _layer_patterns(self, specimen: Specimen) -> Sequence[str]:
        if self.at != ("stages",) or "stages" in specimen.aliases:
            return self.at
        return ("last3",) if "last3" in specimen.aliases else ("*",)

    def _amounts(self, warp: Warp, recipe: Recipe) -> list[float]:
        if warp == "flip":
            return [1.0, 2.0]
        if warp == "scale":
            return parse_numbers("scales", self.scales, 0.1, 10.0)
        if warp == "rotation":
            return parse_numbers("rotations", self.rotations, -360.0, 360.0)
        side = min(recipe.size)
        if warp == "crop_shift":
            room = max(4.0, side * (1 / recipe.crop - 1) / 2)
            return parse_numbers("crops", self.crops, 0.0, side / 2) if self.crops else powers_of_two(min(room, side / 4))
        given = parse_numbers("shifts", self.shifts, -side / 2, side / 2)
        return given if self.shifts else [sign * shift for sign in (-1, 1) for shift in powers_of_two(side / 4)]

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _larger(self, recipe: Recipe, plan: WarpPlan, crops: bool) -> tuple[Recipe, float]:
        """The recipe of the larger image that crops, or all other warps, are cut from, and how many times it is enlarged."""
        if not crops and self.border != "crop":
            return recipe, 1.0
        chosen: list[tuple[Warp, float]] = [(warp, amount) for warp, amount in plan.views if (warp == "crop_shift") == crops]
        margin = max((warp_margin(one, amount, recipe.size) for one, amount in chosen), default=0)
        size = (recipe.size[0] + 2 * margin, recipe.size[1] + 2 * margin)
        enlarged = recipe.crop * min(size[0] / recipe.size[0], size[1] / recipe.size[1])
        return replace(recipe, size=size, crop=min(1.0, enlarged)), max(1.0, enlarged)

    def _rows(self, specimen: Specimen, images: Images, plan: WarpPlan, pace: Pace, run: str) -> Rows:
        """One row for each image: what every view did to every layer; kept while unfinished."""
        rows = Rows()

        borders: tuple[tuple[bool, Border], ...] = ((False, self.border), (True, "crop"))

        def visit(batch: Batch) -> None:
            for part in np.array_split(np.arange(len(batch.index)), -(-len(batch.index) // WARP_CHUNK)):
                seen = ViewRunner(specimen, plan, len(part))
                for crops, border in borders:
                    views = [place for place, (warp, _) in enumerate(plan.views) if (warp == "crop_shift") == crops]
                    if views:
                        recipe, _ = self._larger(specimen.recipe, plan, crops)
                        pixels = torch.from_numpy(images.pixels(recipe, batch.index[part])).to(specimen.device)
                        seen.look(recipe.normalise(pixels), views, border, crops)
                rows.add(batch.index[part], seen.columns(batch.index[part]))

        what = f"{specimen.name.removesuffix(' (untrained twin)')}: {run}"
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def _apart(self, specimen: Specimen, images: Images, plan: WarpPlan) -> np.ndarray[Any, Any]:
        """Mean distance (image, layer) of every unmoved image to the others."""
        crops = all(warp == "crop_shift" for warp, _ in plan.views)
        recipe, _ = self._larger(specimen.recipe, plan, crops)
        return distances_between(specimen, plan, images, recipe, "crop" if crops else self.border)

    def _example_images(self, specimen: Specimen, images: Images, plan: WarpPlan) -> dict[str, xr.DataArray]:
        """The first image under some amounts of every warp, and a few images under those that they are followed through."""
        first: list[Any] = []
        found: dict[str, xr.DataArray] = {}
        for warp in plan.amounts:
            crops = warp == "crop_shift"
            larger, _ = self._larger(specimen.recipe, plan, crops)
            some = example_indices(len(images)) if warp in followed_warps(plan) else [0]
            tiles = thumbnails(plan, specimen.recipe, larger, images, warp, "crop" if crops else self.border, some)
            first.append(tiles[0])
            if warp in followed_warps(plan):
                told = {"image": [images.names[one] for one in some], "amount": shown_amounts(plan, warp)}
                found[f"pictures/{warp}"] = array(tiles, ("image", "amount", "row", "col", "rgb"), "8-bit grey levels", told)
        told = {"warp": list(plan.amounts)}
        return found | {"picture": array(np.stack(first), ("warp", "amount", "row", "col", "rgb"), "8-bit grey levels", told)}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        deepest = max(finding["change"].sizes["layer"] - 2, 0)  # the last layer before the output
        change, twin = finding["change"].values[:, deepest], finding["twin_change"].values[:, deepest]
        layer, warps = str(finding["change"].layer.values[deepest]), finding["change"].warp.values
        numbers: list[KeyNumber] = []
        if "consistency" in finding:
            value, low, high, twin_value = (
                float(finding[name].values[0])
                for name in ("consistency", "consistency_low", "consistency_high", "twin_consistency")
            )
            at = f"shifts up to {float(finding['small'].values[0]):g} px"
            numbers.append(KeyNumber(name="shift consistency", value=value, low=low, high=high, has_interval=True, unit=FRACTION,
                                     baseline=twin_value, better="higher", at=at))  # fmt: skip
        known = np.flatnonzero(np.isfinite(change))
        for name, index in (("largest change", np.argmax), ("smallest change", np.argmin)):
            place = int(known[index(change[known])]) if len(known) else 0
            numbers.append(KeyNumber(name=name, value=float(change[place]), unit=FRACTION, baseline=float(twin[place]), better="lower",
                                     at=f"{layer}, {_warp_text(str(warps[place]))}"))  # fmt: skip
        if lowest := _lowest_probability(finding):
            numbers.append(lowest)
        return numbers

    def headline(self, finding: Finding) -> str:
        largest = finding.key("largest change")
        if not np.isfinite(largest.value):
            layer = largest.at.split(", ")[0]
            count = int(finding.facts["images"])
            if count == 1:
                return f"With one image nothing can be compared: distances at {layer} are in units of those between images."
            return f"{layer} gives these {count} images the same features, so nothing can be compared."
        layer, warp = largest.at.split(", ")
        change, twin = largest.text, largest.baseline_text
        return f"{warp.capitalize()} moves {layer} most: {change} of the distance between images (untrained twin {twin})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        note = "0: no change; 100%: as far apart as two different images. Mean over the amounts of each warp."
        panels: list[Panel] = [
            Curve(title="Change of each layer", y=("change",), x="layer", by="warp", note=note),
            Curve(title="Change of the untrained twin", y=("twin_change",), x="layer", by="warp", note=note),
            Grid(title="The first image, warped", z="picture", across="amount", down="warp", each=False,
                 note=f"From the smallest to the largest amount; border: {BORDERS[finding.options['border']]}."),
        ]  # fmt: skip
        panels += image_panels(finding)
        for warp in map(str, finding["change"].warp.values):
            panels += _warp_panels(finding, warp)
        if "pooled" in finding:
            panels += [
                Bars(title="Strides: means of the units", y=("pooled",), x="layer", by="measure", null=("twin_pooled",),
                     question="repair", note="Row shifts. A larger change for half a stride than for a whole one is aliasing."),
                Bars(title="Strides: maps", y=("equivariance",), x="layer", by="measure",
                     null=("twin_equivariance",), note="Distance to the original maps shifted as far; 0 is equivariant."),
            ]  # fmt: skip
        if "consistency" in finding:
            columns = ("consistency", "consistency_low", "consistency_high", "twin_consistency", "small")
            panels.append(Table(title="Shift consistency", rows="warp", columns=columns, note=_distinct_predictions(finding)))
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            f"The border is {BORDERS[finding.options['border']]}; what enters there changes the features as well.",
            "Scaling, rotations and fractional-pixel shifts are bilinear, which blurs; that is part of the distance.",
            "Means over amounts depend on the amounts: compare networks on the same ones.",
            "For half a stride, equivariance is measured against linearly interpolated maps, which no feature map follows exactly.",
        ]
        for name, factor in finding.facts["enlarged"].items():
            what = "crops" if name == "crop" else "all other warps"
            lines.append(f"To make room for {what}, the image was enlarged {factor:.2f} times: only its middle is visible.")
        if (held := finding.facts["references"]) < finding.facts["images"]:
            lines.append(
                f"The distance between images is that of each to {held} of them, chosen by content: all do not fit into memory."
            )
        if (note := _distinct_predictions(finding)) and "consistency" in finding:
            lines.append(note)
        lines.append("More accurate networks are also more consistent (Zhang 2019): compare those of similar accuracy.")
        if "consistency" not in finding:
            lines.append("The network gives no class scores, so only distances are reported.")
        if finding.trained is False:
            lines.append("These weights are untrained.")
        return lines


def _warp_panels(finding: Finding, warp: str) -> list[Panel]:
    """Distance, and probability of the class, over the amounts of one warp."""
    if warp == "flip":
        return [Bars(title="Distance by flip", y=("distance/flip",), x="layer", by="amount", null=("twin_distance/flip",))]
    unit = WARPS[cast(Warp, warp)][0]
    panels: list[Panel] = [
        Curve(title=f"Distance by {_warp_text(warp)}", note=f"Amount: {unit}.", y=(f"distance/{warp}",), x="amount", by="layer")
    ]
    if f"probability/{warp}" in finding:
        panels.append(
            Curve(
                title=f"Probability by {_warp_text(warp)}", note=f"Of {finding.facts['class']}; amount: {unit}.", x="amount",
                y=(f"probability/{warp}",), low=f"probability_low/{warp}", high=f"probability_high/{warp}",
            )
        )  # fmt: skip
    return panels


def _lowest_probability(finding: Finding) -> KeyNumber | None:
    """The lowest mean probability of the class under any warp, beside that of the unwarped images; None where none is known."""
    curves = {name.split("/")[1]: curve for name, curve in finding.arrays.items() if name.startswith("probability/")}
    curves = {warp: curve for warp, curve in curves.items() if np.isfinite(curve.values).all()}
    if not curves:
        return None
    warp = min(curves, key=lambda name: float(curves[name].min()))
    values, amounts = curves[warp].values, curves[warp].amount.values
    unwarped = values[list(finding["amount_value"].sel(warp=warp).values).index(identity_amount(warp))]
    unit = "" if warp == "flip" else WARPS[cast(Warp, warp)][0].split()[0]
    return KeyNumber(
        name="lowest probability", value=float(values.min()), baseline=float(unwarped), baseline_name="unwarped", better="higher",
        at=f"{_warp_text(warp)} {_amount_text(amounts[values.argmin()])} {unit}".rstrip(),
    )  # fmt: skip


def _unique_warps(warps: Sequence[Warp]) -> list[Warp]:
    return [warp for place, warp in enumerate(warps) if warp not in warps[:place]]


def _warp_text(warp: str) -> str:
    return warp.replace("_", " ")


def _amount_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _distinct_predictions(finding: Finding) -> str:
    if "answers" not in finding:
        return ""
    own, twin = (int(value) for value in finding["answers"].values)
    return (
        f"The network predicts {plural(own, 'different class', 'different classes')}, the untrained twin {twin}: "
        "a network that always predicts one class is consistent."
    )
