"""Loss of class probability and activity when an occluder covers part of the image.

Three maps by the position of a square occluder. The activity is the sum over all positions of one map of a layer: the map that is
strongest in the image without occluder. The probability is that of the true class (of the predicted class when no label is known).
The label is the most probable class. All three are raw: one value for each position of the occluder, not spread over the pixels that
it covers. Where masks are known, the loss on the object is compared with the loss elsewhere, and both with the losses of untrained
twins under the same occluders. Each image is shown to one twin, in turn. The localisation lift (the part of the loss that lies on the
object, less the part of the occluders there) is above the twins where its interval lies above what each of them reaches.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.2 and fig. 7. They give neither the size of the occluder nor its stride;
the comparison with masks and with random weights is ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.occlusion import wording
from microtome.analyses.occlusion.arrays import occlusion_arrays
from microtome.analyses.occlusion.maps import OccluderGrid, OcclusionMaps, concatenate_maps, occlude_batch, take_maps
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable, layers_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.fills import fill_images
from microtome.instruments.perturbation.perturber import Perturber
from microtome.instruments.shown_images import choose_images, output_name
from microtome.instruments.untrained_twins import reason_for_no_verdict, turn_count, twins_in_turn
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.maps.occluders import occluder_starts
from microtome.panels import Bars, Grid, Overlay, Panel, Question, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Workload


@final
class Occlusion(Analysis):
    """Maps of the loss by the position of a square occluder."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Occlusion"
    rank: ClassVar[int] = 34
    revision: ClassVar[int] = 8  # 8: several untrained twins, and the lift's own interval
    with_twin: ClassVar[bool] = True

    at: str = option("deep", "layer whose strongest map is measured; the coarsest of several")
    size: int = option(0, "occluder side, px; 0: a seventh of the image's shorter side", low=0)
    stride: int = option(0, "stride of the occluder, px; 0: half its side", low=0)
    colour: Literal["grey", "mean", "blur"] = option(
        "grey", "fill of the occluder: mid-grey, the image's mean colour, or the blurred image (σ: a third of the side)"
    )
    target: Literal["label", "predicted"] = option("label", "target class; predicted where no label is known")
    only: tuple[str, ...] = option(
        (), "images to show, by name or index; empty: spread over object size and clutter, or evenly"
    )
    count: int = option(2, "number of images shown", low=1, high=1000, quick=1, full=6)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen, images)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        places = self._places(specimen.recipe.size).count
        return Workload(forward=0.4 * places * 2 * shown, twins=min(specimen.twin_count, shown))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        layer = _coarsest_layer(specimen, self.at)
        places = self._places(specimen.recipe.size)
        taken = images.take(choose_images(self.name(), specimen, images, self.only, self.count))
        answers, how = _target_outputs(specimen, taken, self.target)
        own: list[OcclusionMaps] = []
        null: list[OcclusionMaps] = []
        pixels: list[Any] = []
        targets: list[Tensor] = []
        order: list[np.ndarray[Any, Any]] = []  # of the twins' images
        for batch in batches(specimen, taken, pace):
            wanted = torch.from_numpy(answers[batch.index]).to(batch.x.device)
            filler = fill_images(specimen, batch.x, self.colour, places.size)
            engine = Perturber(specimen, batch.x, layer, count=places.count * len(batch.x))
            wanted = torch.where(wanted >= 0, wanted, engine.clean.scores.argmax(1))
            own.append(occlude_batch(engine, batch.x, filler, places, wanted))
            pace.listener(Step(f"{specimen.name}: occlusion", int(batch.index[-1]) + 1, len(taken), 0.0))
            parts = [np.arange(0)]
            for _, twin, rows in twins_in_turn(specimen, images, len(taken), batch.index):
                x = batch.x[rows]
                engine = Perturber(twin, x, layer, count=places.count * len(rows))
                null.append(occlude_batch(engine, x, filler[rows], places, wanted[rows]))
                parts.append(batch.index[rows])
            order.append(np.concatenate(parts))
            pixels.append(batch.pixels)
            targets.append(wanted.cpu())
        masks = taken.masks(specimen.recipe) if taken.has_masks else None
        twins = turn_count(specimen, len(taken))
        reason = reason_for_no_verdict(specimen, images)
        twin_maps = take_maps(concatenate_maps(null), np.argsort(np.concatenate(order))) if twins else None
        arrays = occlusion_arrays(
            concatenate_maps(own), twin_maps, places, masks, specimen, taken, np.concatenate(pixels), twins, reason
        )
        names = {"image": list(taken.names)}
        words = [output_name(specimen, int(output)) for output in torch.cat(targets)]
        arrays["target"] = array(np.array(words, dtype=object), ("image",), "text", names, "target class")
        known = np.where(answers >= 0, "label", "predicted")
        arrays["target_from"] = array(known.astype(object), ("image",), "text", names, "target taken from")
        facts = {"layer": layer, "labels": how, "side_px": places.size, "stride_px": self._stride(places.size), "twins": twins}
        return Measurement(arrays, facts)

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

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return wording.list_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return wording.write_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        mask = "mask" if "mask" in finding else ""
        own = Overlay(
            title="Loss by occluder position", base="image",
            heat="covered" if "covered" in finding else "lost", across="measure", mask=mask, extent="extent",
            note="Each map has its own colour scale." + (" The outline is the object's mask." if mask else ""),
        )  # fmt: skip
        panels: list[Panel] = [
            own,
            Grid(title="Most probable label by position", note="Colours: see the table.", z="label_colour", across="image"),
            Table(title="Labels", rows="rank", columns=("legend", "legend_colour", "legend_share")),
            Grid(title="Probability by position", z="probability", across="image", each=False, note="Dark: large loss."),
            Grid(title="Activity of the strongest map by position", z="activity", across="image", note="Dark: large loss."),
        ]
        if mask:
            panels.append(Bars(
                title="Loss on the object and elsewhere", y=("inside", "outside"), x="measure", null=("twin_inside", "twin_outside"),
                note="Mean loss, each position weighted by the part of the occluder on or off the object. Grey: the untrained twins.",
            ))  # fmt: skip
        columns = ("target", "target_from", "clean_label", "clean_probability", "lowest", "changed", "twin_changed")
        panels.append(Table(title="By image", rows="image", columns=columns))
        if finding.facts["twins"]:
            most = format_value(100 * float(finding["twin_lost"].sel(measure="probability").max()), "points")
            note = f"Random weights under the same occluders; each map has its own scale. Largest loss of probability: {most}."
            panels.append(replace(own, title="Loss in the untrained twins", heat=f"twin_{own.heat}", note=note))
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        return wording.list_caveats(finding)


def _coarsest_layer(specimen: Specimen, at: str) -> str:
    """The layer to measure: the one with the fewest positions among those named that have rows and columns."""
    layers = [specimen.layer(name) for name in specimen.find(at)]
    spatial = [layer for layer in layers if layer.has_positions]
    if not spatial:
        raise Unmeasurable(
            f"None of {', '.join(layer.name for layer in layers)} has rows and columns. "
            f"List layers that do: {layers_hint(specimen.name)}"
        )
    return min(reversed(spatial), key=lambda layer: (layer.grid or (0, 0))[0] * (layer.grid or (0, 0))[1]).name


def _target_outputs(specimen: Specimen, images: Images, target: str) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1: take the predicted one), and how classes were matched."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if target == "predicted" or images.labels is None:
        return unknown, ""
    try:
        match = match_classes(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # a caveat says so: the predicted class can still be the target
        return unknown, ""
    return match.targets(images.labels), match.how
