"""Dilated convolutions: taps on the map, fields of view, and suggested rates.

Each dilated convolution is listed with the side M of the map it reads, its rate over that side, the fraction of its taps that lie
on the map (counted over all positions, from kernel, stride and padding), the positions that have all taps there, taps
that never read anything, and its field of view, alone and with the layers before it. Branches that read the same map in parallel
(atrous spatial pyramid pooling, ASPP) are identified by what they read, not by name. The suggested rates are a rule of ours: from the
middle the outermost tap of the largest rate reaches the border and no further, r_max = floor((M - 1) / 2), and n branches share it
evenly, r_max · (1/n, …, 1); for other dilated convolutions only a rate above r_max is reported. At 513 px and an output stride of
16 that gives 5, 11, 16, where DeepLab has 6, 12, 18.

All this is design: the untrained twin has the same. The effect of training is measured on generated scenes: the gradient of the middle
position of the joined branches by each position of the map they read. By design that is a star, the middle and eight points for each
rate, over an even floor if a pooling branch covers the whole map; the fraction on the star is compared with the floor and the twin.

Source: Chen et al. 2017, arXiv:1706.05587, sec. 3.3 (taps beyond the map); Kim et al. 2023, arXiv:2307.14179, propose rates that
follow the size of the image; their formula is not known to us, and counts, star and rule here are ours.
"""

from collections.abc import Sequence
from math import isnan
from typing import Any, ClassVar, Literal, final

import numpy as np
from torch import Tensor

from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import SpecimenError, Unmeasurable, hint, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.dilated.branches import BranchGroup, branch_groups, suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv, dilated_convolutions, is_dilated, with_image_size
from microtome.instruments.dilated.star import star_gradient, star_mask
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.receptive.dilations import DilationMode, StarMass, dilate_mask, star_mass
from microtome.numerics.receptive.effective import sum_gradients
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Workload

AXES = ["row", "col"]
MAX_STARS = 3  # figures, of networks with many groups of branches
MIN_SCENE = 8  # px
OUTLINE = 6  # px for each position of the star's outline


@final
class Atrous(Analysis):
    """Valid taps, dead branches, fields of view, suggested rates, and the star of parallel branches."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Atrous rates"
    rank: ClassVar[int] = 33
    revision: ClassVar[int] = 4  # 4: which images its twins see rests on their contents

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
        return Workload(backward=4.0 * self.count, seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        specimen = with_image_size(specimen, self.size, self.name())
        every = DilationMode()
        convolutions = dilated_convolutions(specimen, every)
        groups = branch_groups(specimen, convolutions)
        arrays = _branch_arrays(convolutions, groups)
        arrays["picture"] = array(np.array(specimen.recipe.size), ("axis",), "px", {"axis": AXES}, "image side")
        if groups:
            arrays |= self._star_arrays_by_group(specimen, groups, pace)
        return Measurement(arrays, {"not_listed": max(0, every.count - len(convolutions)), "scenes": self.count})

    def _star_arrays_by_group(self, specimen: Specimen, groups: Sequence[BranchGroup], pace: Pace) -> dict[str, Any]:
        """The field of each group's middle position, of the network and of its untrained twin, against the star."""
        rows, cols = (max(MIN_SCENE, side) for side in specimen.recipe.size)
        scenes = Images.scenes(self.count, seed=self.seed, size=(rows, cols))
        twin = specimen.working_twin(scenes)
        specimens = {"specimen": ["trained" if specimen.trained else "this network", "untrained twin"]}
        parts = {"part": [group.title for group in groups]}
        arrays: dict[str, Any] = {}
        by_group: list[list[StarMass]] = []
        stars = [star_mask(group) for group in groups]
        for group, shape in zip(groups, stars, strict=True):
            fields = [self._star_field(each, group, scenes, pace) for each in (specimen, twin)]
            arrays |= _overlay_arrays(group.title, np.stack(fields), shape, specimens)
            by_group.append([star_mass(field, shape) for field in fields])
        masses = np.array(by_group)
        for index, title in enumerate(("on the star", "even floor", "on the star above the floor")):
            name = ("on_star", "floor", "above")[index]
            arrays[name] = array(masses[:, :, index], ("part", "specimen"), "fraction of the field", parts | specimens, title)
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
            star = [KeyNumber(name="gradient on the star", value=own, unit=FRACTION, baseline=twin, at=title)]
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
        rate, side = _pair_text(finding["rate"].values[index]), _pair_text(finding["side"].values[index], " x ")
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
            "Rates, taps and fields of view are design: the untrained twin has the same.",
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
    if missing := [str(part) for part in on_star.coords["part"].values if not on_star.sel(part=part).notnull().all()]:
        lines.append(
            f"No gradient reaches the map from {', '.join(missing)}, of the network or its twin: no star is given there."
        )
    return lines


def _largest(finding: Finding) -> int:
    """The index of the dilated convolution with the largest rate for its map, of the first group of branches if there is one."""
    ratio = finding["ratio"].values.copy()
    if "points" in finding:
        ratio[finding["group"].values != str(finding["points"].coords["part"].values[0])] = -1
    return int(ratio.argmax())


def _branch_arrays(convolutions: Sequence[DilatedConv], groups: Sequence[BranchGroup]) -> dict[str, Any]:
    """The columns of each dilated convolution, from shapes alconv."""
    group = {conv.name: each.title for each in groups for conv in each.members}
    best = suggested_rates(convolutions, groups)
    names = {"branch": [conv.name for conv in convolutions]}
    both = names | {"axis": AXES}

    def each(values: Sequence[Any], unit: str, title: str) -> Any:
        texts = unit == "text"
        return array(np.array(values, dtype=object if texts else None), ("branch",), unit, names, title)

    def pairs(values: Sequence[Any], unit: str, title: str) -> Any:
        return array(np.array(values), ("branch", "axis"), unit, both, title)

    return {
        "valid": each([conv.valid for conv in convolutions], "fraction of taps", "taps on the map"),
        "whole": each([conv.whole for conv in convolutions], "fraction of positions", "positions with all taps"),
        "alive": each([conv.alive for conv in convolutions], "fraction of taps", "taps that ever read"),
        "dead": each([bool(conv.dead) for conv in convolutions], "yes or no", "one tap along an axis"),
        "ratio": each([conv.ratio for conv in convolutions], "1", "rate / side"),
        "suggested": each([best[conv.name] for conv in convolutions], "positions", "suggested"),
        "most": each([conv.most for conv in convolutions], "positions", "r_max"),
        "group": each([group.get(conv.name, "") for conv in convolutions], "text", "parallel branches of"),
        "rate": pairs([conv.rate for conv in convolutions], "positions", "rate"),
        "kernel": pairs([conv.kernel for conv in convolutions], "taps", "kernel"),
        "side": pairs([conv.side for conv in convolutions], "positions", "side"),
        "jump": pairs([conv.jump for conv in convolutions], "px", "output stride"),
        "view": pairs([conv.view for conv in convolutions], "positions", "field of view"),
        "view_px": pairs([np.multiply(conv.view, conv.jump) for conv in convolutions], "px", "field of view"),
        "seen": pairs([conv.field_of_view for conv in convolutions], "px", "with the layers before"),
        "reads": each(
            [f"{_pair_text(conv.kernel, ' x ')} at rate {_pair_text(conv.rate)}" for conv in convolutions], "text", "kernel"
        ),
        "map": each(
            [f"{_pair_text(conv.side, ' x ')} positions, stride {_pair_text(conv.jump)} px" for conv in convolutions],
            "text",
            "map",
        ),
        "sees": each(
            [
                f"{_pair_text(conv.view)} positions, {_pair_text(np.multiply(conv.view, conv.jump))} px; "
                f"{_pair_text(conv.field_of_view)} px in all"
                for conv in convolutions
            ],
            "text",
            "field of view",
        ),
        "remark": each([_remark(conv, group.get(conv.name, "")) for conv in convolutions], "text", "remark"),
    }


def _remark(conv: DilatedConv, group: str) -> str:
    remarks = [f"branch of {group}"] if group else []
    if conv.readings is None:
        remarks.append("padding not known")
    elif conv.dead:
        axes = "" if len(conv.dead) == len(conv.axes) else " along rows" if conv.dead == (0,) else " along columns"
        remarks.append(f"dead: one tap{axes} remains")
    elif conv.whole == 0:
        remarks.append("no position has all taps on the map")
    if conv.edges != "zeros" and conv.before != (0, 0):
        remarks.append(f"beyond the map it reads {conv.edges} padding")
    return "; ".join(remarks)


def _overlay_arrays(
    title: str, fields: np.ndarray[Any, Any], shape: np.ndarray[Any, Any], specimens: dict[str, list[str]]
) -> dict[str, Any]:
    """Both fields and their square roots, the star as an image and as an outline."""
    totals = fields.sum((1, 2), keepdims=True)
    relative = np.divide(fields, totals, out=np.zeros_like(fields), where=totals > 0)
    image = {"image": [title]}
    dims = ("image", "specimen", "row", "col")
    base = np.where(shape[..., None], 200, 60).repeat(3, -1).astype(np.uint8)[None]
    wide = max(shape.shape) // 32  # on large maps, so that the field is visible inside the outline
    outline = np.kron(dilate_mask(shape, wide), np.ones((OUTLINE, OUTLINE), dtype=bool))[None]
    return {
        f"field/{title}": array(relative.astype(np.float32)[None], dims, "fraction of the sum", image | specimens),
        f"shown/{title}": array(
            np.sqrt(relative).astype(np.float32)[None], dims, "square root of the fraction", image | specimens
        ),
        f"base/{title}": array(base, ("image", "row", "col", "rgb"), "colour", image),
        f"star/{title}": array(outline, ("image", "row", "col"), "yes or no", image, "star of taps"),
    }


def _pair_text(pair: Any, always: str = "") -> str:
    """Rows and columns as one number where they are equal, unless `always` is the separator to use."""
    rows, cols = ("?" if np.isnan(value) else "all" if np.isinf(value) else f"{value:.4g}" for value in pair)
    return rows if rows == cols and not always else f"{rows}{always or ' x '}{cols}"
