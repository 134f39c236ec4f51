"""Class activation maps from shallow to deep layers, checked against untrained twins.

A map weights what each unit of a layer gives at each position by its importance for the class score, and shows the positive part; the
kinds (`--kind`) differ in how that importance is found. Some map the pixels instead; their one layer is called `input`. Maps are raw
(not rescaled to 0..1), and their positions are drawn where they lie in the image. Two checks come with them: does the map change with
the class, and do untrained twins, or an edge detector, give the same map? If so, the map shows nothing that was learnt. Each image is
shown to one twin, in turn. With six images or more the kind is also compared with maps that know nothing of the network
(docs/analyses/faithfulness.md); where it is no better than one of them, the maps carry a warning. `--kind best` takes the most faithful
kind. `--kinds` draws further kinds beside it, of the same images, layers and targets, with their verdicts; key numbers, checks and
untrained twins are those of `--kind` alone.

Three kinds of network can be asked. A classifier: for the predicted class, the label's, or any of `classes`. A segmentation network:
for the sum of a class's scores over the region where that class is predicted (`target` label: over the object's mask); without
`classes` the class predicted at most positions, the background last. A network of features, or any other: with `target` embedding, for the
cosine similarity between the embedding of the image and a `reference`, which is an image, or the mean embedding of several or of a class
(an image is left out of its own reference). The embedding is the output, or the input of the head where the outputs are known classes; of
maps the mean over positions.

Source: of each kind, see its own text; sanity checks, Adebayo et al. 2018, arXiv:1810.03292; energy in the
mask, Wang et al. 2020, arXiv:1910.01279, sec. 4.3; scores over a region, Vinogradova et al. 2020, arXiv:2002.11434; similarity of
embeddings, Chen et al. 2020, arXiv:2001.06538. Which rival each is compared with is ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import nan
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.cam.arrays import BatchMaps, place_remark, to_arrays
from microtome.analyses.cam.faithful_kind import (
    best_kind_refusal,
    digest_of_kinds,
    evidence_headline,
    kind_to_show,
    trust_caveats,
)
from microtome.analyses.cam.kinds import fuse_parts, grid_note, kind_facts, map_caveats
from microtome.analyses.cam.method_panel import (
    beside_arrays,
    beside_caveats,
    beside_facts,
    methods_panel,
    reason_unmeasured,
    verdict_arrays,
)
from microtome.analyses.cam.questions import class_targets, embedding_target, file_digest, reason_for_no_target
from microtome.analyses.cam.side_by_side import MapPlan, maps_beside, maps_of_first
from microtome.analyses.cam.targets import BatchAnswer, EmbeddingSimilarity, MapTarget
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.attribution import (
    INPUT,
    MapKind,
    VisibleLayers,
    kind_refusal,
    map_kind,
    target_maps,
)
from microtome.instruments.faithfulness.kind_choice import is_cheap, named_kinds
from microtome.instruments.faithfulness.trust import (
    BEST,
    IMAGES,
    NOT_TRIED,
    images_to_compare,
    kinds_in_question,
    trust_forward,
    trust_of_kinds,
)
from microtome.instruments.shown_images import choose_images
from microtome.instruments.untrained_twins import turn_count, twins_in_turn, twins_text
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.panels import Bars, Overlay, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

LAYERS = "shallow,middle,deep,last3"
TABLE = ("label", "predicted", "similarity", "probability", "region", "target", "runner_up", "gap")  # columns, where they exist


@final
class Cam(Analysis):
    """Class activation maps of several layers, with two sanity checks."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Class activation maps"
    rank: ClassVar[int] = 4
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 7  # 7: several kinds side by side
    with_twin: ClassVar[bool] = True

    at: tuple[str, ...] = option(LAYERS, "layers to map: names, globs or aliases")
    kind: str = option(
        "gradcam", "kind of map, of layers or of the pixels; best: the most faithful one here", map_kind=True, further=("best",)
    )
    kinds: tuple[str, ...] = option((), "further kinds, drawn beside it on the same images: names, cheap or all")
    target: Literal["predicted", "label", "embedding"] = option(
        "predicted", "what the maps are for: the class of each image (or `classes`), or similarity to `reference`"
    )
    reference: tuple[str, ...] = option(
        (), "for target embedding: images by file, name or index, averaged; or class:NAME, the mean of a class"
    )
    classes: tuple[str, ...] = option((), "target classes, by name or output number; empty: the `target` of each image")
    only: tuple[str, ...] = option(
        (), "images to show, by name or index; empty: spread over object size and clutter, or evenly"
    )
    place: Literal["arithmetic", "even"] = option(
        "arithmetic", "location of map positions: from kernels, strides and padding, or evenly tiled"
    )
    gaussian_width: float = option(1.0, "for kind gaussian: σ of a position, in effective receptive fields", low=0.05, high=4.0)
    fuse: bool = option(False, "add the mean of the shallow, middle and deep maps, each with equal say")
    count: int = option(6, "number of images shown", low=1, high=200, quick=3, full=12)
    grid: int = option(7, "side of the common grid on which layers are compared, positions", low=2, high=64)

    def __post_init__(self) -> None:
        super().__post_init__()
        named_kinds(self.kinds)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images):
            return reason
        assert images is not None  # or it was lacking
        layers = ",".join(self.at)
        if self.kind == BEST:
            reason = best_kind_refusal(specimen, images, self.target)
        else:
            reason = kind_refusal(self.kind, layers="" if layers == LAYERS else layers, target=self.target, fuse=self.fuse)
        if reason:
            return reason
        return reason_for_no_target(specimen, images, self.target, self.classes, self.reference)

    def extra_key(self) -> str:
        return file_digest(self.reference) + digest_of_kinds(self.kind, *named_kinds(self.kinds))

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        kinds = kinds_in_question(self.kind)
        further = self._further(self.kind)
        drawn = max(1, len(self.classes)) * shown * sum(map_kind(name).copies for name in further)
        backward = 4.0 * shown * max(map_kind(name).copies for name in kinds) + 2.0 * drawn
        compared = trust_forward(images, kinds, IMAGES if self.kind == BEST else images_to_compare(self.count))
        if self.target != "embedding":
            cheap = [name for name in further if is_cheap(map_kind(name))]
            compared += trust_forward(images, cheap, images_to_compare(self.count)) if cheap else 0.0
        return Workload(forward=8.0 + compared, backward=backward, twins=min(specimen.twin_count, shown), seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        places = choose_images(self.name(), specimen, images, self.only, self.count)
        taken = images.take(places)
        twins = turn_count(specimen, len(taken))
        if self.target == "embedding":
            networks = [specimen, *(twin for _, twin, _ in twins_in_turn(specimen, images, len(taken)))]
            targets: list[MapTarget] = [embedding_target(networks, images, places, self.reference, pace)]
        else:
            targets = class_targets(specimen, taken, self.target, self.classes)
        parts: list[BatchMaps] = []
        compared = images_to_compare(self.count)
        name, choice, trust = kind_to_show(
            specimen, images, self.kind, self.target, pace, at=self._wanted_layers, count=compared
        )
        kind, plan = map_kind(name), MapPlan(self.at, self.place, self.gaussian_width, self.fuse)
        shown: VisibleLayers | None = None
        widths: dict[str, str] = {}
        for batch in batches(specimen, taken, pace):
            if shown is None:
                shown, widths = plan.layers(specimen, batch, targets[0], kind)
            for target in targets:
                turns = twins_in_turn(specimen, images, len(taken), batch.index)
                parts.append(_attribute_batch(specimen, turns, shown, batch, target, kind, pace))
            pace.listener(Step(f"{specimen.name}: maps", int(batch.index[-1]) + 1, len(taken), 0.0))
        assert shown is not None  # `take` refuses an empty choice
        if self.fuse:
            shown, parts = fuse_parts(specimen, shown, parts, specimen.recipe.size)
        remarks = {name: remark for name in shown.names if (remark := place_remark(shown, name, specimen.recipe.size))}
        arrays = to_arrays(specimen, taken, shown, parts, self.grid, targets[0].rival, twins)
        facts = {
            "dropped": dict(shown.dropped),
            "placing": remarks,
            "rival": targets[0].rival,
            "noun": targets[0].noun,
            "twins": twins,
        }
        facts |= kind_facts(specimen, kind, name, parts, shown) | {"widths": widths, "choice": choice, "trust": trust}
        first = maps_of_first(name, shown, parts, len(targets))
        more, refused = maps_beside(specimen, taken, self._further(name), targets, plan, pace, target=self.target)
        trusts = {name: trust} | self._trusts(specimen, images, [own.name for own in more], pace)
        arrays |= verdict_arrays(trusts, reason_unmeasured(images, self.target))
        arrays |= beside_arrays(specimen, taken, [first, *more], targets, arrays) if more else {}
        facts |= beside_facts(specimen, [first, *more], refused, trusts)
        if isinstance(targets[0], EmbeddingSimilarity):
            facts["embedding"] = f"input of {targets[0].head}" if targets[0].head else "output"
        return Measurement(arrays, facts)

    def _further(self, name: str) -> list[str]:
        """The kinds beside that of this name."""
        return [each for each in named_kinds(self.kinds) if each != name]

    def _trusts(self, specimen: Specimen, images: Images, names: Sequence[str], pace: Pace) -> dict[str, dict[str, Any]]:
        """What is known of the faithfulness of these kinds."""
        if self.target == "embedding":
            return dict.fromkeys(names, NOT_TRIED)
        return trust_of_kinds(specimen, images, names, pace, images_to_compare(self.count))

    @property
    def _wanted_layers(self) -> tuple[str, ...]:
        """The layers that kind best has to map; none where it may map anything."""
        return self.at if ",".join(self.at) != LAYERS or self.fuse else ()

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        deep = str(finding["heat"].coords["layer"].values[-1])

        def of(name: str) -> float:
            return float(finding[name].sel(layer=deep))

        half = finding["coverage50"].sel(layer=deep).values
        median = nan if np.isnan(half).all() else float(np.nanmedian(half))
        numbers = [
            KeyNumber(
                name="area of half the evidence",
                value=median,
                unit=FRACTION,
                baseline=0.5,
                baseline_name="an even map",
                at=deep,
            ),
            KeyNumber(
                name=f"rank correlation with the {finding.facts['rival']}",
                value=of("class_correlation"),
                better="lower",
                at=deep,
            ),
            KeyNumber(name="rank correlation with random weights", value=of("twin_correlation"), better="lower", at=deep),
            KeyNumber(name="maps", value=finding["image"].sizes["image"]),
        ]
        if "energy" not in finding:
            return numbers
        inside = KeyNumber(
            name="energy-based pointing game",
            value=of("energy"),
            unit=FRACTION,
            baseline=of("twin_energy"),
            baseline_name=twins_text(finding.facts["twins"]),
            better="higher",
            at=deep,
        )
        return [inside, KeyNumber(name="object area", value=of("mean_area"), unit=FRACTION), *numbers]

    def headline(self, finding: Finding) -> str:
        return evidence_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        mask = "mask" if "mask" in finding else ""
        own = "Each map has its own colour scale." + (" The outline is the object's mask." if mask else "")
        own = f"{finding.facts['kind_text']} {own} {finding.facts['trust']['warning']}".rstrip()
        panels: list[Panel] = [beside] if (beside := methods_panel(finding)) else []
        panels.append(Overlay(
            title="Where the evidence lies", note=own, base="image", heat="smooth", across="layer", mask=mask, standing="standing",
            about="about",
        ))  # fmt: skip
        if mask:
            energy = Bars(title="Energy on the object", y=("energy",), x="layer", null=("twin_energy", "mean_area"))
            panels.append(replace(energy, note="Grey: the untrained twins, and an even map."))
        columns = tuple(name for name in TABLE if name in finding)
        title = "Similarity to the reference" if "similarity" in finding else "Target classes"
        panels.append(Table(title=title, rows="image", columns=columns))
        panels.append(
            Bars(
                title=f"Does the map depend on {finding.facts['noun'].replace('target ', '')} and on training?",
                note=f"Rank correlation with the map of the {finding.facts['rival']}, with the map of random weights and with edges; near "
                "1 the map depends on neither.",
                y=("class_correlation", "twin_correlation", "edge_correlation"),
                x="layer",
            )
        )
        for layer in finding["heat"].coords["layer"].values:
            if layer == INPUT:  # the first panel shows every pixel
                continue
            note = grid_note(finding, str(layer))
            heat, extent = f"heat/{layer}", f"extent/{layer}"
            panels.append(Overlay(
                title=f"{layer} on its own grid", note=note, base="image", heat=heat, mask=mask, extent=extent, standing="standing",
                about="about",
            ))  # fmt: skip
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        caveats = trust_caveats(finding) + beside_caveats(finding)
        caveats += [f"Left out {name}: {reason}." for name, reason in finding.facts["dropped"].items()]
        caveats += map_caveats(finding)
        caveats += [f"{name}: {remark}" for name, remark in finding.facts["placing"].items()]
        empty = finding["empty"]
        for layer in empty.coords["layer"].values:
            if number := int(empty.sel(layer=layer).sum()):
                caveats.append(
                    f"{layer}: {number} of {empty.sizes['image']} maps are empty: all evidence is against {finding.facts['noun']}, or "
                    "nothing was asked of the image."
                )
        caveats += _target_caveats(finding)
        if finding.trained is False:
            caveats.append("These weights are untrained: the maps show the architecture, not what was learnt.")
        return caveats


def _attribute_batch(
    specimen: Specimen,
    turns: Iterable[tuple[int, Specimen, np.ndarray[Any, Any]]],
    shown: VisibleLayers,
    batch: Batch,
    target: MapTarget,
    kind: MapKind,
    pace: Pace,
) -> BatchMaps:
    """Maps of the target, of its rival, and for the same target of the untrained twins, each for the rows of its turn."""
    answers: list[BatchAnswer] = []

    def values(output: Tensor) -> Sequence[Tensor]:
        answers.append(target.ask(output, batch))
        return answers[0].values

    def again(output: Tensor) -> Sequence[Tensor]:
        return answers[0].again(output)

    names, where, memory = shown.names, shown.where, pace.memory
    own = target_maps(specimen, names, batch.x, target.read, values, kind, again=again, where=where, memory=memory)
    maps, other = ({name: value.cpu() for name, value in each.items()} for each in own.maps)
    null = dict(maps)  # a stand-in where there are no twins: `Analysis.conclude` takes out what bears their name
    for number, twin, rows in turns:
        if null[names[0]] is maps[names[0]]:
            null = {name: torch.full_like(value, torch.nan) for name, value in maps.items()}
        index = torch.from_numpy(rows)

        def of_twin(output: Tensor, index: Tensor = index, number: int = number) -> Sequence[Tensor]:
            return [answers[0].of_twin(output, index, number)]

        (random,) = target_maps(twin, names, batch.x[index], target.read, of_twin, kind, where=where, memory=memory).maps
        for name, value in random.items():
            null[name][index] = value.cpu()
    gaps = {} if own.gaps is None else {"gap": own.gaps[0].cpu().numpy()}
    return BatchMaps(batch.index, batch.pixels, {**answers[0].columns, **gaps}, maps, other, null, remarks=own.remarks)


def _target_caveats(finding: Finding) -> list[str]:
    """What limits the targets: unlikely classes, regions without a position, images that are their own reference."""
    if "similarity" in finding:
        itself = int(np.isnan(finding["similarity"].values).sum())
        own = [f"{plural(itself, 'image')} shown has no map: it is the whole reference."] if itself else []
        return [
            *own,
            f"The embedding is the {finding.facts['embedding']}; similarity names no class: what the images share may be their background.",
        ]
    probability = finding["probability"].values
    caveats: list[str] = []
    if absent := int(np.isnan(probability).sum()):
        caveats.append(
            f"In {absent} of {plural(len(probability), 'map')} the region of the target class has no position, so the map is empty."
        )
    if low := int((probability < 0.5).sum()):
        caveats.append(f"In {low} of {plural(len(probability), 'map')} the target class has a probability below one half.")
    return caveats
