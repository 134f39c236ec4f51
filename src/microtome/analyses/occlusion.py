"""What a network loses when a square covers part of the picture: three maps by the square's position.

The activity is the sum over all places of the one map of a layer that is strongest in the uncovered picture; the probability is that
of the true class (of the predicted one where nobody knows better); the label is the most probable class. All three are raw, one
value for each position of the square, not spread over the pixels it covered. Where masks are known, the loss on the object is held
against the loss elsewhere, and both against what the untrained twin loses under the same squares.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.2 and fig. 7. They give neither the size of the square nor its stride; the
comparison with masks and with random weights is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.answers import matched
from microtome.attribution import scores_missing
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import array
from microtome.images import Images
from microtome.numerics.intervals import Interval, bootstrap
from microtome.numerics.maps import rank_correlation
from microtome.numerics.occluders import contrast, covered, starts
from microtome.panels import Bars, Grid, Overlay, Panel, Question, Table
from microtome.perturbing import Patch, Perturber, filled
from microtome.scan import Pace, Step, batches
from microtome.showing import called, chosen, pictures
from microtome.specimen import Specimen

MEASURES = ("activity", "probability")
PARTS = ("inside", "outside", "energy", "area", "lift")
LEAST = 10  # images: with fewer there is no interval
QUIET = 0.01  # of probability: less is not worth a map
# Okabe & Ito's colours, which most colour-blind people tell apart, and two more; the last is for all labels beyond
COLOURS = {
    "orange": (230, 159, 0), "sky blue": (86, 180, 233), "green": (0, 158, 115), "yellow": (240, 228, 66), "blue": (0, 114, 178),
    "red": (213, 94, 0), "pink": (204, 121, 167), "black": (30, 30, 30), "brown": (140, 86, 75), "light grey": (210, 210, 210),
}  # fmt: skip


@dataclass(frozen=True)
class _Places:
    """Where the squares go: first rows and cols, and the side, in px."""

    rows: np.ndarray[Any, Any]
    cols: np.ndarray[Any, Any]
    size: int

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.cols)


@dataclass
class _Maps:
    """What one network said of a few images: maps (image, row, col) and the same of the uncovered pictures (image,)."""

    activity: Tensor
    probability: Tensor
    label: Tensor
    clean_activity: Tensor
    clean_probability: Tensor
    clean_label: Tensor

    def lost(self) -> Tensor:
        """(image, measure, row, col): the activity lost, as a share of the uncovered one's size, and the probability lost."""
        whole = self.clean_activity[:, None, None]
        return torch.stack(
            [
                (whole - self.activity) / whole.abs().where(whole != 0, torch.nan),
                self.clean_probability[:, None, None] - self.probability,
            ],
            1,
        )


@final
class Occlusion(Analysis):
    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Occlusion"

    at: str = option("deep", "the layer whose strongest map is followed (the coarsest, where several are named)")
    size: int = option(0, "side of the square, in px; 0: a seventh of the picture's shorter side", low=0)
    stride: int = option(0, "from one position to the next, in px; 0: half the square", low=0)
    colour: Literal["grey", "mean", "blur"] = option(
        "grey", "what covers: mid-grey, the picture's mean colour, or the picture blurred (σ: a third of the square)"
    )
    target: Literal["label", "predicted"] = option("label", "the class asked about; predicted where no label is known")
    only: tuple[str, ...] = option(
        (), "images to show, by name or place; empty: spread over object size and clutter, or evenly"
    )
    count: int = option(3, "how many images are shown", low=1, high=1000)

    def unfit(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.unfit(self, specimen, images) or scores_missing(specimen)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        layer = _coarsest(specimen, self.at)
        places = self._places(specimen.recipe.size)
        taken = images.take(chosen(self.name(), specimen, images, self.only, self.count))
        answers, how = _answers(specimen, taken, self.target)
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        own: list[_Maps] = []
        null: list[_Maps] = []
        pixels: list[Any] = []
        targets: list[Tensor] = []
        for batch in batches(specimen, taken, pace):
            wanted = torch.from_numpy(answers[batch.index]).to(batch.x.device)
            filler = filled(specimen, batch.x, self.colour, places.size)
            engine = Perturber(specimen, batch.x, layer, count=places.count * len(batch.x))
            wanted = torch.where(wanted >= 0, wanted, engine.clean.scores.argmax(1))
            own.append(_looked(engine, batch.x, filler, places, wanted))
            pace.listener(Step(f"{specimen.name}: occlusion", int(batch.index[-1]) + 1, len(taken), 0.0))
            null.append(
                _looked(Perturber(twin, batch.x, layer, count=places.count * len(batch.x)), batch.x, filler, places, wanted)
            )
            pixels.append(batch.pixels)
            targets.append(wanted.cpu())
        masks = taken.masks(specimen.recipe) if taken.has_masks else None
        found = _settled(_joined(own), _joined(null), places, masks, specimen, taken, np.concatenate(pixels))
        images_ = {"image": list(taken.names)}
        words = [called(specimen, int(one)) for one in torch.cat(targets)]
        found["target"] = array(np.array(words, dtype=object), ("image",), "text", images_, "class asked about")
        known = np.where(answers >= 0, "label", "predicted")
        found["target_from"] = array(known.astype(object), ("image",), "text", images_, "how it was chosen")
        said = {"layer": layer, "labels": how, "colour": self.colour}
        told = {"criterion": list(said)}
        found["said"] = array(np.array(list(said.values()), dtype=object), ("criterion",), "text", told)
        found["square"] = array([places.size, self._stride(places.size)], ("axis",), "px", {"axis": ["side", "stride"]})
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        return found

    def _stride(self, size: int) -> int:
        return self.stride or -(-size // 2)

    def _places(self, shape: tuple[int, int]) -> _Places:
        size = self.size or max(1, round(min(shape) / 7))
        if size > min(shape):
            raise BadOption(
                f"occlusion: size is {size} px, but the network sees {shape[0]} x {shape[1]} px; give at most {min(shape)}."
            )
        rows, cols = (starts(side, size, self._stride(size)) for side in shape)
        return _Places(rows, cols, size)

    def panels(self, found: Arrays) -> Sequence[Panel]:
        mask = "mask" if "mask" in found else ""
        note = "How much is lost by covering each place; each map has a colour scale of its own." + (
            " The outline is the object's mask." if mask else ""
        )
        shown: list[Panel] = [
            Overlay(
                title="What covering it costs",
                note=note,
                base="image",
                heat="lost",
                across="measure",
                mask=mask,
                extent="extent",
            ),
            Grid(title="Most probable label by position", note="Colours: see the table.", z="label_colour", across="image"),
            Table(title="Labels", rows="rank", columns=("legend", "legend_colour", "legend_share")),
            Grid(title="Probability by position", z="probability", across="image", each=False, note="Dark: covering costs."),
            Grid(title="Activity of the strongest map by position", z="activity", across="image", note="Dark: covering costs."),
        ]
        if mask:
            shown.append(Bars(
                title="Loss on the object and elsewhere", y=("inside", "outside"), x="measure", null=("twin_inside", "twin_outside"),
                note="Mean loss, each position weighted by the part of the square on or off the object. Grey: the untrained twin.",
            ))  # fmt: skip
        columns = ("target", "target_from", "clean_label", "clean_probability", "lowest", "changed", "twin_changed")
        shown.append(Table(title="By picture", rows="image", columns=columns))
        most = float(found["twin_lost"].sel(measure="probability").max())
        twins = f"Random weights under the same squares; each map has its own scale. Their largest loss of probability is {_points(most)}."
        shown.append(
            Overlay(
                title="The untrained twin",
                note=twins,
                base="image",
                heat="twin_lost",
                across="measure",
                mask=mask,
                extent="extent",
            )
        )
        return shown

    def line(self, found: Arrays) -> str:
        count = found["image"].sizes["image"]
        changed, twin = (float(found[name].mean()) for name in ("changed", "twin_changed"))
        labels = f"the most probable label changes at {changed:.0%} of the positions (untrained twin {twin:.0%})"
        if "inside" not in found or np.isnan(found["inside"].sel(measure="probability")):
            worst = float((found["clean_probability"] - found["lowest"]).median())
            same = float(found["twin_correlation"].sel(measure="probability"))
            likeness = "" if np.isnan(same) else f", and the map's rank correlation with the twin's is {same:.2f}"
            return f"The worst position costs {_points(worst)} of probability (median of {count} images); {labels}{likeness}."
        inside, outside, null_in, null_out = (
            float(found[name].sel(measure="probability")) for name in ("inside", "outside", "twin_inside", "twin_outside")
        )
        lift, null, wins, known = (
            float(found[name].sel(measure="probability")) for name in ("lift", "twin_lift", "wins", "known")
        )
        text = (
            f"A square on the object costs {_points(inside)} of probability, elsewhere {_points(outside)} (untrained twin "
            f"{_points(null_in)} and {_points(null_out)})"
        )
        if not np.isnan(lift):
            text += f"; lift of the loss {lift:+.2f}" + ("" if np.isnan(null) else f" against {null:+.2f} for the twin")
            text += f", larger in {wins:.0f} of {known:.0f} images"
        return f"{text}; {labels}."

    def caveats(self, found: Arrays) -> Sequence[str]:
        side, stride = (int(one) for one in found["square"].values)
        said = {str(key): str(value) for key, value in zip(found["said"].criterion.values, found["said"].values, strict=True)}
        told = [
            f"The square has {side} px and goes {stride} px at a time; what it covers depends on that, and on its colour "
            f"({said['colour']}): an edge of its own is something new to the network."
        ]
        guessed = int((found["target_from"] == "predicted").sum())
        if guessed:
            told.append(
                f"In {guessed} of {found['image'].sizes['image']} images the class is the predicted one, "
                "since no label that the network knows was given or it was asked for."
            )
        if said["labels"].startswith("by order"):
            told.append(f"Outputs were matched to classes {said['labels']}.")
        if quiet := int((found["clean_probability"] - found["lowest"] < QUIET).sum()):
            told.append(
                f"In {quiet} of {found['image'].sizes['image']} images no position costs a whole point of probability: their "
                "probability maps, each on its own scale, show next to nothing."
            )
        if "lift" in found:
            low = float(found["gain_low"].sel(measure="probability"))
            if np.isnan(low):
                told.append(f"Fewer than {LEAST} images with masks: an illustration. For a claim: --count 50.")
            elif low <= 0:
                told.append("The lift is not above the untrained twin's beyond chance (paired bootstrap over images, 95 %).")
        if float(found["trained"]) == 0:
            told.append("These weights are untrained: the maps show the architecture, not knowledge.")
        return told


def _points(value: float) -> str:
    return f"{100 * value:.1f} points"


def _coarsest(specimen: Specimen, at: str) -> str:
    """The layer to follow: the one with the fewest cells among those named that have rows and columns."""
    layers = [specimen.layer(name) for name in specimen.find(at)]
    spatial = [
        one for one in layers if one.grid is not None and one.grid != (1, 1) and one.layout in ("nchw", "nhwc", "tokens")
    ]
    if not spatial:
        raise Unmeasurable(
            f"None of {', '.join(one.name for one in layers)} has rows and columns. "
            f"List layers that do: microtome layers {specimen.name}"
        )
    return min(reversed(spatial), key=lambda one: (one.grid or (0, 0))[0] * (one.grid or (0, 0))[1]).name


def _answers(specimen: Specimen, images: Images, target: str) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1: take the predicted one), and how classes were matched."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if target == "predicted" or images.labels is None:
        return unknown, ""
    try:
        found = matched(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # said as a caveat: the predicted class can still be asked about
        return unknown, ""
    return found.wanted(images.labels), found.how


def _looked(engine: Perturber, x: Tensor, filler: Tensor, places: _Places, wanted: Tensor) -> _Maps:
    """The three maps of one batch of images."""
    assert engine.clean.activity is not None
    units = engine.clean.activity.argmax(1)
    patches = [
        Patch(image, int(row), int(col), filler[image, :, row : row + places.size, col : col + places.size])
        for image in range(len(x))
        for row in places.rows
        for col in places.cols
    ]
    found = engine.responses(patches, units)
    assert found.activity is not None
    shape = (len(x), len(places.rows), len(places.cols))
    asked = wanted.repeat_interleave(places.count)[:, None]
    chance = found.scores.double().softmax(1).gather(1, asked)[:, 0]
    clean = engine.clean.scores.double().softmax(1)
    return _Maps(
        found.activity.cpu().reshape(shape),
        chance.cpu().reshape(shape),
        found.scores.argmax(1).cpu().reshape(shape),
        engine.clean.activity.gather(1, units[:, None])[:, 0].cpu(),
        clean.gather(1, wanted[:, None])[:, 0].cpu(),
        clean.argmax(1).cpu(),
    )


def _joined(parts: Sequence[_Maps]) -> _Maps:
    return _Maps(*(torch.cat([getattr(one, name) for one in parts]) for name in _Maps.__dataclass_fields__))


def _settled(
    own: _Maps, null: _Maps, places: _Places, masks: Any, specimen: Specimen, taken: Images, pixels: Any
) -> dict[str, xr.DataArray]:
    images = {"image": list(taken.names)}
    shape = (int(pixels.shape[1]), int(pixels.shape[2]))
    at = images | {"row": places.rows + (places.size - 1) / 2, "col": places.cols + (places.size - 1) / 2}
    dims = ("image", "row", "col")
    measures = {"measure": list(MEASURES)}
    found = {
        "activity": array(own.activity.numpy(), dims, "activation", at, "sum of the strongest map"),
        "probability": array(own.probability.numpy(), dims, "1", at, "probability of the class asked about"),
        "label": array(own.label.numpy(), dims, "output number", at, "most probable label"),
    }
    found |= pictures(pixels, masks, images)
    for prefix, one in (("", own), ("twin_", null)):
        lost = one.lost()
        found[f"{prefix}lost"] = array(lost.float().numpy(), ("image", "measure", "row", "col"), "share", at | measures)
        moved = (one.label != one.clean_label[:, None, None]).double().mean((1, 2))
        title = "label changes" + (" (untrained twin)" if prefix else "")
        found[f"{prefix}changed"] = array(moved.numpy(), ("image",), "share of positions", images, title)
    likeness = [
        float(rank_correlation(own.lost()[:, m].flatten(1), null.lost()[:, m].flatten(1)).nanmean())
        for m in range(len(MEASURES))
    ]
    found["twin_correlation"] = array(likeness, ("measure",), "rank correlation", measures, "with the untrained twin's map")
    words = np.array([called(specimen, int(one)) for one in own.clean_label], dtype=object)
    found["clean_label"] = array(words, ("image",), "text", images, "uncovered: most probable")
    found["clean_probability"] = array(own.clean_probability.numpy(), ("image",), "1", images, "uncovered: probability")
    found["clean_activity"] = array(own.clean_activity.numpy(), ("image",), "activation", images)
    found["lowest"] = array(own.probability.amin((1, 2)).numpy(), ("image",), "1", images, "at the worst position")
    found["extent"] = array(_extent(places, shape, len(pixels)), ("image", "axis"), "share of the picture", images | {
        "axis": ["top", "bottom", "left", "right"]
    })  # fmt: skip
    found |= _legend(own.label, at, specimen)
    return found if masks is None else found | _on_objects(own, null, places, torch.from_numpy(masks), images | measures)


def _extent(places: _Places, shape: tuple[int, int], count: int) -> np.ndarray[Any, Any]:
    """Outer edges of the maps, whose cells are centred on the squares, as shares of the picture (image, axis)."""
    edges: list[float] = []
    for first, side in ((places.rows, shape[0]), (places.cols, shape[1])):
        step = float(first[1] - first[0]) if len(first) > 1 else float(places.size)
        near = (places.size - step) / 2
        edges += [near / side, (near + step * len(first)) / side]
    return np.tile(np.array(edges), (count, 1))


def _legend(label: Tensor, at: dict[str, Any], specimen: Specimen) -> dict[str, xr.DataArray]:
    """The label maps in few colours, and what they stand for: the commonest labels first."""
    values, counts = label.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[: len(COLOURS) - 1]
    names, shades = list(COLOURS), np.array(list(COLOURS.values()), dtype=np.uint8)
    colour = torch.full_like(label, len(COLOURS) - 1)
    for rank, place in enumerate(order):
        colour[label == values[place]] = rank
    texts = [called(specimen, int(values[place])) for place in order]
    share = [float((colour == rank).double().mean()) for rank in range(len(texts))]
    if len(values) > len(texts):
        texts.append(f"{len(values) - len(texts)} others")
        share.append(float((colour == len(COLOURS) - 1).double().mean()))
        shown = [*names[: len(texts) - 1], names[-1]]
    else:
        shown = names[: len(texts)]
    coords = {"rank": list(range(1, len(texts) + 1))}
    return {
        "label_colour": array(shades[colour.numpy()], ("image", "row", "col", "rgb"), "level", at),
        "legend": array(np.array(texts, dtype=object), ("rank",), "text", coords, "label"),
        "legend_colour": array(np.array(shown, dtype=object), ("rank",), "text", coords, "colour"),
        "legend_share": array(share, ("rank",), "share of positions", coords, "of all"),
    }


def _on_objects(own: _Maps, null: _Maps, places: _Places, masks: Tensor, coords: dict[str, Any]) -> dict[str, xr.DataArray]:
    """Means over images of the loss on the object and elsewhere, by measure; `gain` is the lift less the twin's, paired."""
    share = covered(masks, places.rows, places.cols, places.size)
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    for prefix, one in (("", own), ("twin_", null)):
        lost = one.lost()
        for m in range(len(MEASURES)):
            for name, values in contrast(lost[:, m], share).items():
                rows.setdefault(prefix + name, []).append(values.numpy())
    each = {name: np.stack(values) for name, values in rows.items()}  # (measure, image)
    measures = {"measure": coords["measure"]}
    titles = {"inside": "on the object", "outside": "elsewhere"}
    found: dict[str, xr.DataArray] = {}
    for name, values in each.items():
        title = titles.get(name.removeprefix("twin_"), name) + (" (untrained twin)" if name.startswith("twin_") else "")
        found[name] = array([_mean(one) for one in values], ("measure",), "share", measures, title)
    gain = each["lift"] - each["twin_lift"]
    booted = [_interval(one) for one in gain]
    for part, suffix in enumerate(("", "_low", "_high")):
        found[f"gain{suffix}"] = array([one[part] for one in booted], ("measure",), "share", measures)
    found["wins"] = array((gain > 0).sum(1), ("measure",), "images", measures)
    found["known"] = array((~np.isnan(gain)).sum(1), ("measure",), "images", measures)
    found["each_lift"] = array(each["lift"].T, ("image", "measure"), "share", coords)
    return found


def _mean(values: np.ndarray[Any, Any]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _interval(values: np.ndarray[Any, Any]) -> Interval:
    known = values[~np.isnan(values)]
    return bootstrap(known) if len(known) >= LEAST else Interval(_mean(values), float("nan"), float("nan"))
