"""Whether masking the same part of several objects moves the same features the same way.

A network that was never told of parts may still know that they correspond. The same part is masked in several pictures of one class;
Δ is the share of features whose change differs in sign between two pictures (falls, rises, stays), the mean over pairs. It is held
against the same shapes masked at random places: all of them, and of each picture the one that moves the features most nearly as far,
since a weak mask leaves more features unmoved and so lowers Δ by itself. Kappa corrects for that by counts of signs.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.3 and table 1. The formula there is a sum; their numbers are only possible as
means over features and pairs, which is the reading taken. The control for the size of the change, kappa, features that are means over
each map (theirs are maps of aligned photographs) and the untrained twin are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analyses.correspondence.groups import Group, groups
from microtome.analyses.correspondence.summary import Row, add, settled
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.fills import filled
from microtome.instruments.layer_choice import unmeasured
from microtome.instruments.shown_images import pictures
from microtome.numerics.maps.parts import elsewhere
from microtome.panels import Bars, Grid, Panel, Question, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, watch

BATCH = 64  # masked pictures in one forward pass
SHAPES = ("nchw", "nhwc", "tokens", "vector")
Values = np.ndarray[Any, Any]


@final
class Correspondence(Analysis):
    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Correspondence of parts"
    revision: ClassVar[int] = 2

    at: tuple[str, ...] = option("shallow,middle,deep", "the layers to look at: names, globs or aliases")
    parts: tuple[str, ...] = option("object,upper,lower", "parts of each mask: object, upper, lower, left, right (halves)")
    marks: tuple[str, ...] = option(
        (),
        "parts by hand, each as image:part:row:col or image:part:row:col:height:width in px of the picture; a point is a square",
    )
    size: int = option(
        0, "side of the square around a point, in px of what the network sees; 0: a seventh of its shorter side", low=0
    )
    colour: Literal["grey", "mean", "blur"] = option(
        "grey", "what masks: mid-grey, the picture's mean colour, or the picture blurred"
    )
    kind: Literal["mean", "map"] = option("mean", "features: the mean of each map, or every place of it (for aligned pictures)")
    classes: tuple[str, ...] = option((), "classes looked at, by name; empty: the three with most masks")
    count: int = option(5, "pictures of each class", low=3, high=100)
    repeats: int = option(5, "random places for each part of each picture", low=2, high=100)
    seed: int = option(0, "where the random places start", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if self.marks and images is not None:
            return ""
        reason = Analysis.refusal(self, specimen, images)
        if reason and images is not None and not images.has_masks:
            reason += ", or parts marked by hand: --marks IMAGE:nose:ROW:COL,…"
        return reason

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `unfit` has refused before
        layers = [name for name in specimen.find(self.at) if specimen.layer(name).layout in SHAPES]
        if not layers:
            raise Unmeasurable(f"None of {', '.join(specimen.find(self.at))} gives features with a unit axis.")
        chosen = groups(specimen, images, self.parts, self.marks, self.size, self.classes, self.count)
        names = list(dict.fromkeys(part for group in chosen for part in group.masks))
        twin = specimen.working_twin(seed=1 if specimen.trained is False else 0)
        rows, null = ({(layer, part): Row() for layer in layers for part in names} for _ in range(2))
        shown: list[tuple[Any, Any]] = []
        for number, group in enumerate(chosen):
            x, pixels = _seen(specimen, images, group.places, pace)
            filler = filled(specimen, x, self.colour, round(min(x.shape[2:]) / 7))
            draws = np.random.default_rng([self.seed, number])
            masks = np.concatenate([self._drawn(own, draws) for own in group.masks.values()])
            for worker, table in ((specimen, rows), (twin, null)):
                for layer, (clean, *covered) in _features(worker, layers, x, filler, masks, self.kind).items():
                    for place, part in enumerate(group.masks):
                        looks = covered[place * (1 + self.repeats) : (place + 1) * (1 + self.repeats)]
                        add(table[layer, part], torch.stack(looks), clean)
            pace.listener(Step(f"{specimen.name}: correspondence", number + 1, len(chosen), 0.0))
            shown.append((pixels, group))
        found = settled(rows, null, layers, names) | _examples(shown, names, images)
        found["pictures"] = array(sum(len(group.places) for group in chosen), (), "images")
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        said = {"features": self.kind, "classes": ", ".join(group.title for group in chosen), "colour": self.colour}
        told = {"criterion": list(said)}
        found["said"] = array(np.array(list(said.values()), dtype=object), ("criterion",), "text", told)
        return Measurement(found, {"unmeasured": unmeasured(specimen, self.at, layers)})

    def _drawn(self, masks: Values, draws: np.random.Generator) -> Values:
        """The masks of one part, then the same shapes at random places (look, image, row, col)."""
        moved = [np.stack([elsewhere(mask, draws) for mask in masks]) for _ in range(self.repeats)]
        return np.stack([masks, *moved])

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        note = (
            "Mean ± standard deviation over pairs of pictures, as in table 1 of the paper. Lower: the features move more alike."
        )
        last = str(found["delta"].coords["layer"].values[-1])
        return [
            Bars(
                title=f"Agreement beyond chance at {last}", x="part", y=("kappa_last", "random_kappa_last"),
                null=("twin_kappa_last", "twin_random_kappa_last"), note="Cohen's kappa of the signs. Grey: the untrained twin.",
            ),
            Table(title="Δ by part and layer", rows="part_", columns=("table",), note=note),
            Grid(title="What was masked", z="examples", across="image", down="part"),
            Bars(
                title=f"How far the features move at {last}", x="part", y=("strength_last", "random_strength_last"),
                note="A weak mask leaves more features unmoved, which lowers Δ by itself: hence the rows 'as strong' and kappa.",
            ),
            Table(title="Δ of the untrained twin", rows="part_", columns=("twin_table",), note=note),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        last = str(found["delta"].coords["layer"].values[-1])

        def value(name: str) -> float:
            return float(found[name].sel(layer=last).mean())

        more = value("kappa") > value("random_kappa")
        parts = found["delta"].sizes["part"]
        all_draws = int((found["wins"].sel(layer=last) == int(found["repeats"])).sum())
        return (
            f"At {last}, masking the same part moves the same features {'more' if more else 'no more'} alike than masking as much "
            f"elsewhere: Δ {value('delta'):.3f} against {value('random'):.3f} ({value('matched'):.3f} where the change is as strong), "
            f"kappa {value('kappa'):.2f} against {value('random_kappa'):.2f}, above every draw for {all_draws} of {parts} parts; "
            f"untrained twin {value('twin_kappa'):.2f} against {value('twin_random_kappa'):.2f}."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = {str(key): str(value) for key, value in zip(found["said"].criterion.values, found["said"].values, strict=True)}
        told = [
            f"{int(found['pictures'])} pictures of {said['classes']}; pairs of one picture are not independent, so the ± is no interval."
        ]
        if said["features"] == "mean":
            told.append(
                "Features are means over each map, so that objects need not lie at the same place; the paper's are whole maps."
            )
        last = found["delta"].coords["layer"].values[-1]
        own, null = (
            float((found[f"{one}kappa"] - found[f"{one}random_kappa"]).sel(layer=last).mean()) for one in ("", "twin_")
        )
        if not own > null:
            told.append("The untrained twin shows as much: it is no merit of training.")
        if float(found["trained"]) == 0:
            told.append("These weights are untrained.")
        return told


def _seen(specimen: Specimen, images: Images, places: Values, pace: Pace) -> tuple[Tensor, Any]:
    parts = list(batches(specimen, images.take(places), pace))
    return torch.cat([one.x for one in parts]), np.concatenate([one.pixels for one in parts])


def _features(
    specimen: Specimen, layers: Sequence[str], x: Tensor, filler: Tensor, masks: Values, kind: str
) -> dict[str, Tensor]:
    """Layer by layer the features (look, image, feature): of the pictures as they are, then under masks (look, image, row, col)."""
    covers = torch.from_numpy(np.concatenate([np.zeros_like(masks[:1]), masks])).flatten(0, 1)
    features: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def look(name: str, value: Tensor) -> None:
        maps = specimen.layer(name).maps(value)
        features[name].append((maps.double().mean((2, 3)) if kind == "mean" else maps.flatten(1)).to("cpu", copy=True))

    with torch.no_grad(), watch(specimen, layers, each=look):
        for places in torch.arange(len(covers)).split(BATCH):
            image, cover = (places % len(x)).to(x.device), covers[places, None].to(x.device)
            specimen.net(torch.where(cover, filler[image], x[image]))
    return {layer: torch.cat(values).unflatten(0, (-1, len(x))) for layer, values in features.items()}


def _examples(shown: Sequence[tuple[Any, Group]], parts: Sequence[str], images: Images) -> dict[str, xr.DataArray]:
    """The pictures of the first class with each part greyed out (part, image, row, col, rgb)."""
    pixels, group = shown[0]
    names = [images.names[int(place)] for place in group.places]
    rows: list[Any] = []
    for part in parts:
        masked = np.where(group.masks[part][..., None], np.uint8(128), pixels)
        rows.append(pictures(masked, None, {"image": names})["image"].values)
    coords = {"part": list(parts), "image": names}
    return {"examples": array(np.stack(rows), ("part", "image", "row", "col", "rgb"), "level", coords)}
