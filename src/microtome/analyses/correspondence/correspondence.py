"""Whether masking the same part of several objects changes their features alike.

The same part is masked in several images of one class. Δ is the fraction of features whose change differs in sign between two images
(falls, rises, stays), averaged over pairs. The control masks the same shapes at random positions: all of them, and for each image
the one that changes the features most nearly as much, since a weak mask leaves more features unchanged and so lowers Δ by itself.
Cohen's kappa corrects for the frequencies of the signs. Each part of each class is shown to one of several untrained twins, in turn, since
pairs must be of one network.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.3 and table 1. The formula there is a sum; its numbers are only possible as
means over features and pairs, which is the reading taken. The control for the size of the change, kappa, features that are means over
each map (theirs are maps of aligned photographs) and the untrained twin are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analyses.correspondence.groups import ClassGroup, class_groups
from microtome.analyses.correspondence.summary import ClassRow, add_class, agreement_arrays, correspondence_arrays
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import Unmeasurable, hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.fills import fill_images
from microtome.instruments.layer_choice import reasons_not_measured
from microtome.instruments.shown_images import image_arrays
from microtome.instruments.untrained_twins import (
    NO_VERDICT,
    VERDICTS,
    reason_for_no_verdict,
    turn_count,
    twins_in_turn,
    twins_text,
)
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.maps.parts import random_position
from microtome.panels import Bars, Grid, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, watch
from microtome.workload import Workload

BATCH = 64  # masked images in one forward pass
SHAPES = ("nchw", "nhwc", "tokens", "vector")
Values = np.ndarray[Any, Any]


@final
class Correspondence(Analysis):
    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Correspondence of parts"
    rank: ClassVar[int] = 36
    revision: ClassVar[int] = 5  # 5: several untrained twins
    with_twin: ClassVar[bool] = True

    at: tuple[str, ...] = option("shallow,middle,deep", "layers to measure: names, globs or aliases")
    parts: tuple[str, ...] = option("object,upper,lower", "parts of each mask: object, upper, lower, left, right (halves)")
    marks: tuple[str, ...] = option(
        (),
        "parts by hand, each image:part:row:col or image:part:row:col:height:width in px of the image; a point is a square",
    )
    size: int = option(
        0, "side of the square around a point, px of the network's input; 0: a seventh of its shorter side", low=0
    )
    colour: Literal["grey", "mean", "blur"] = option(
        "grey", "fill of the mask: mid-grey, the mean colour of the image, or the image blurred"
    )
    kind: Literal["mean", "map"] = option(
        "mean", "features: the mean of each map, or every position of it (for aligned images)"
    )
    classes: tuple[str, ...] = option((), "classes by name; empty: the three with most masks")
    count: int = option(5, "images of each class", low=3, high=100, quick=2, full=10)
    repeats: int = option(5, "random positions for each part of each image", low=2, high=100, quick=2, full=10)
    seed: int = option(0, "seed of the random positions", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if self.marks and images is not None:
            return ""
        reason = Analysis.refusal(self, specimen, images)
        if reason and images is not None and not images.has_masks:
            reason += ", or parts marked by hand: " + hint("--marks IMAGE:nose:ROW:COL,…", "marks=('IMAGE:nose:ROW:COL', …)")
        return reason

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = self.count * (1 + len(self.parts) * (1 + self.repeats))
        groups = len(self.classes or (0, 1))
        return Workload(forward=2.0 * shown * groups, twins=min(specimen.twin_count, groups * len(self.parts)))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        layers = [name for name in specimen.find(self.at) if specimen.layer(name).layout in SHAPES]
        if not layers:
            raise Unmeasurable(f"None of {', '.join(specimen.find(self.at))} gives features with a unit axis.")
        chosen = class_groups(specimen, images, self.parts, self.marks, self.size, self.classes, self.count)
        names = list(dict.fromkeys(part for group in chosen for part in group.masks))
        cells = [(number, part) for number, group in enumerate(chosen) for part in group.masks]
        twins = turn_count(specimen, len(cells))
        rows, null = ({(layer, part): ClassRow() for layer in layers for part in names} for _ in range(2))
        shown: list[tuple[Any, Any]] = []
        for number, group in enumerate(chosen):
            x, pixels = _load_images(specimen, images, group.places, pace)
            filler = fill_images(specimen, x, self.colour, round(min(x.shape[2:]) / 7))
            draws = np.random.default_rng([self.seed, number])
            masks = {part: self._shifted_masks(own, draws) for part, own in group.masks.items()}
            self._add_parts(specimen, x, filler, masks, rows)
            index = np.array([place for place, (owner, _) in enumerate(cells) if owner == number])
            for _, twin, turn in twins_in_turn(specimen, images, len(cells), index):
                shown_parts = {cells[index[place]][1] for place in turn}
                self._add_parts(twin, x, filler, {part: masks[part] for part in masks if part in shown_parts}, null)
            pace.listener(Step(f"{specimen.name}: correspondence", number + 1, len(chosen), 0.0))
            shown.append((pixels, group))
        arrays = correspondence_arrays(rows, null if twins else rows, layers, names) | _example_arrays(shown, names, images)
        arrays |= agreement_arrays(rows, null, layers[-1], cells, twins, reason_for_no_verdict(specimen, images))
        facts = {
            "images": sum(len(group.places) for group in chosen),
            "classes": [group.title for group in chosen],
            "random positions": self.repeats,
            "twins": twins,
            "unmeasured": reasons_not_measured(specimen, self.at, layers),
        }
        return Measurement(arrays, facts)

    def _add_parts(
        self,
        network: Specimen,
        x: Tensor,
        filler: Tensor,
        masks: Mapping[str, Values],
        table: Mapping[tuple[str, str], ClassRow],
    ) -> None:
        """Add what one network's features do under the masks of each part, to its row of the table."""
        layers = list(dict.fromkeys(layer for layer, _ in table))
        looks = np.concatenate(list(masks.values()))
        for layer, (clean, *covered) in _layer_features(network, layers, x, filler, looks, self.kind).items():
            for place, part in enumerate(masks):
                of_part = covered[place * (1 + self.repeats) : (place + 1) * (1 + self.repeats)]
                add_class(table[layer, part], torch.stack(of_part), clean)

    def _shifted_masks(self, masks: Values, draws: np.random.Generator) -> Values:
        """The masks of one part, then the same shapes at random places (look, image, row, col)."""
        moved = [np.stack([random_position(mask, draws) for mask in masks]) for _ in range(self.repeats)]
        return np.stack([masks, *moved])

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        last = str(finding["delta"].coords["layer"].values[-1])

        def mean(name: str) -> float:
            return float(finding[name].sel(layer=last).mean())

        wins = int((finding["wins"].sel(layer=last) == finding.facts["random positions"]).sum())
        parts = finding["delta"].sizes["part"]
        beyond = mean("kappa") - mean("random_kappa")
        twin = mean("twin_kappa") - mean("twin_random_kappa")
        return [
            KeyNumber(name="agreement beyond the control", value=beyond, baseline=twin, better="higher", at=last,
                      baseline_name=twins_text(finding.facts["twins"])),
            KeyNumber(name="kappa", value=mean("kappa"), baseline=mean("random_kappa"), baseline_name="same shapes elsewhere", at=last),
            KeyNumber(name="Δ", value=mean("delta"), unit=FRACTION, baseline=mean("matched"),
                      baseline_name="elsewhere, as strong", better="lower", at=last),
            KeyNumber(name="parts above every random position", value=wins / parts, unit=FRACTION, better="higher", at=last),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        kappa = finding.key("kappa")
        verdict = "more" if kappa.value > kappa.baseline else "no more"
        return (
            f"At {kappa.at}, masking one part changes features {verdict} alike than masking elsewhere: "
            f"kappa {kappa.text} against {kappa.baseline_text}."
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        note = (
            "Mean ± standard deviation over pairs of images, as in table 1 of the paper. Lower: the features change more alike."
        )
        last = str(finding["delta"].coords["layer"].values[-1])
        return [
            Bars(
                title=f"Agreement beyond chance at {last}", x="part", y=("kappa_last", "random_kappa_last"),
                null=("twin_kappa_last", "twin_random_kappa_last"), note="Cohen's kappa of the signs. Grey: the untrained twins.",
            ),
            Table(title="Δ by part and layer", rows="part_", columns=("table",), note=note),
            Grid(title="Masked parts", z="examples", across="image", down="part"),
            Bars(
                title=f"Change of the features at {last}", x="part", y=("strength_last", "random_strength_last"),
                note="A weak mask leaves more features unchanged, which lowers Δ by itself: hence the rows 'as strong' and kappa.",
            ),
            Table(title="Δ of the untrained twins", rows="part_", columns=("twin_table",), note=note),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        classes = ", ".join(finding.facts["classes"])
        lines = [
            f"{plural(finding.facts['images'], 'image')} of {classes}; pairs that share an image are not independent, so ± is no interval."
        ]
        if finding.options["kind"] == "mean":
            lines.append("Features are means over each map, so that objects need not be aligned; the paper uses whole maps.")
        verdict = str(finding["agreement_against_twins"].item())
        if finding.trained is not False and verdict not in (NO_VERDICT, VERDICTS[1]):
            lines.append(f"The agreement beyond the control is {verdict}: it is not shown to be due to training.")
        if finding.trained is False:
            lines.append("These weights are untrained.")
        return lines


def _load_images(specimen: Specimen, images: Images, places: Values, pace: Pace) -> tuple[Tensor, Any]:
    parts = list(batches(specimen, images.take(places), pace))
    return torch.cat([batch.x for batch in parts]), np.concatenate([batch.pixels for batch in parts])


def _layer_features(
    specimen: Specimen, layers: Sequence[str], x: Tensor, filler: Tensor, masks: Values, kind: str
) -> dict[str, Tensor]:
    """Layer by layer the features (look, image, feature): of the images as they are, then under masks (look, image, row, col)."""
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


def _example_arrays(shown: Sequence[tuple[Any, ClassGroup]], parts: Sequence[str], images: Images) -> dict[str, xr.DataArray]:
    """The images of the first class with each part greyed out (part, image, row, col, rgb)."""
    pixels, group = shown[0]
    names = [images.names[int(place)] for place in group.places]
    rows: list[Any] = []
    for part in parts:
        masked = np.where(group.masks[part][..., None], np.uint8(128), pixels)
        rows.append(image_arrays(masked, None, {"image": names})["image"].values)
    coords = {"part": list(parts), "image": names}
    return {"examples": array(np.stack(rows), ("part", "image", "row", "col", "rgb"), "level", coords)}
