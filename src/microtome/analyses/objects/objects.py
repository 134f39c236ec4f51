"""Accuracy and localisation by the size of the object and the clutter around it.

The localisation lift is the fraction of the class evidence (a class activation map, `--kind`) on the object minus the fraction of the
image that the object covers. An even map has a lift of 0 at every size, so a large object is no advantage by itself. All maps are
compared on one common grid. A blob in the centre of the image and untrained twins are scored in the same way: what they reach is not due to
training. With six images or more the kind is also compared with maps that know nothing of the network
(docs/analyses/faithfulness.md); where it is no better there is a warning, and `--kind best` takes the most faithful kind. Of 64 images
each is shown to one twin, in turn; the lift is above the twins where its interval is above what each of them reaches.

Source: energy-based pointing game, Wang et al. 2020, arXiv:1910.01279, sec. 4.3; pointing game, Zhang et al. 2016,
arXiv:1608.00507; best threshold, Choe et al. 2020, arXiv:2001.07437; maps, docs/class_maps.md.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.objects.arrays import merge_columns, object_arrays
from microtome.analyses.objects.wording import object_caveats, object_headline, object_key_numbers
from microtome.analysis import Analysis, Measurement, Needs, option, twin_indices
from microtome.errors import Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.attribution import (
    MapKind,
    VisibleLayers,
    attribution_maps,
    coarsest_layer,
    kind_caveats,
    kind_digest,
    kind_refusal,
    map_kind,
    place_cells,
    visible_layers,
)
from microtome.instruments.attribution.drawing import resample_positive
from microtome.instruments.attribution.gaussian_widths import with_gaussians
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.faithfulness.trust import (
    BEST,
    best_refusal,
    kinds_in_question,
    most_faithful_kind,
    trust_facts,
    trust_forward,
)
from microtome.instruments.shown_images import first_images
from microtome.instruments.untrained_twins import reason_for_no_verdict, twins_in_turn
from microtome.key_numbers import KeyNumber
from microtome.numerics.maps.localisation import localisation_scores
from microtome.numerics.maps.strata import clutter_fraction
from microtome.panels import Bars, Heat, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.tally import Rows
from microtome.workload import Effort, Workload

LAYER = "deep"
POINTING_TOLERANCE = 15 / 224  # distance of the maximum from the object, as a fraction of the shorter side


@final
class Objects(Analysis):
    """Localisation lift and accuracy by object size and clutter."""

    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "choose"
    title: ClassVar[str] = "Objects: size and clutter"
    rank: ClassVar[int] = 5
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 7  # 7: coverage of each image
    with_twin: ClassVar[bool] = True

    at: str = option(LAYER, "layer whose maps are scored; the coarsest of several")
    kind: str = option(
        "gradcam", "kind of map, of layers or of the pixels; best: the most faithful one here", map_kind=True, further=("best",)
    )
    target: Literal["label", "predicted"] = option("label", "class whose evidence is mapped")
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "location of map positions: from kernels, strides and padding, or evenly tiled"
    )
    grid: int = option(7, "side of the common grid on which maps are scored, positions", low=2, high=64)
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        layers = "" if self.at == LAYER else self.at
        return (
            Analysis.refusal(self, specimen, images)
            or why_no_scores(specimen, images)
            or (best_refusal(specimen, images) if self.kind == BEST else kind_refusal(self.kind, layers=layers))
        )

    def extra_key(self) -> str:
        return "".join(map(kind_digest, kinds_in_question(self.kind)))

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        kinds = kinds_in_question(self.kind)
        backward = 2.0 * len(images or ()) * max(map_kind(name).copies for name in kinds)
        return Workload(forward=8.0 + trust_forward(images, kinds), backward=backward, twins=specimen.twin_count)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        marked = images.take(np.flatnonzero(images.has_mask))
        answers, how = _target_outputs(specimen, marked)
        asked, choice = self.kind, ""
        if asked == BEST:
            best = most_faithful_kind(specimen, images, pace, at=() if self.at == LAYER else (self.at,))
            asked, choice = best.kind, best.reason
        x, kind = first_images(specimen, marked), map_kind(asked)
        shown = place_cells(visible_layers(specimen, [self.at], x, kind=kind), self.place, specimen.recipe.size)
        shown = with_gaussians(specimen, shown, x, 1.0)[0] if kind.gaussian else shown
        name = coarsest_layer(shown)
        own = self._rows(specimen, marked, answers, shown, name, kind, pace, "own")
        shown_to_twins = set(twin_indices(specimen, marked))
        watched = np.array([place for place in marked.content_order() if place in shown_to_twins])  # turns do not hang on names
        twins: list[tuple[Rows, np.ndarray[Any, Any]]] = []
        runs = [(specimen, marked, "own")]
        for _, twin, turn in twins_in_turn(specimen, images, len(watched)):
            places = watched[turn]
            runs.append((twin, marked.take(places), f"untrained twin {len(runs)}"))
            twins.append((self._rows(*runs[-1][:2], answers[places], shown, name, kind, pace, runs[-1][2]), places))
        columns = merge_columns(own, twins)
        known = marked.facts("clutter")
        if known is not None and not np.isnan(known).any():
            columns["clutter"] = known
        arrays, counts = object_arrays(columns, self.seed, reason_for_no_verdict(specimen, images))
        for network, seen, run in runs:
            discard_tally(pace, self._key(network, seen, kind, run))
        facts = {"layer": name, "labels": how, "target": self._asked_class(how), "boxes": str(marked.mask_kind)}
        facts |= {"kind": kind.title, "depends_on_class": kind.depends_on_class, "signed": kind.signed}
        facts |= {"choice": choice, "trust": trust_facts(specimen, images, asked, pace)}
        counts |= {"unmarked": len(images) - len(marked), "twins": len(twins)}
        return Measurement(arrays, facts | counts | {"map_grid": list(shown.where[name].counts)})

    def _asked_class(self, how: str) -> str:
        return self.target if how or self.target == "predicted" else "predicted"

    def _key(self, specimen: Specimen, images: Images, kind: MapKind, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), kind.title, run]

    def _rows(
        self,
        specimen: Specimen,
        images: Images,
        answers: np.ndarray[Any, Any],
        shown: VisibleLayers,
        name: str,
        kind: MapKind,
        pace: Pace,
        run: str,
    ) -> Rows:
        """One row of numbers for each image, kept while unfinished."""
        rows = Rows()
        by_label = self.target == "label"

        def visit(batch: Batch) -> None:
            wanted = torch.from_numpy(answers[batch.index]).to(batch.x.device)

            def targets(scores: Tensor) -> list[Tensor]:
                best = scores.argmax(1)
                return [torch.where(wanted >= 0, wanted, best) if by_label else best]

            scores, (maps,) = attribution_maps(specimen, [name], batch.x, targets, kind, where=shown.where, memory=pace.memory)
            size = (int(batch.x.shape[2]), int(batch.x.shape[3]))
            heat = resample_positive(shown, name, maps[name], size, (self.grid, self.grid)).cpu()
            masks = images.masks(specimen.recipe, batch.index)
            scored = localisation_scores(heat, torch.from_numpy(masks), POINTING_TOLERANCE * min(size))
            judged = _judge_batch(scores.cpu(), answers[batch.index], batch.pixels, masks)
            rows.add(batch.index, {name: values.numpy() for name, values in scored.items()} | judged)

        what = f"{specimen.name}: objects" + ("" if run == "own" else f" of {run}")
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, kind, run))
        return rows

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return object_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return object_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        scored = not np.isnan(finding["accuracy"].values).all()
        warning = f" {finding.facts['trust']['warning']}".rstrip()
        note = f"{finding.facts['kind']}. Grey: a blob in the centre of the image, and the untrained twins. An even map has a lift of 0."
        note += warning
        panels: list[Panel] = []
        for dim in ("size", "clutter"):
            panels.append(Bars(
                title=f"Localisation by {dim}", note=note, y=(f"lift_by_{dim}",), x=dim, low=f"lift_by_{dim}_low",
                high=f"lift_by_{dim}_high", null=(f"centre_lift_by_{dim}", f"twin_lift_by_{dim}"),
            ))  # fmt: skip
            if scored:
                panels.append(Bars(
                    title=f"Accuracy by {dim}", y=(f"accuracy_by_{dim}",), x=dim, low=f"accuracy_by_{dim}_low",
                    high=f"accuracy_by_{dim}_high", note="Bars: 95% exact interval (Clopper-Pearson).",
                ))  # fmt: skip
        panels.append(Heat(title="Localisation by size and clutter", z="lift", scale="diverging"))
        if scored:
            panels.append(Heat(title="Accuracy by size and clutter", z="accuracy", low=0.0, high=1.0))
        panels.append(Table(title="Over all images", rows="measure", columns=("overall", "overall_low", "overall_high")))
        panels.append(Table(title="Trends", rows="pair", columns=("slope", "slope_low", "slope_high")))
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        facts = finding.facts
        own = [facts["trust"]["doubt"]] if facts["trust"]["doubt"] else []
        own += [f"Kind best: {facts['kind']}, {facts['choice']}."] if facts["choice"] else []
        own += kind_caveats(str(facts["kind"]), depends_on_class=facts["depends_on_class"], signed=facts["signed"])
        return [*own, *object_caveats(finding)]


def _target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The right output of each image (-1 unknown), and how classes were matched; an empty text where they do not match."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None:
        return unknown, ""
    try:
        match = match_classes(specimen, images, int(specimen.outputs or 0))
    except Unmeasurable:  # a caveat says so: localisation can still be measured
        return unknown, ""
    return match.targets(images.labels), match.how


def _judge_batch(scores: Tensor, answers: np.ndarray[Any, Any], pixels: Any, masks: Any) -> dict[str, Any]:
    right = (scores.argmax(1).numpy() == answers).astype(np.float64)
    return {"correct": np.where(answers >= 0, right, np.nan), "clutter": clutter_fraction(pixels, masks)}
