"""How features settle during training, layer by layer, over checkpoints of one run.

For every layer: the distance of its features at each checkpoint to those of the last one (one minus debiased CKA), the distance
from one checkpoint to the next, the fraction of its units whose strongest image changes at the next checkpoint, and that image's
patch with its projection back to the pixels. Every distance to the end falls to zero there by construction, and early layers of
random networks are similar anyway, so each is compared with the distance of an untrained twin to the same end: a layer has settled
once it stays within half of that. CKA is over all pairs of images while the features of one network take at most 512 MB; beyond,
over the pairs within batches, which are random samples that do not depend on the names of the files. Where the head names the
classes of the images, its accuracy is shown as well.

The checkpoints are files of the specimen's architecture: a folder that `python -m microtome.training … --checkpoints` filled, or your
own. Only the architecture of the specimen is used.

The half, and the quarter below which a layer is left out because its twin is that near to the end, were set on one training of
mini_vgg, whose depth and mean distance to the end had a rank correlation of +0.90 over 5 layers. Unchanged, they gave +0.89 over 7
layers of mini_resnet (seed 0; 0.006 by chance for a random order of layers) and +1.00 over 5 of mini_vgg with other initial weights
(seed 1; 0.008): lower layers settle sooner there too. Each was trained on 2,500 scenes for 32 epochs
(`python -m microtome.training mini_resnet --epochs 32 --count 2500 --checkpoints`) and measured on 240 others
(`scenes:240,seed=2026`). Three trainings of small networks on generated scenes are no law.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1 and fig. 4 (features of lower layers settle first; sudden jumps of the
strongest image); CKA, Kornblith et al. 2019, arXiv:1905.00414. Measuring both, their baselines, and the limits are ours.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, ClassVar, final

import numpy as np

from microtome.analyses.evolution.checkpoints import Checkpoint, list_checkpoints, load_checkpoint, series_digest
from microtome.analyses.evolution.summary import (
    MIN_DISTANCE,
    CheckpointTallies,
    accuracy_arrays,
    cka_distance,
    drift_arrays,
    gram_rows,
    jump_arrays,
)
from microtome.analyses.evolution.units_over_training import units_over_training
from microtome.analysis import Analysis, Measurement, option
from microtome.errors import CheckpointError, Unmeasurable, option_hint
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_head
from microtome.instruments.image_pairs import MIN_COUNT, BatchFeatures, ImagePairs, all_pairs_fit, flat_features
from microtome.instruments.layer_choice import layers_with_maps, reasons_not_measured
from microtome.instruments.strongest_patches import strongest_activations
from microtome.instruments.untrained_twins import twin_count, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.cka import gram_matrix, u_centered
from microtome.numerics.statistics.cka_intervals import MIN_IMAGES
from microtome.numerics.statistics.intervals import Interval
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.prose import agree, plural
from microtome.scan import Batch, Pace, batches, discard_tally, scan_batches
from microtome.specimen import Specimen, watch
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.tally import Bundle, Rows, Top
from microtome.workload import Workload

Values = np.ndarray[Any, Any]


@final
class Evolution(Analysis):
    """Distance of features to their end, over checkpoints."""

    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Features over training"
    rank: ClassVar[int] = 38
    revision: ClassVar[int] = 7  # 7: images whose output is not finite count as wrong, and are counted
    with_twin: ClassVar[bool] = True

    checkpoints: str = option("", "weight files of one training: their folder, or a glob in quotes")
    at: tuple[str, ...] = option(("blocks",), "layers to follow: names, globs or aliases")
    units: int = option(4, "units shown of each layer; the arrays hold all", low=1, high=4096)
    size: int = option(96, "longest side of a stored patch, px", low=8, high=2048)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not self.checkpoints:
            return "it needs checkpoints of one training; name their folder, for example " + option_hint(
                "checkpoints", "runs/mini_vgg"
            )
        try:
            list_checkpoints(self.checkpoints)
        except CheckpointError as error:
            return str(error)
        return Analysis.refusal(self, specimen, images)

    def extra_key(self) -> str:
        return series_digest(list_checkpoints(self.checkpoints)) if self.checkpoints else ""

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=10.0 * len(images or ()), twins=specimen.twin_count)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        if len(images) < MIN_COUNT:
            raise Unmeasurable(f"evolution needs at least {MIN_COUNT} images and was given {len(images)}.")
        moments = list_checkpoints(self.checkpoints)
        names = layers_with_maps(specimen, self.at)
        answers = _target_outputs(specimen, images)
        last = self._see_checkpoint(load_checkpoint(specimen, moments[-1]), images, names, answers, pace, len(moments) - 1)
        if not any(np.isfinite(gram_rows(last, name)[0]).all() for name in names):
            raise Unmeasurable(
                f"the features of the last checkpoint, {moments[-1].path}, are not finite, so nothing leads there."
            )
        null: list[list[float]] = []
        for number, twin in enumerate(untrained_twins(specimen, images), 1):
            seen = self._see_checkpoint(twin, images, names, answers, pace, -number)
            distances = [cka_distance(seen, last, name).value for name in names]
            null.append(distances if specimen.twin_count else [nan] * len(names))
        tallies: list[CheckpointTallies] = []
        to_end: list[list[Interval]] = []
        step: list[list[Interval]] = []
        before: Bundle | None = None
        broken: dict[str, str] = {}
        for place, moment in enumerate(moments):
            ended = place == len(moments) - 1
            now = (
                last if ended else self._see_checkpoint(load_checkpoint(specimen, moment), images, names, answers, pace, place)
            )
            to_end.append([cka_distance(now, last, name) for name in names])
            if before is not None:
                step.append([cka_distance(before, now, name) for name in names])
            if lost := int((~now.rows("rows").column("sound")).sum()):
                broken[moment.name] = f"{plural(lost, 'image')}, {self._where_broken(specimen, moment, images)}"
            tallies.append((now.top("top"), now.rows("rows").column("right")))  # without the rows, which are long
            before = now
        arrays = drift_arrays(names, moments, to_end, step, null)
        arrays |= jump_arrays(names, moments, tallies) | accuracy_arrays(moments, tallies, answers, images)
        arrays |= units_over_training(specimen, images, names, moments, [top for top, _ in tallies], self.units, self.size)
        for place in range(-max(specimen.twin_count, 1), len(moments)):
            discard_tally(pace, self._key(specimen, images, place))
        every = all_pairs_fit(specimen, names, len(images))
        return Measurement(
            arrays, {"unmeasured": reasons_not_measured(specimen, self.at, names), "all_pairs": every, "broken": broken}
        )

    def _where_broken(self, specimen: Specimen, moment: Checkpoint, images: Images) -> str:
        """Where values that are not finite begin at a checkpoint, on the first images that show it."""
        network = load_checkpoint(specimen, moment)
        for batch in batches(network, images, Pace()):
            lost = ~finite_rows(network.pick(network.run(batch.x)))
            if bool(lost.any()):
                return where_broken(network.net, batch.x[lost])
        return "in some batches only"

    def _key(self, specimen: Specimen, images: Images, place: int) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), str(place)]

    def _see_checkpoint(
        self, specimen: Specimen, images: Images, names: Sequence[str], answers: Values | None, pace: Pace, place: int
    ) -> Bundle:
        """Per layer U-centred Gram matrices (over all images, or rows of those of a batch) and the strongest place of every unit."""
        rows, top, pairs = Rows(), Top(1), ImagePairs()
        every = all_pairs_fit(specimen, names, len(images))

        def visit(batch: Batch) -> None:
            features: dict[str, BatchFeatures] = {}
            columns: dict[str, Values] = {}

            def look(name: str, value: Any) -> None:
                if name in features or name in columns:  # of a layer that runs more than once the first is its own
                    return
                if every:
                    features[name] = flat_features(value)
                else:
                    columns[name] = _padded_gram(value, pace.batch)
                top.add(name, batch.index, *strongest_activations(specimen.layer(name), value, 1))

            with watch(specimen, names, each=look):
                scores = specimen.pick(specimen.run(batch.x))
            sound = finite_rows(scores).cpu().numpy()
            right = np.full(len(batch.index), np.nan)
            if answers is not None:
                wanted = answers[batch.index]
                predicted = specimen.class_scores(scores).flatten(1).argmax(1).cpu().numpy()
                right = np.where(wanted >= 0, (predicted == wanted) & sound, np.nan)
            if every:
                pairs.add(batch.rank, batch.total, features)
            rows.add(batch.index, columns | {"batch": np.full(len(batch.index), batch.number), "right": right, "sound": sound})

        tally = Bundle({"rows": rows, "top": top, "pairs": pairs})
        scan_batches(specimen, images, tally, pace, visit, what=specimen.name, key=self._key(specimen, images, place))
        return tally

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        travel = finding["travel"]
        known = np.flatnonzero(np.isfinite(travel.values))
        jump, layers = finding["last_jump"], travel.layer.values
        numbers = [KeyNumber(name="rank correlation of depth and distance to the end", value=float(finding["depth_rank"]))]
        if len(known):
            last = int(known[np.argmax(travel.values[known])])
            numbers.append(
                KeyNumber(
                    name="largest mean distance to the end",
                    value=float(travel.values[last]),
                    unit=FRACTION,
                    at=str(layers[last]),
                )
            )
        numbers.append(
            KeyNumber(
                name="strongest image changed in the last step", value=float(jump.values[-1]), unit=FRACTION,
                baseline=float(finding["chance_last_jump"].values[-1]), baseline_name="units paired by chance", at=str(layers[-1]),
            )
        )  # fmt: skip
        if "accuracy" in finding:
            value, low, high, chance = (
                float(finding[name].values[-1]) for name in ("accuracy", "accuracy_low", "accuracy_high", "chance")
            )
            numbers.append(
                KeyNumber(name="top-1 accuracy at the end", value=value, unit=FRACTION, low=low, high=high, has_interval=True,
                          baseline=chance,
                          baseline_name="most frequent class", better="higher")
            )  # fmt: skip
        return [*numbers, KeyNumber(name="checkpoints", value=finding["drift"].sizes["checkpoint"])]

    def headline(self, finding: Finding) -> str:
        layers, moments = finding["share"].layer.values, [str(name) for name in finding["share"].checkpoint.values]
        settled_at = finding["settled_at"].values
        known = np.flatnonzero(settled_at >= 0)
        if not (finding["drift"].values > 0).any():
            return f"No layer changes over {len(moments)} checkpoints."
        if not len(known) and not twin_count(finding.origin):
            return f"Over {len(moments)} checkpoints, no layer has a known time: untrained twins were not measured."
        if not len(known):
            return f"Over {len(moments)} checkpoints, every layer stays as close to the end as an untrained twin."
        first, last = known[np.argmin(settled_at[known])], known[len(known) - 1 - np.argmax(settled_at[known][::-1])]
        soonest, latest = moments[int(settled_at[first])], moments[int(settled_at[last])]
        if soonest == latest:
            subject = "The only layer" if len(known) == 1 else f"All {len(known)} layers"
            verb = agree(len(known), "settles", "settle")
            return f"{subject} with a known time {verb} at {latest} of {len(moments)} checkpoints."
        return f"Over {len(moments)} checkpoints, {layers[first]} settles first ({soonest}) and {layers[last]} last ({latest})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [
            Curve(
                title="Distance of each layer to its end", y=("drift",), x="checkpoint", by="layer",
                note="1 − CKA with the last checkpoint, whole features on the same images.",
            ),
            Curve(
                title="Distance to the end, as a fraction of the untrained twin's", y=("share",), x="checkpoint", by="layer",
                note=f"100%: as far from the end as the untrained twin. Without layers whose twin is within {MIN_DISTANCE} of it.",
            ),
            Curve(
                title="From one checkpoint to the next", y=("step",), x="pair", by="layer",
                note="1 − CKA between neighbours. 0: the same features up to rotation and scale.",
            ),
            Curve(
                title="Units whose strongest image changes", y=("jump",), x="pair", by="layer",
                note="Sudden jumps, as in figure 4 of Zeiler & Fergus.",
            ),
        ]  # fmt: skip
        if "accuracy" in finding:
            panels.append(
                Curve(title="Accuracy of the head", y=("accuracy",), x="checkpoint", low="accuracy_low", high="accuracy_high",
                      null=("chance",), note="95% exact interval (Clopper-Pearson). Dashed: always predicting the most frequent class.")
            )  # fmt: skip
        for rule in finding["rectifiers"]:
            layer = str(rule.part.values)
            back = "the plain gradient" if float(rule) == 0 else "projected back by the deconvnet rule"
            panels.append(
                Grid(
                    title=f"Strongest patch over training, {layer}", z=f"pair/{layer}", across="checkpoint", down="unit",
                    note=f"The unit's strongest patch at that checkpoint, and the same {back} with the weights of that checkpoint.",
                )
            )  # fmt: skip
        columns = ("settled", "travel", "twin_drift", "last_jump", "chance_last_jump")
        return [*panels, Table(title="Layer by layer", rows="layer", columns=columns)]

    def caveats(self, finding: Finding) -> Sequence[str]:
        near = [str(name) for name in finding["twin_drift"].layer.values[finding["twin_drift"].values < MIN_DISTANCE]]
        lines = [
            "Every distance to the end is zero at the end by construction; only which layer falls first is a result.",
            "Times are checkpoints: nothing is known between two of them, and the last one may not be the end of learning.",
            "The strongest image is one extreme: it may jump between two images with nearly equal responses.",
            "Only the architecture of the specimen is used; its own weights count only where they are among the files.",
        ]
        if unknown := finding["rectifiers"].part.values[np.isnan(finding["rectifiers"].values)].tolist():
            lines.append(f"Projections of {', '.join(unknown)} are missing: rectifiers on the way could not be followed.")
        lines.append("Projections reproduce the edges of the image even from random weights; see the limitations of deconvnet.")
        count, layers = int(finding.origin["images"]["count"]), int(np.isfinite(finding["travel"].values).sum())
        if near:
            lines.append(
                f"Even random weights give features like those of the end in {', '.join(near)} (1 − CKA below {MIN_DISTANCE}), so no "
                "time is given for them."
            )
        if layers < 6:
            lines.append(f"A rank correlation over {plural(layers, 'layer')} is easily large by chance.")
        if count < MIN_IMAGES:
            lines.append(
                f"Only {plural(count, 'image')}: distances have no interval below {MIN_IMAGES}, and the strongest image rarely changes."
            )
        if not finding.facts["all_pairs"]:
            lines.append("CKA compares only images of one batch, since the features of all do not fit into memory.")
        lines += [
            f"At {moment} the output is NaN or infinite for {text}; such images count as wrong."
            for moment, text in finding.facts["broken"].items()
        ]
        broken = [str(name) for name in finding["drift"].checkpoint.values[np.isnan(finding["drift"].values).all(axis=0)]]
        if broken:
            lines.append(f"At {', '.join(broken)} no layer has finite features that vary, so nothing is known there.")
        return lines


def _padded_gram(value: Any, size: int) -> Values:
    """Rows of the U-centred Gram matrix of a batch, with zeros up to `size`; all zero for too few images to have one."""
    centered = np.zeros((len(value), size))
    if len(value) >= MIN_COUNT:
        centered[:, : len(value)] = u_centered(gram_matrix(value)).numpy()
    return centered


def _target_outputs(specimen: Specimen, images: Images) -> Values | None:
    """The right output for each image (image,), -1 where unknown; None where the head does not name the images' classes."""
    if images.labels is None or specimen.outputs is None or why_no_head(specimen):
        return None
    try:
        return match_classes(specimen, images, specimen.outputs).targets(np.asarray(images.labels))
    except Unmeasurable:
        return None
