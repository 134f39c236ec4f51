"""How features settle while a network learns, layer by layer, over checkpoints of one training.

For every layer: how far its features at each checkpoint are from those of the last one (one minus debiased CKA), how far from one
checkpoint to the next, in which share of its units the strongest picture is another one at the next checkpoint, and that picture's
patch with its projection back to the pixels. All distances to the end fall to zero there by construction, and early layers of
random networks are alike anyway, so each stands beside the distance of an untrained twin to the same end: "settled" is for good
within half of that. Where the head names the images' classes, its accuracy stands beside it.

The checkpoints are files of the specimen's architecture: a folder that `python -m microtome.training … --checkpoints` filled, or
one's own. Of the specimen only the architecture is used.

The half, and the quarter below which a layer is left out because its twin is that near to the end, were set while looking at one
training of mini_vgg, whose depth and mean distance to the end had a rank correlation of +0.90 over 5 layers. Left as they were, they
gave +0.89 over 7 layers of mini_resnet (seed 0; 0.006 by chance, were the layers' order random) and +1.00 over 5 of mini_vgg with
other first weights (seed 1; 0.008): lower layers come nearer to their end sooner there too. Each learnt from 2,500 scenes for 32 epochs
(`python -m microtome.training mini_resnet --epochs 32 --count 2500 --checkpoints`) and was measured on 240 others (`scenes:240,seed=2026`).
Three trainings of small networks on drawn scenes are no law.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1 and fig. 4 (features of lower layers settle first; sudden jumps of the
strongest image); CKA, Kornblith et al. 2019, arXiv:1905.00414. Measuring both, their nulls, and the limits are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np

from microtome.analyses.evolution.checkpoints import at_moment, digest, series
from microtome.analyses.evolution.summary import APART, Told, between, distances, jumped, scored
from microtome.analyses.evolution.units_over_training import portraits
from microtome.analysis import Analysis, Measurement, option
from microtome.errors import CheckpointError, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import matched
from microtome.instruments.layer_choice import mappable, unmeasured
from microtome.instruments.strongest_patches import peaks
from microtome.numerics.statistics.cka import gram, u_centered
from microtome.numerics.statistics.intervals import Interval
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen, first_tensor, watch
from microtome.tally import Bundle, Rows, Top

Values = np.ndarray[Any, Any]


@final
class Evolution(Analysis):
    """Features over a training."""

    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Features over training"
    revision: ClassVar[int] = 3

    checkpoints: str = option("", "weight files of one training: their folder, or a glob in quotes")
    at: tuple[str, ...] = option(("blocks",), "the layers to follow: names, globs or aliases")
    units: int = option(4, "units to show of each layer; the arrays of places hold all", low=1, high=4096)
    size: int = option(96, "px, the longest side that a patch is kept with", low=8, high=2048)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not self.checkpoints:
            return "it needs checkpoints of one training; name their folder, for example --checkpoints runs/mini_vgg"
        try:
            series(self.checkpoints)
        except CheckpointError as error:
            return str(error)
        return Analysis.refusal(self, specimen, images)

    def extra_key(self) -> str:
        return digest(series(self.checkpoints)) if self.checkpoints else ""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `unfit` has refused before
        if len(images) < 4:
            raise Unmeasurable(f"evolution needs at least 4 images and was given {len(images)}.")
        moments = series(self.checkpoints)
        names = mappable(specimen, self.at)
        answers = _answers(specimen, images)
        last = self._seen(at_moment(specimen, moments[-1]), images, names, answers, pace, len(moments) - 1)
        if not any(np.isfinite(last.rows("rows").column(name)).all() for name in names):
            raise Unmeasurable(
                f"the features of the last checkpoint, {moments[-1].path}, are not finite, so nothing leads there."
            )
        twin = self._seen(specimen.working_twin(), images, names, answers, pace, -1)
        null = [between(twin.rows("rows"), last.rows("rows"), name, pace.batch) for name in names]
        told: list[Told] = []
        to_end: list[list[Interval]] = []
        step: list[list[Interval]] = []
        before: Bundle | None = None
        for place, moment in enumerate(moments):
            ended = place == len(moments) - 1
            now = last if ended else self._seen(at_moment(specimen, moment), images, names, answers, pace, place)
            to_end.append([between(now.rows("rows"), last.rows("rows"), name, pace.batch) for name in names])
            if before is not None:
                step.append([between(before.rows("rows"), now.rows("rows"), name, pace.batch) for name in names])
            told.append((now.top("top"), now.rows("rows").column("right")))  # without the rows, which are long
            before = now
        found = distances(names, moments, to_end, step, null)
        found |= jumped(names, moments, told) | scored(moments, told, answers, images)
        found |= portraits(specimen, images, names, moments, [top for top, _ in told], self.units, self.size)
        found["count"] = array(len(images), (), "images")
        for place in range(-1, len(moments)):
            discard_tally(pace, self._key(specimen, images, place))
        return Measurement(found, {"unmeasured": unmeasured(specimen, self.at, names)})

    def _key(self, specimen: Specimen, images: Images, place: int) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), str(place)]

    def _seen(
        self, specimen: Specimen, images: Images, names: Sequence[str], answers: Values | None, pace: Pace, place: int
    ) -> Bundle:
        """Per layer the rows of U-centred Gram matrices (image, image of the batch) and the strongest place of every unit."""
        rows, top = Rows(), Top(1)

        def visit(batch: Batch) -> None:
            columns: dict[str, Values] = {}

            def look(name: str, value: Any) -> None:
                if name in columns:  # of a layer that runs more than once the first is its own
                    return
                centred = np.zeros((len(batch.index), pace.batch))
                if len(batch.index) >= 4:  # the unbiased estimate does not exist for fewer
                    centred[:, : len(batch.index)] = u_centered(gram(value.flatten(1) if value.dim() < 4 else value)).numpy()
                columns[name] = centred
                top.add(name, batch.index, *peaks(specimen.layer(name), value, 1))

            with watch(specimen, names, each=look):
                scores = first_tensor(specimen.run(batch.x))
            right = np.full(len(batch.index), np.nan)
            if answers is not None and scores is not None:
                wanted = answers[batch.index]
                right = np.where(wanted >= 0, scores.flatten(1).argmax(1).cpu().numpy() == wanted, np.nan)
            rows.add(batch.index, columns | {"right": right})

        tally = Bundle({"rows": rows, "top": top})
        scan_batches(specimen, images, tally, pace, visit, what=specimen.name, key=self._key(specimen, images, place))
        return tally

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = [
            Curve(
                title="How far each layer is from where it ends", y=("drift",), x="checkpoint", by="layer",
                note="1 − CKA with the last checkpoint, whole features on the same images.",
            ),
            Curve(
                title="The same, as a share of what random weights lie apart", y=("share",), x="checkpoint", by="layer",
                note=f"1: as far from the end as the untrained twin. Without layers whose twin is within {APART} of it.",
            ),
            Curve(
                title="From one checkpoint to the next", y=("step",), x="pair", by="layer",
                note="1 − CKA between neighbours. 0: the same features up to rotation and scale.",
            ),
            Curve(
                title="Units whose strongest picture is another one", y=("jump",), x="pair", by="layer",
                note="Sudden jumps, as in Zeiler & Fergus' figure 4.",
            ),
        ]  # fmt: skip
        if "accuracy" in found:
            shown.append(
                Curve(title="Accuracy of the head", y=("accuracy",), x="checkpoint", low="accuracy_low", high="accuracy_high",
                      null=("chance",), note="95 % Wilson interval. Dashed: always naming the most frequent class.")
            )  # fmt: skip
        for one in found["rectifiers"]:
            name = str(one.part.values)
            back = "the plain gradient" if float(one) == 0 else "projected back under the deconvnet rule"
            note = f"What the unit answers to most strongly at that moment, and the same {back} by the network of that moment."
            shown.append(
                Grid(
                    title=f"Strongest patch over training, {name}",
                    z=f"pair/{name}",
                    across="checkpoint",
                    down="unit",
                    note=note,
                )
            )
        shown.append(
            Table(
                title="Layer by layer",
                rows="layer",
                columns=("settled", "travel", "twin_drift", "last_jump", "chance_last_jump"),
            )
        )
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        names, moments = found["share"].layer.values, [str(one) for one in found["share"].checkpoint.values]
        where = found["settled_at"].values
        over = f"Over {len(moments)} checkpoints, {moments[0]} to {moments[-1]}"
        if not (found["drift"].values > 0).any():
            return f"{over}, no layer moves: every distance to the end is 0 or unknown."
        known = np.flatnonzero(where >= 0)
        if not len(known):
            return f"{over}, every layer is within {APART} of the end, as random weights are, so nothing is said of when it settles."
        first, last = known[np.argmin(where[known])], known[len(known) - 1 - np.argmax(where[known][::-1])]
        soonest, latest = moments[int(where[first])], moments[int(where[last])]
        if soonest == latest:
            settles = f"in all {len(known)} layers that can say it only at {latest}"
        else:
            settles = f"soonest in {names[first]} ({soonest}) and last in {names[last]} ({latest})"
        said = [f"{over}, features come for good within half the untrained twin's distance to the end {settles}"]
        rank = float(found["depth_rank"])
        if np.isfinite(rank):
            said.append(f"depth and mean distance to the end have a rank correlation of {rank:+.2f} over {len(known)} layers")
        jump = found["last_jump"].values
        if np.isfinite(jump[-1]):
            said.append(f"in the last step {jump[-1]:.0%} of the units of {names[-1]} still change their strongest picture")
        if "accuracy" in found:
            accuracy = found["accuracy"].values
            said.append(f"accuracy {100 * accuracy[0]:.1f} % to {100 * accuracy[-1]:.1f} %")
        return "; ".join(said) + "."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        near = [str(one) for one in found["twin_drift"].layer.values[found["twin_drift"].values < APART]]
        said = [
            "Every distance to the end is zero at the end; that it falls is no finding, which layer falls first is one.",
            "Settled is said in checkpoints: between two of them nothing is known, and the last one may not be the end of learning.",
            "The strongest picture is one extreme: it may jump between two pictures to which the unit answers nearly alike.",
            "Only the architecture of the specimen is used; its own weights are looked at where they are among the files.",
        ]
        if unseen := found["rectifiers"].part.values[np.isnan(found["rectifiers"].values)].tolist():
            said.append(f"The projections of {', '.join(unseen)} are missing: rectifiers on the way could not be followed.")
        said.append("Projections bring the picture's edges back even from random weights; see the doubts of deconvnet.")
        count, layers = int(found["count"]), int(np.isfinite(found["travel"].values).sum())
        if near:
            said.append(
                f"Even random weights give features like those of the end in {', '.join(near)} (1 − CKA below {APART}), so nothing "
                "is said of when they settle."
            )
        if layers < 6:
            said.append(f"A rank correlation over {layers} layers is easily large by chance.")
        if count < 64:
            said.append(f"Only {count} images: distances are uncertain, and the strongest of few pictures changes rarely.")
        broken = [str(one) for one in found["drift"].checkpoint.values[np.isnan(found["drift"].values).all(axis=0)]]
        if broken:
            said.append(f"At {', '.join(broken)} no layer has finite features that vary; nothing is known there.")
        return said


def _answers(specimen: Specimen, images: Images) -> Values | None:
    """The right output for each image (image,), -1 where unknown; None where the head does not name the images' classes."""
    if images.labels is None or specimen.outputs is None:
        return None
    try:
        return matched(specimen, images, specimen.outputs).wanted(np.asarray(images.labels))
    except Unmeasurable:
        return None
