"""Which maps can be trusted, against a random map, a centre blob and edges.

Each method maps the predicted class of the same images. The pixels of an image are removed in the order of its map, and put back into a
blurred image in that order. A map that shows what the network depends on makes the probability of the class fall early and
come back early: its score is the area under the insertion curve minus that under the deletion curve. Both curves share one fill, so that a
random order scores zero on average, whatever the fill does to the network. Pixels go in patches, so that fine and coarse maps
remove regions of the same size.

Three baselines go through the same code: a random map, a blob in the centre and an edge detector. Methods are ranked by the median over
images of the gain over the best baseline. A method is better than the baselines where the interval of its gain over each of them lies above
zero. Where its median gain over one of them is not positive, its maps carry a warning wherever they are shown.

Further measures: ROAD (removed pixels are imputed from their neighbours), average drop and increase in confidence, max-sensitivity to
tiny noise, the correlation with the map of the runner-up class, and with the maps of networks whose weights are drawn anew from
the head downwards; with masks the pointing game and the fraction of the energy on the object, less its area.

Source: deletion and insertion, Petsiuk et al. 2018, arXiv:1806.07421; ROAD, Rong et al. 2022, arXiv:2202.00449; average drop and
increase, Chattopadhyay et al. 2018, arXiv:1710.11063; max-sensitivity, Yeh et al. 2019, arXiv:1901.09392; randomisation and class swap,
Adebayo et al. 2018, arXiv:1810.03292; pointing game, Zhang et al. 2016, arXiv:1608.00507. The common fill, patches, baselines
and the rule of the ranking are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch

from microtome.analyses.faithfulness import wording
from microtome.analyses.faithfulness.arrays import faithfulness_arrays
from microtome.analyses.faithfulness.cascade import add_cascade, cascade_correlations
from microtome.analyses.faithfulness.measures import MethodRows, measure_maps
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.attribution import kind_digest, map_kind
from microtome.instruments.class_matching import why_no_scores
from microtome.instruments.faithfulness.kind_choice import is_cheap, named_kinds
from microtome.instruments.faithfulness.methods import BASELINES, MapMethod, map_methods
from microtome.instruments.faithfulness.ranking import Ranking, rank_methods
from microtome.instruments.faithfulness.removal_trials import ROAD_FRACTIONS, Floats, RemovalPlan, patch_side
from microtome.instruments.faithfulness.trials import prepare_trials, score_methods
from microtome.instruments.faithfulness.trust import standing_facts
from microtome.instruments.faithfulness.weight_cascade import CascadePart, cascade_parts
from microtome.instruments.shown_images import choose_images, first_images
from microtome.instruments.untrained_twins import turn_count, twins_in_turn
from microtome.key_numbers import KeyNumber
from microtome.map_kinds import layer_kind_names
from microtome.panels import Panel, Question
from microtome.scan import Pace, Step
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload


@final
class Faithfulness(Analysis):
    """A ranking of the kinds of map on one network."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Faithfulness of maps"
    rank: ClassVar[int] = 3  # before the analyses that show maps
    effort: ClassVar[Effort] = "full"  # those measure a small version themselves
    with_twin: ClassVar[bool] = True

    kinds: tuple[str, ...] = option(
        ("cheap",), "kinds of map to compare: names, cheap (few passes for a map), or all that are installed", full=("all",)
    )
    at: str = option("deep", "layer whose maps are compared; the coarsest of several")
    steps: int = option(8, "steps in which the pixels are removed", low=2, high=200, quick=5, full=20)
    colour: Literal["blur", "mean", "grey"] = option(
        "blur", "what replaces removed pixels: the blurred image (σ: a twelfth of the shorter side), its mean colour, mid-grey"
    )
    patch: int = option(
        0, "side of the patches that are removed, px; 0: 28 patches along the shorter side, 1: single pixels", low=0
    )
    repeats: int = option(2, "perturbed copies of each image for max-sensitivity", low=1, high=100, quick=1, full=10)
    cascade: int = option(4, "parts in which the weights are drawn anew, the head first", low=2, high=50, quick=3, full=8)
    only: tuple[str, ...] = option(
        (), "images to measure, by name or index; empty: spread over object size and clutter, or evenly"
    )
    count: int = option(12, "number of images; fewer than 6 give no verdict", low=1, high=1000, quick=6, full=24)
    seed: int = option(0, "seed of ties, of noise and of the weights drawn anew", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        named_kinds(self.kinds)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        return Analysis.refusal(self, specimen, images) or why_no_scores(specimen, images)

    def extra_key(self) -> str:
        kinds = named_kinds(self.kinds)
        return ",".join(kinds) + "".join(kind_digest(name) for name in kinds)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown, names = min(self.count, len(images or ())), named_kinds(self.kinds)
        cheap = [is_cheap(map_kind(name)) for name in names]
        kinds, drawn = len(names), sum(map_kind(name).copies for name in names)
        removals = 2 * (self.steps - 1) + 2 * len(ROAD_FRACTIONS) + 1
        return Workload(
            forward=shown * (removals * (kinds + len(BASELINES)) + 2 * self.steps * (1 + len(BASELINES))),
            backward=2.0 * shown * drawn + shown * sum(cheap) * (self.repeats + self.cascade),
            twins=min(specimen.twin_count, shown),
            seconds=0.1 * shown * (kinds + len(BASELINES)),
        )

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        parts = cascade_parts(specimen, self.cascade)
        taken = images.take(choose_images(self.name(), specimen, images, self.only, self.count))
        x = first_images(specimen, taken)
        methods, refused, layer = map_methods(specimen, named_kinds(self.kinds), self.at, x, pace.memory)
        plan = RemovalPlan(self.steps, patch_side(specimen.recipe.size, self.patch), self.colour, self.seed, pace.memory)
        rows, order = self._rows(specimen, taken, methods, parts, plan, pace)
        titles = {method.name: method.title for method in methods}
        scores = {name: own.column("score", order) for name, own in rows.items()}
        ranking = rank_methods(scores, tuple(BASELINES), titles)
        twin_scores = self._twin_scores(specimen, images, taken, methods, ranking, plan, pace)
        arrays = faithfulness_arrays(rows, order, ranking, titles, list(taken.names), parts, plan, twin_scores)
        layers = {name: layer for name in scores if name in layer_kind_names()}
        facts = {
            "standings": standing_facts(ranking, layers), "titles": titles, "best": ranking.best.name, "baseline": ranking.baseline,
            "layer": layer, "patch_px": plan.patch, "unmeasured": refused, "twins": turn_count(specimen, len(taken)),
            "parts": {part.lowest: len(part.tensors) for part in parts},
        }  # fmt: skip
        return Measurement(arrays, facts)

    def _rows(
        self,
        specimen: Specimen,
        taken: Images,
        methods: Sequence[MapMethod],
        parts: Sequence[CascadePart],
        plan: RemovalPlan,
        pace: Pace,
    ) -> tuple[dict[str, MethodRows], np.ndarray[Any, Any]]:
        """The measures of all methods on all images, and the order that puts them as the images are."""
        rows = {method.name: MethodRows() for method in methods}
        index: list[np.ndarray[Any, Any]] = []
        total, done = len(taken) * (len(methods) + 1), 0
        for trial in prepare_trials(specimen, taken, plan, pace):
            masks = taken.masks(specimen.recipe, trial.batch.index) if taken.has_masks else None
            originals: dict[str, torch.Tensor] = {}
            for method in methods:
                maps = method.draw(specimen, trial.request)
                originals[method.name] = maps[0]
                rows[method.name].add(measure_maps(specimen, method, trial, maps, self.repeats, self.seed, masks))
                done += len(trial.batch.index)
                pace.listener(Step(f"{specimen.name}: faithfulness", done, total, 0.0))
            add_cascade(rows, cascade_correlations(specimen, parts, methods, trial, originals, self.seed))
            done += len(trial.batch.index)
            pace.listener(Step(f"{specimen.name}: faithfulness", done, total, 0.0))
            index.append(trial.batch.index)
        return rows, np.argsort(np.concatenate(index), kind="stable")

    def _twin_scores(
        self,
        specimen: Specimen,
        images: Images,
        taken: Images,
        methods: Sequence[MapMethod],
        ranking: Ranking,
        plan: RemovalPlan,
        pace: Pace,
    ) -> Floats:
        """The gain (image,) of the best method over the best baseline in the untrained twins, each image shown to one of them."""
        wanted = [method for method in methods if method.name in (ranking.best.name, ranking.baseline)]
        gains = np.full(len(taken), np.nan)
        for _, twin, turn in twins_in_turn(specimen, images, len(taken)):
            scores = score_methods(twin, taken.take(turn.tolist()), wanted, plan, pace)
            gains[turn] = scores[ranking.best.name] - scores[ranking.baseline]
        return gains

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return wording.faithfulness_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return wording.faithfulness_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return wording.faithfulness_panels(finding)

    def caveats(self, finding: Finding) -> Sequence[str]:
        return wording.faithfulness_caveats(finding)
