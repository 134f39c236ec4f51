"""Rates against the size of the map: for every dilated convolution what its taps still read, and which rates would reach the border.

Each dilated convolution is told at the picture's size with the side M of the map it reads, its rate over that side, the share of its
taps that lie on the map (counted over all positions, from kernel, stride and padding), the positions that have all taps there, taps
that never read anything, and its field of view, alone and behind the layers before it. Branches that read the same map side by side
(atrous spatial pyramid pooling, ASPP) are found by what they read, not by name. The suggested rates are a rule of ours: from the
middle the outermost tap of the largest rate reaches the border and no further, r_max = floor((M - 1) / 2), and n branches share it
evenly, r_max · (1/n, …, 1); other dilated convolutions are only told where they go beyond r_max. At 513 px and an output stride of
16 that gives 5, 11, 16, where DeepLab has 6, 12, 18.

All this is design: the untrained twin has the same. What training makes of it is measured on generated scenes: how much the middle
cell of the joined branches answers to each cell of the map they read. By design that is a star, the middle and eight points for each
rate, over an even floor if a pooling branch sees the whole map; the share of the star is set against the floor and the untrained twin.

Source: Chen et al. 2017, arXiv:1706.05587, sec. 3.3 (taps beyond the map); Kim et al. 2023, arXiv:2307.14179, say that rates should
follow the size of the picture; their formula is not known to us, and counts, star and rule here are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import SpecimenError, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.dilated.branches import Pyramid, pyramids, suggested
from microtome.instruments.dilated.convolutions import Dilated, dilated, is_dilated, resized
from microtome.instruments.dilated.star import answered, star
from microtome.numerics.receptive.dilations import Dilations, Mass, mass, widened
from microtome.numerics.receptive.effective import added
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen

AXES = ["row", "col"]
SHOWN = 3  # stars drawn, of networks with many groups of branches
SMALLEST = 8  # px of a scene
DRAWN = 6  # px for each cell of the star's outline


@final
class Atrous(Analysis):
    """Valid taps, dead branches, fields of view, suggested rates, and the star of parallel branches."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Atrous rates"
    revision: ClassVar[int] = 2  # 2: another reader of a map does not break up its branches; receptive fields

    size: int = option(0, "side of the picture in px; 0: what the network is made for", low=0, high=8192)
    rule: Literal["relu", "abs", "square"] = option("abs", "how gradients of different sign add up")
    count: int = option(8, "how many generated scenes the star is measured on", low=1, high=10000)
    seed: int = option(0, "which scenes", low=0, high=1000000)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        try:
            calls = specimen.anatomy.found.calls
        except SpecimenError as error:
            return str(error)
        return "" if any(is_dilated(call) for call in calls) else "none of its convolutions is dilated"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        specimen = resized(specimen, self.size, self.name())
        counted = Dilations()
        found = dilated(specimen, counted)
        groups = pyramids(specimen, found)
        arrays = _branches(found, groups)
        arrays |= {
            "picture": array(np.array(specimen.recipe.size), ("axis",), "px", {"axis": AXES}, "picture"),
            "missed": array(max(0, counted.count - len(found)), (), "convolutions", title="dilated, but not told"),
            "count": array(self.count, (), "images", title="generated scenes"),
        }
        if groups:
            arrays |= self._stars(specimen, groups, pace)
        return arrays

    def _stars(self, specimen: Specimen, groups: Sequence[Pyramid], pace: Pace) -> dict[str, Any]:
        """What each group's middle cell answers to, of the network and of its untrained twin, against the star."""
        rows, cols = (max(SMALLEST, side) for side in specimen.recipe.size)
        scenes = Images.scenes(self.count, seed=self.seed, size=(rows, cols))
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        drawn = {"specimen": ["trained" if specimen.trained else "this network", "untrained twin"]}
        parts = {"part": [group.title for group in groups]}
        arrays: dict[str, Any] = {}
        told: list[list[Mass]] = []
        stars = [star(group) for group in groups]
        for group, shape in zip(groups, stars, strict=True):
            fields = [self._field(one, group, scenes, pace) for one in (specimen, twin)]
            arrays |= _pictures(group.title, np.stack(fields), shape, drawn)
            told.append([mass(field, shape) for field in fields])
        held = np.array(told)
        for place, title in enumerate(("on the star", "even floor", "on the star above the floor")):
            name = ("on_star", "floor", "above")[place]
            arrays[name] = array(held[:, :, place], ("part", "specimen"), "share of the field", parts | drawn, title)
        arrays["points"] = array([int(one.sum()) for one in stars], ("part",), "cells", parts, "points of the star")
        arrays["even"] = array(
            [float(one.mean()) for one in stars], ("part",), "share of the map", parts, "star of an even field"
        )
        return arrays

    def _field(self, specimen: Specimen, group: Pyramid, scenes: Images, pace: Pace) -> np.ndarray[Any, Any]:
        """The gradient of the middle cell by the map that the branches read, units and images added up, (row, col)."""
        total: Tensor | None = None
        for batch in batches(specimen, scenes, pace):
            slope = answered(specimen, group, batch.x)
            new = added(slope.flatten(0, 1)[:, None], self.rule).cpu()  # each unit for itself, as a picture of one colour
            total = new if total is None else total + new
            pace.listener(Step(f"{specimen.name}: {group.title}", int(batch.index[-1]) + 1, len(scenes), 0.0))
        assert total is not None  # there is one scene at least
        field = total.numpy()
        if not np.isfinite(field).all():
            raise Unmeasurable(
                f"atrous: the gradient of {group.title} of {specimen.name} is not finite; some of its weights or values are NaN or "
                f"infinite. See which: microtome weights {specimen.name}"
            )
        return field

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        names = [name.partition("/")[2] for name in found if name.startswith("shown/")]
        shown: list[Panel] = [
            Overlay(
                title=f"What the middle cell of {name} answers to", base=f"base/{name}", heat=f"shown/{name}", across="specimen",
                mask=f"star/{name}",
                note="On the map that the branches read: left the star of their taps; then the root of the field, the star outlined.",
            )
            for name in names[:SHOWN]
        ]  # fmt: skip
        note = "Over all positions: taps that lie on the map, and positions that have all of them there."
        shown.append(Bars(title="How much of the kernel reads the map", y=("valid", "whole"), x="branch", note=note))
        columns = ("reads", "map", "ratio", "valid", "whole", "alive", "sees", "suggested", "remark")
        shown.append(Table(title="All dilated convolutions", rows="branch", columns=columns))
        if names:
            columns = ("points", "even", "on_star", "floor", "above")
            shown.append(Table(title="Parallel branches: the star and the floor", rows="part", columns=columns))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        names = [str(one) for one in found["valid"].coords["branch"].values]
        dead = int(found["dead"].sum())
        size = " x ".join(f"{side:.0f}" for side in found["picture"].values)
        lost = f"; dead along an axis: {dead} of all {len(names)} dilated convolutions" if dead else ""
        same = "design: the untrained twin has the same"
        if "points" not in found:
            worst = int(found["ratio"].values.argmax())
            return (
                f"{len(names)} dilated convolutions at {size} px, none side by side: {names[worst]} has the largest rate for its map, "
                f"{_rates(found, [worst])} on {_side(found, worst)} cells{_read(found, [worst])}{lost} ({same})."
            )
        title = str(found["points"].coords["part"].values[0])
        mine = [place for place, group in enumerate(found["group"].values) if str(group) == title]
        best = ", ".join(map(str, sorted({int(one) for one in found["suggested"].values[mine]})))
        first = f"{title}, first of {found['points'].size} groups" if found["points"].size > 1 else title
        return (
            f"{first}: branches at rates {_rates(found, mine)} on a map of {_side(found, mine[0])} cells ({size} px)"
            f"{_read(found, mine)}{lost}; rates that reach the border: {best} ({same}).{_star(found)}"
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        told = [
            "The suggested rates are a rule of ours, r_max = floor((M - 1) / 2), shared evenly. The published formula "
            "(arXiv:2307.14179) is not known to us, and that a network trained with these rates is more accurate is not promised.",
            "Other rates are other functions: a network whose rates are changed wants training (microtome edit … atrous_rates).",
        ]
        if "points" in found:
            told.append(
                f"The star is measured at the map that the branches read, on {int(found['count'])} generated scenes, not in your "
                "pictures: microtome erf SPECIMEN photos/ --at LAYER shows what the same layer answers to there. Every weight between "
                "that map and the joined branches counts; what lies off the star came through pooling or other convolutions."
            )
            silent = [
                str(one) for one in found["on_star"].coords["part"].values if not found["on_star"].sel(part=one).notnull().all()
            ]
            if silent:
                told.append(
                    f"No gradient leads from {', '.join(silent)} to the map, of the network or its twin: no star is told there."
                )
        if (found["group"].values == "").any():
            told.append(
                "Dilated convolutions that are no parallel branches usually stand for a stride that was taken out, which sets their "
                "rate; for them the suggestion is only not to exceed r_max."
            )
        if not np.isfinite(found["valid"].values).all():
            told.append("The padding of some convolutions depends on more than their options, so their taps are not counted.")
        if missed := int(found["missed"]):
            told.append(
                f"{missed} dilated convolutions run that are functions, transposed or not two-dimensional; they are not told."
            )
        return told


def _branches(found: Sequence[Dilated], groups: Sequence[Pyramid]) -> dict[str, Any]:
    """What is told of each dilated convolution, from shapes alone."""
    group = {one.name: each.title for each in groups for one in each.members}
    best = suggested(found, groups)
    names = {"branch": [one.name for one in found]}
    both = names | {"axis": AXES}

    def each(values: Sequence[Any], unit: str, title: str) -> Any:
        texts = unit == "text"
        return array(np.array(values, dtype=object if texts else None), ("branch",), unit, names, title)

    def pairs(values: Sequence[Any], unit: str, title: str) -> Any:
        return array(np.array(values), ("branch", "axis"), unit, both, title)

    return {
        "valid": each([one.valid for one in found], "share of taps", "taps on the map"),
        "whole": each([one.whole for one in found], "share of positions", "positions with all taps"),
        "alive": each([one.alive for one in found], "share of taps", "taps that ever read"),
        "dead": each([bool(one.dead) for one in found], "yes or no", "one cell long along an axis"),
        "ratio": each([one.ratio for one in found], "1", "rate / side"),
        "suggested": each([best[one.name] for one in found], "cells", "suggested"),
        "most": each([one.most for one in found], "cells", "r_max"),
        "group": each([group.get(one.name, "") for one in found], "text", "parallel branches of"),
        "rate": pairs([one.rate for one in found], "cells", "rate"),
        "kernel": pairs([one.kernel for one in found], "taps", "kernel"),
        "side": pairs([one.side for one in found], "cells", "side"),
        "jump": pairs([one.jump for one in found], "px", "output stride"),
        "view": pairs([one.view for one in found], "cells", "field of view"),
        "view_px": pairs([np.multiply(one.view, one.jump) for one in found], "px", "field of view"),
        "seen": pairs([one.seen for one in found], "px", "with the layers before"),
        "reads": each([f"{_pair(one.kernel, ' x ')} at rate {_pair(one.rate)}" for one in found], "text", "kernel"),
        "map": each([f"{_pair(one.side, ' x ')} cells, {_pair(one.jump)} px apart" for one in found], "text", "map"),
        "sees": each(
            [
                f"{_pair(one.view)} cells, {_pair(np.multiply(one.view, one.jump))} px; {_pair(one.seen)} px in all"
                for one in found
            ],
            "text",
            "field of view",
        ),
        "remark": each([_remark(one, group.get(one.name, "")) for one in found], "text", "remark"),
    }


def _remark(one: Dilated, group: str) -> str:
    told = [f"branch of {group}"] if group else []
    if one.readings is None:
        told.append("padding not known")
    elif one.dead:
        axes = "" if len(one.dead) == len(one.axes) else " along rows" if one.dead == (0,) else " along columns"
        told.append(f"dead: one tap{axes} is left")
    elif one.whole == 0:
        told.append("nowhere all taps on the map")
    if one.edges != "zeros" and one.before != (0, 0):
        told.append(f"beyond the map it reads {one.edges} padding")
    return "; ".join(told)


def _pictures(
    title: str, fields: np.ndarray[Any, Any], shape: np.ndarray[Any, Any], drawn: dict[str, list[str]]
) -> dict[str, Any]:
    """Both fields as they are and as they are drawn, the star as a picture and as an outline."""
    totals = fields.sum((1, 2), keepdims=True)
    relative = np.divide(fields, totals, out=np.zeros_like(fields), where=totals > 0)
    one = {"image": [title]}
    dims = ("image", "specimen", "row", "col")
    base = np.where(shape[..., None], 200, 60).repeat(3, -1).astype(np.uint8)[None]
    wide = max(shape.shape) // 32  # on large maps, so that the field is seen inside the outline
    outline = np.kron(widened(shape, wide), np.ones((DRAWN, DRAWN), dtype=bool))[None]
    return {
        f"field/{title}": array(relative.astype(np.float32)[None], dims, "share of the sum", one | drawn),
        f"shown/{title}": array(np.sqrt(relative).astype(np.float32)[None], dims, "square root of the share", one | drawn),
        f"base/{title}": array(base, ("image", "row", "col", "rgb"), "colour", one),
        f"star/{title}": array(outline, ("image", "row", "col"), "yes or no", one, "star of taps"),
    }


def _pair(pair: Any, always: str = "") -> str:
    """Rows and columns as one number where they are equal, unless `always` says what stands between them."""
    rows, cols = ("?" if np.isnan(one) else "all" if np.isinf(one) else f"{one:.4g}" for one in pair)
    return rows if rows == cols and not always else f"{rows}{always or ' x '}{cols}"


def _rates(found: Arrays, places: Sequence[int]) -> str:
    return ", ".join(_pair(found["rate"].values[place]) for place in places)


def _side(found: Arrays, place: int) -> str:
    return _pair(found["side"].values[place], " x ")


def _read(found: Arrays, places: Sequence[int]) -> str:
    valid = found["valid"].values[list(places)]
    told = ", ".join(f"{100 * one:.0f}" for one in valid)
    return f", with {told} % of {'their' if len(places) > 1 else 'its'} taps on it" if np.isfinite(valid).all() else ""


def _star(found: Arrays) -> str:
    own, twin = found["on_star"].values[0]
    if not np.isfinite([own, twin]).all():
        return ""
    floor, other = found["floor"].values[0]
    return (
        f" Of what its middle cell answers to there {100 * own:.0f} % lies on the star of {int(found['points'][0])} cells and "
        f"{100 * floor:.0f} % is an even floor under all cells (untrained twin {100 * twin:.0f} and {100 * other:.0f} %; an even field has "
        f"{100 * float(found['even'][0]):.2g} % on the star)."
    )
