"""Dilated convolutions: taps on the map, fields of view, and suggested rates.

Each dilated convolution is listed with the side M of the map it reads, its rate over that side, the fraction of its taps that lie
on the map (counted over all positions, from kernel, stride and padding), the positions that have all taps there, taps
that never read anything, and its field of view, alone and with the layers before it. Branches that read the same map in parallel
(atrous spatial pyramid pooling, ASPP) are identified by what they read, not by name. The suggested rates are a rule of ours: from the
middle the outermost tap of the largest rate reaches the border and no further, r_max = floor((M - 1) / 2), and n branches share it
evenly, r_max · (1/n, …, 1); for other dilated convolutions only a rate above r_max is reported. At 513 px and an output stride of
16 that gives 5, 11, 16, where DeepLab has 6, 12, 18.

All this is design: an untrained twin has the same. The effect of training is measured on generated scenes: the gradient of the middle
position of the joined branches by each position of the map they read. By design that is a star, the middle and eight points for each
rate, over an even floor if a pooling branch covers the whole map; the fraction on the star is compared with the floor and with untrained
twins, each of which is shown a part of the scenes.

Source: Chen et al. 2017, arXiv:1706.05587, sec. 3.3 (taps beyond the map); Kim et al. 2023, arXiv:2307.14179, propose rates that
follow the size of the image; their formula is not known to us, and counts, star and rule here are ours.
"""

from collections.abc import Sequence
from math import isnan
from typing import Any, ClassVar, Literal, final

import numpy as np
from torch import Tensor

from microtome.analyses.atrous.arrays import AXES, branch_arrays, overlay_arrays, pair_text, relative_field
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import SpecimenError, Unmeasurable, hint, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.dilated.branches import BranchGroup, branch_groups
from microtome.instruments.dilated.convolutions import dilated_convolutions, is_dilated, with_image_size
from microtome.instruments.dilated.star import star_gradient, star_mask
from microtome.instruments.untrained_twins import TWINS, turn_count, twins_in_turn, twins_text
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.receptive.dilations import DilationMode, StarMass, star_mass
from microtome.numerics.receptive.effective import sum_gradients
from microtome.numerics.statistics.twins import TwinRange, twin_range
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Workload

MAX_STARS = 3  # figures, of networks with many groups of branches
MIN_SCENE = 8  # px


@final
class Atrous(Analysis):
    """Valid taps, dead branches, fields of view, suggested rates, and the star of parallel branches."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Atrous rates"
    rank: ClassVar[int] = 33
    revision: ClassVar[int] = 5  # 5: several untrained twins
    with_twin: ClassVar[bool] = True

    size: int = option(0, "image side, px; 0: the size of the recipe", low=0, high=8192)
    rule: Literal["relu", "abs", "square"] = option("abs", "rule by which gradients of different sign are summed")
    count: int = option(8, "number of generated scenes for the star", low=1, high=10000, quick=2, full=32)
    seed: int = option(0, "seed of the scenes", low=0, high=1000000)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        try:
            calls = specimen.anatomy.trace.calls
        except SpecimenError as error:
            return str(error)
        return "" if any(is_dilated(call) for call in calls) else "none of its convolutions is dilated"

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(backward=4.0 * self.count, twins=min(specimen.twin_count, self.count), seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        specimen = with_image_size(specimen, self.size, self.name())
        every = DilationMode()
        convolutions = dilated_convolutions(specimen, every)
        groups = branch_groups(specimen, convolutions)
        arrays = branch_arrays(convolutions, groups)
        arrays["picture"] = array(np.array(specimen.recipe.size), ("axis",), "px", {"axis": AXES}, "image side")
        if groups:
            arrays |= self._star_arrays_by_group(specimen, groups, pace)
        return Measurement(
            arrays,
            {
                "not_listed": max(0, every.count - len(convolutions)),
                "scenes": self.count,
                "twins": turn_count(specimen, self.count),
            },
        )

    def _star_arrays_by_group(self, specimen: Specimen, groups: Sequence[BranchGroup], pace: Pace) -> dict[str, Any]:
        """The field of each group's middle position, of the network and of its untrained twins, against the star."""
        rows, cols = (max(MIN_SCENE, side) for side in specimen.recipe.size)
        scenes = Images.scenes(self.count, seed=self.seed, size=(rows, cols))
        twins = list(twins_in_turn(specimen, scenes, self.count))
        specimens = {"specimen": ["trained" if specimen.trained else "this network", TWINS]}
        parts = {"part": [group.title for group in groups]}
        arrays: dict[str, Any] = {}
        by_group: list[list[StarMass]] = []
        on_star: list[TwinRange] = []
        stars = [star_mask(group) for group in groups]
        for group, shape in zip(groups, stars, strict=True):
            own = self._star_field(specimen, group, scenes, pace)
            null = [self._star_field(twin, group, scenes.take(turn), pace) for _, twin, turn in twins]
            masses_of_twins = np.array([star_mass(field, shape) for field in null] or [[np.nan] * len(StarMass._fields)])
            twin_field = np.mean([relative_field(field) for field in null] or [np.full_like(own, np.nan)], axis=0)
            arrays |= overlay_arrays(group.title, np.stack([relative_field(own), twin_field]), shape, specimens)
            by_group.append([star_mass(own, shape), StarMass(*(float(each) for each in twin_range(masses_of_twins).mean))])
            on_star.append(twin_range(masses_of_twins[:, 0]))
        masses = np.array(by_group)
        for index, title in enumerate(("on the star", "even floor", "on the star above the floor")):
            name = ("on_star", "floor", "above")[index]
            arrays[name] = array(masses[:, :, index], ("part", "specimen"), "fraction of the field", parts | specimens, title)
        for end in ("low", "high"):
            ends = [float(getattr(each, end)) for each in on_star]
            arrays[f"twin_on_star_{end}"] = array(
                ends, ("part",), "fraction of the field", parts, f"{end} of the untrained twins"
            )
        arrays["points"] = array([int(shape.sum()) for shape in stars], ("part",), "positions", parts, "points of the star")
        even = [float(shape.mean()) for shape in stars]
        arrays["even"] = array(even, ("part",), "fraction of the map", parts, "star of an even field")
        return arrays

    def _star_field(self, specimen: Specimen, group: BranchGroup, scenes: Images, pace: Pace) -> np.ndarray[Any, Any]:
        """The gradient of the middle position by the map that the branches read, summed over units and images, (row, col)."""
        total: Tensor | None = None
        for batch in batches(specimen, scenes, pace):
            slope = star_gradient(specimen, group, batch.x)
            new = sum_gradients(slope.flatten(0, 1)[:, None], self.rule).cpu()  # each unit by itself, as an image of one colour
            total = new if total is None else total + new
            pace.listener(Step(f"{specimen.name}: {group.title}", int(batch.index[-1]) + 1, len(scenes), 0.0))
        assert total is not None  # there is one scene at least
        field = total.numpy()
        if not np.isfinite(field).all():
            raise Unmeasurable(
                f"atrous: the gradient of {group.title} of {specimen.name} is not finite; some of its weights or values are NaN or "
                f"infinite. See which: {weights_hint(specimen.name)}"
            )
        return field

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        index = _largest(finding)
        at = str(finding["valid"].coords["branch"].values[index])
        star: list[KeyNumber] = []
        if "points" in finding:
            own, twin = (float(value) for value in finding["on_star"].values[0])
            title = str(finding["points"].coords["part"].values[0])
            star = [
                KeyNumber(
                    name="gradient on the star",
                    value=own,
                    unit=FRACTION,
                    baseline=twin,
                    at=title,
                    baseline_name=twins_text(finding.facts["twins"]),
                )
            ]
        return [
            KeyNumber(name="taps on the map", value=float(finding["valid"][index]), unit=FRACTION, better="higher", at=at),
            KeyNumber(name="rate over map side", value=float(finding["ratio"][index]), at=at),
            KeyNumber(name="suggested rate", value=float(finding["suggested"][index]), at=at),
            *star,
            KeyNumber(name="convolutions with dead taps", value=int(finding["dead"].sum()), better="lower"),
            KeyNumber(name="dilated convolutions", value=finding["valid"].sizes["branch"]),
        ]

    def headline(self, finding: Finding) -> str:
        index = _largest(finding)
        taps, suggestion = finding.key("taps on the map"), finding.key("suggested rate").text
        rate, side = pair_text(finding["rate"].values[index]), pair_text(finding["side"].values[index], " x ")
        if isnan(taps.value):
            return f"{taps.at} has rate {rate} on a {side} map; suggested rate {suggestion}."
        return f"{taps.at} at rate {rate} has {taps.text} of its taps on the {side} map; suggested rate {suggestion}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        names = [name.partition("/")[2] for name in finding.arrays if name.startswith("shown/")]
        shown: list[Panel] = [
            Overlay(
                title=f"Field of the middle position of {name}", base=f"base/{name}", heat=f"shown/{name}", across="specimen",
                mask=f"star/{name}",
                note="On the map that the branches read: left the star of their taps; then the square root of the field, the star "
                "outlined.",
            )
            for name in names[:MAX_STARS]
        ]  # fmt: skip
        note = "Over all positions: taps that lie on the map, and positions that have all of them there."
        shown.append(Bars(title="Taps on the map", y=("valid", "whole"), x="branch", note=note))
        columns = ("reads", "map", "ratio", "valid", "whole", "alive", "sees", "suggested", "remark")
        shown.append(Table(title="All dilated convolutions", rows="branch", columns=columns))
        if names:
            columns = ("points", "even", "on_star", "floor", "above")
            shown.append(Table(title="Parallel branches: star and floor", rows="part", columns=columns))
        return shown

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            "Rates, taps and fields of view are design: an untrained twin has the same.",
            "The suggested rates are a rule of ours, r_max = floor((M - 1) / 2), shared evenly; they promise no higher accuracy.",
            "Other rates are other functions: train the network after changing them "
            + hint("(microtome edit … atrous_rates).", "(mt.edits.atrous_rates)."),
        ]
        if "points" in finding:
            lines += _star_caveats(finding)
        if (finding["group"].values == "").any():
            lines.append(
                "Dilated convolutions that are no parallel branches usually replace a stride, which sets their rate; do not exceed "
                "r_max there."
            )
        if not np.isfinite(finding["valid"].values).all():
            lines.append("The padding of some convolutions depends on more than their options, so their taps are not counted.")
        if missing := finding.facts["not_listed"]:
            lines.append(
                f"Not listed: {plural(missing, 'dilated convolution')} (called as functions, transposed or not two-dimensional)."
            )
        return lines


def _star_caveats(finding: Finding) -> list[str]:
    lines = [
        f"The star is measured on {plural(finding.facts['scenes'], 'generated scene')}, at the map that the branches read; for your "
        "images use " + hint("microtome erf SPECIMEN photos/ --at LAYER.", "mt.analyses.erf.Erf(at=LAYER)."),
        "Gradient off the star comes through pooling or other convolutions between that map and the joined branches.",
    ]
    on_star = finding["on_star"]
    measured = on_star if finding.facts["twins"] else on_star.isel(specimen=[0])
    if missing := [str(part) for part in on_star.coords["part"].values if not measured.sel(part=part).notnull().all()]:
        lines.append(
            f"No gradient reaches the map from {', '.join(missing)}, of the network or its twins: no star is given there."
        )
    return lines


def _largest(finding: Finding) -> int:
    """The index of the dilated convolution with the largest rate for its map, of the first group of branches if there is one."""
    ratio = finding["ratio"].values.copy()
    if "points" in finding:
        ratio[finding["group"].values != str(finding["points"].coords["part"].values[0])] = -1
    return int(ratio.argmax())
