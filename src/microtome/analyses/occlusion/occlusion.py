"""What a network loses when a square covers part of the picture: three maps by the square's position.

The activity is the sum over all places of the one map of a layer that is strongest in the uncovered picture; the probability is that
of the true class (of the predicted one where nobody knows better); the label is the most probable class. All three are raw, one
value for each position of the square, not spread over the pixels it covered. Where masks are known, the loss on the object is held
against the loss elsewhere, and both against what the untrained twin loses under the same squares.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.2 and fig. 7. They give neither the size of the square nor its stride; the
comparison with masks and with random weights is ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.occlusion import wording
from microtome.analyses.occlusion.arrays import to_arrays
from microtome.analyses.occlusion.maps import OccluderGrid, OcclusionMaps, concatenate_maps, occlude_batch
from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.fills import fill_images
from microtome.instruments.perturbation.perturber import Perturber
from microtome.instruments.shown_images import choose_images, output_name
from microtome.numerics.maps.occluders import occluder_starts
from microtome.panels import Bars, Grid, Overlay, Panel, Question, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen


@final
class Occlusion(Analysis):
    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Occlusion"
    revision: ClassVar[int] = 3  # 3: a cut square has its own centre

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

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        layer = _coarsest_layer(specimen, self.at)
        places = self._places(specimen.recipe.size)
        taken = images.take(choose_images(self.name(), specimen, images, self.only, self.count))
        answers, how = _target_outputs(specimen, taken, self.target)
        twin = specimen.working_twin(images)
        own: list[OcclusionMaps] = []
        null: list[OcclusionMaps] = []
        pixels: list[Any] = []
        targets: list[Tensor] = []
        for batch in batches(specimen, taken, pace):
            wanted = torch.from_numpy(answers[batch.index]).to(batch.x.device)
            filler = fill_images(specimen, batch.x, self.colour, places.size)
            engine = Perturber(specimen, batch.x, layer, count=places.count * len(batch.x))
            wanted = torch.where(wanted >= 0, wanted, engine.clean.scores.argmax(1))
            own.append(occlude_batch(engine, batch.x, filler, places, wanted))
            pace.listener(Step(f"{specimen.name}: occlusion", int(batch.index[-1]) + 1, len(taken), 0.0))
            null.append(
                occlude_batch(
                    Perturber(twin, batch.x, layer, count=places.count * len(batch.x)), batch.x, filler, places, wanted
                )
            )
            pixels.append(batch.pixels)
            targets.append(wanted.cpu())
        masks = taken.masks(specimen.recipe) if taken.has_masks else None
        found = to_arrays(concatenate_maps(own), concatenate_maps(null), places, masks, specimen, taken, np.concatenate(pixels))
        images_ = {"image": list(taken.names)}
        words = [output_name(specimen, int(one)) for one in torch.cat(targets)]
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

    def _places(self, shape: tuple[int, int]) -> OccluderGrid:
        size = self.size or max(1, round(min(shape) / 7))
        if size > min(shape):
            raise BadOption(
                f"occlusion: size is {size} px, but the network sees {shape[0]} x {shape[1]} px; give at most {min(shape)}."
            )
        rows, cols = (occluder_starts(side, size, self._stride(size)) for side in shape)
        return OccluderGrid(rows, cols, size)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
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
        twins = (
            "Random weights under the same squares; each map has its own scale. "
            f"Their largest loss of probability is {wording.percentage_points(most)}."
        )
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

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        return wording.headline_text(found)

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        return wording.caveat_texts(found)


def _coarsest_layer(specimen: Specimen, at: str) -> str:
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


def _target_outputs(specimen: Specimen, images: Images, target: str) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1: take the predicted one), and how classes were matched."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if target == "predicted" or images.labels is None:
        return unknown, ""
    try:
        found = match_classes(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # said as a caveat: the predicted class can still be asked about
        return unknown, ""
    return found.targets(images.labels), found.how
