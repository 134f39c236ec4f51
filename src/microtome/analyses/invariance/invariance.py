"""How far features move when the image is shifted, scaled, rotated, flipped or re-cropped.

For every layer ‖f(x) - f(Tx)‖ / ‖f(x)‖, and the probability of the true class, over the amounts of each warp. A random network hardly
separates any two images and so looks invariant to everything; the distance is therefore also given as a fraction of the distance
between different images, over all pairs (of each image to as many others as 256 MB of features hold, where there are more), beside that of
untrained twins, each of which is shown a part of the images. Small shifts measure how often the predicted class stays (shift consistency)
and what strides do to the maps: shifted by a whole stride they should move by one position; shifted by half a stride, the means of
the units should not change more than that.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1 and fig. 5 (its ranges and border are not given; ours are options); shift
consistency and strides, Zhang 2019, arXiv:1904.11486, sec. 4. Division by norms and by the distance between images is ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr

from microtome.analyses.invariance.examples import example_arrays, example_indices, followed_warps, shown_amounts, thumbnails
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
from microtome.analyses.invariance.summary import answer_arrays, stride_arrays, warp_distance_arrays
from microtome.analyses.invariance.views import (
    WARP_CHUNK,
    TwinViews,
    UnmovedImages,
    ViewRunner,
    compare_unmoved,
    join_rows,
    reference_count,
)
from microtome.analyses.invariance.warps import WARPS, Border, Warp, warp_margin
from microtome.analyses.invariance.wording import list_panels, warp_caveats, warp_headline, warp_key_numbers
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import cell_positions
from microtome.instruments.layer_choice import reasons_not_measured
from microtome.instruments.untrained_twins import turn_count, twins_in_turn
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel, Question
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Recipe, Specimen
from microtome.tally import Rows
from microtome.workload import Workload

OPTIONS = {"row_shift": "shifts", "col_shift": "shifts", "crop_shift": "crops", "scale": "scales", "rotation": "rotations"}


@final
class Invariance(Analysis):
    """Distances of every layer and the probability of the true class under warps."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Invariance"
    rank: ClassVar[int] = 37
    revision: ClassVar[int] = 8  # 8: several untrained twins
    with_twin: ClassVar[bool] = True

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
        4, "images measured, of each class in proportion, chosen by content", low=1, high=100_000, quick=2, full=16
    )

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        views = sum(len(self._amounts(warp, specimen.recipe)) for warp in self.warps) + 9.0  # and shifts by strides
        twins = min(specimen.twin_count, shown)
        own_and_twin = 2.0 if twins else 1.0  # every image is shown to one twin
        return Workload(forward=own_and_twin * views * shown + twins * shown, twins=twins)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        chosen = images.sample(self.count)
        taken = images.take(
            [place for place in images.content_order() if place in chosen]
        )  # draws and examples do not hang on names
        plan = self._plan(specimen, taken)
        rows = self._rows(specimen, taken, plan, pace, "warps")
        twins = self._twins(specimen, images, taken, plan, pace)
        runs, apart = {"": rows, "twin_": twins.rows or rows}, {"": self._apart(specimen, taken, plan).distance}
        apart["twin_"] = twins.apart if twins.rows else apart[""]
        count = turn_count(specimen, len(taken))
        arrays = warp_distance_arrays(plan, runs, apart, count) | answer_arrays(plan, runs, count, twins.answers)
        arrays |= stride_arrays(plan, runs) | example_arrays(plan, rows, taken) | self._example_images(specimen, taken, plan)
        larger = {name: self._larger(specimen.recipe, plan, crops)[1] for name, crops in (("border", False), ("crop", True))}
        facts = {
            "images": len(taken),
            "references": min(len(taken), reference_count(specimen, plan)),
            "class": plan.description,
            "enlarged": {name: factor for name, factor in larger.items() if factor > 1},
            "unmeasured": reasons_not_measured(specimen, self._layer_patterns(specimen), plan.names),
            "twins": count,
        }
        discard_tally(pace, self._key(specimen, taken, "warps"))
        return Measurement(arrays, facts)

    def _twins(self, specimen: Specimen, images: Images, taken: Images, plan: WarpPlan, pace: Pace) -> TwinViews:
        """What every image's own untrained twin did, in the order of the images; the distances between images are over all of them."""
        parts: list[Rows] = []
        places: list[np.ndarray[Any, Any]] = []
        finished: list[tuple[Specimen, Images, str]] = []
        apart = np.full((len(taken), len(plan.names)), np.nan)
        answers = nan
        for number, twin, turn in twins_in_turn(specimen, images, len(taken)):
            shown, run = taken.take(turn), f"warps of untrained twin {number + 1}"
            parts.append(self._rows(twin, shown, replace(plan, target=np.full(len(turn), -1)), pace, run))
            places.append(turn)
            unmoved = self._apart(twin, taken, plan)
            apart[turn] = unmoved.distance[turn]
            answers = np.fmax(answers, unmoved.answers)  # without a warning where the network gives no class scores
            finished.append((twin, shown, run))
        for twin, shown, run in finished:
            discard_tally(pace, self._key(twin, shown, run))
        return TwinViews(join_rows(parts, places) if parts else None, apart, float(answers))

    def _plan(self, specimen: Specimen, images: Images) -> WarpPlan:
        names = [name for name in specimen.find(self._layer_patterns(specimen)) if is_comparable(specimen, name)]
        size = specimen.recipe.size
        amounts: dict[Warp, tuple[float, ...]] = {
            warp: with_identity(warp, self._amounts(warp, specimen.recipe)) for warp in _unique_warps(self.warps)
        }
        idle = next((warp for warp, some in amounts.items() if len(some) < 2), "warps" if not amounts else "")
        if idle:
            raise BadOption(f"invariance: option {OPTIONS.get(idle, idle)} names nothing that changes an image.")
        gridded = [name for name in names if specimen.layer(name).has_positions]
        x = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, [0])).to(specimen.device))
        where = cell_positions(specimen, gridded, x) if gridded else {}
        strides = [grid_stride(where.get(name), size[0]) for name in names]
        views: list[tuple[Warp, float]] = [
            (warp, amount) for warp, some in amounts.items() for amount in some if amount != WARPS[warp][1]
        ]
        aligned = sorted({shift for stride in strides if stride for shift in (1, stride // 2 or 1, stride)})
        for shift in aligned:
            views.append(("row_shift", float(shift)))
        target, description = target_outputs(specimen, images)
        return WarpPlan((*names, CLASS_SCORES), (*strides, 0), tuple(dict.fromkeys(views)), amounts, size, target, description)

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
        margin = max((warp_margin(warp, amount, recipe.size) for warp, amount in chosen), default=0)
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
                        pixels = torch.from_numpy(images.inputs(recipe, batch.index[part])).to(specimen.device)
                        seen.look(recipe.normalise(pixels), views, border, crops)
                rows.add(batch.index[part], seen.columns(batch.index[part]))

        what = f"{specimen.name.removesuffix(' (untrained twin)')}: {run}"
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def _apart(self, specimen: Specimen, images: Images, plan: WarpPlan) -> UnmovedImages:
        """Mean distance (image, layer) of every unmoved image to the others, and how many classes are predicted for them."""
        crops = all(warp == "crop_shift" for warp, _ in plan.views)
        recipe, _ = self._larger(specimen.recipe, plan, crops)
        return compare_unmoved(specimen, plan, images, recipe, "crop" if crops else self.border)

    def _example_images(self, specimen: Specimen, images: Images, plan: WarpPlan) -> dict[str, xr.DataArray]:
        """The first image under some amounts of every warp, and a few images under those that they are followed through."""
        first: list[Any] = []
        arrays: dict[str, xr.DataArray] = {}
        for warp in plan.amounts:
            crops = warp == "crop_shift"
            larger, _ = self._larger(specimen.recipe, plan, crops)
            some = example_indices(len(images)) if warp in followed_warps(plan) else [0]
            tiles = thumbnails(plan, specimen.recipe, larger, images, warp, "crop" if crops else self.border, some)
            first.append(tiles[0])
            if warp in followed_warps(plan):
                coords = {"image": [images.names[place] for place in some], "amount": shown_amounts(plan, warp)}
                arrays[f"pictures/{warp}"] = array(tiles, ("image", "amount", "row", "col", "rgb"), "8-bit grey levels", coords)
        warps = {"warp": list(plan.amounts)}
        return arrays | {"picture": array(np.stack(first), ("warp", "amount", "row", "col", "rgb"), "8-bit grey levels", warps)}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return warp_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return warp_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return list_panels(finding)

    def caveats(self, finding: Finding) -> Sequence[str]:
        return warp_caveats(finding)


def _unique_warps(warps: Sequence[Warp]) -> list[Warp]:
    return [warp for place, warp in enumerate(warps) if warp not in warps[:place]]
