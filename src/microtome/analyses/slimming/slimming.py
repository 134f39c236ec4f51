"""Accuracy lost and time saved by removing blocks, measured with repairs.

Every block whose output its input can take the place of is removed, alone, and the network is ended after every block. The accuracy of
what is left is measured on the same images as the full network's, before any repair and after three: norms whose statistics are
estimated again, a linear map in the block's place fitted in closed form, and with `heal` a short fine-tune. The loss has a paired
interval. The images are split: repairs, probes and the search see one part, accuracies are reported on the other. Where the
network's classes are those of the images its own head answers; elsewhere, and for networks that end early, a linear probe on the mean over
positions does, and its loss is against the same probe at the full network's end.

The search removes several blocks: each step the one, or the sets, that lose least on the images to choose by, until more than `max_drop` is
lost, or `target_latency` or `target_macs` is reached. Before a set is judged its norms are estimated again, or with `repair=linear` linear
maps stand in place of its blocks. Of every network only the part after the first change runs.

With `widths`, narrower networks stand beside them: the given fraction of the channels (heads and hidden units, in networks with attention)
is pruned by magnitude. One Pareto front over accuracy, latency, parameters and memory holds depth and width together.

The blocks are also ranked by cheap measures (block influence, angular distance, CKA, weight distance, distance from the last but one), and
the rank correlation of each with the measured loss says how far it can be trusted here.

Source: removal of single blocks, Veit et al. 2016, arXiv:1605.06431; removal by influence, Men et al. 2024, arXiv:2403.03853; interval of a
paired difference, Tango 1998; repairs, split and search are ours.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np

from microtome.analyses.slimming import wording
from microtome.analyses.slimming.arrays import candidate_arrays, predictor_arrays, study_arrays
from microtome.analyses.slimming.bench import Answers, Bench, Repair
from microtome.analyses.slimming.budget_search import NO_SEARCH, Limits, search_sets
from microtome.analyses.slimming.candidates import Slimmer, SmallerNetwork
from microtome.analyses.slimming.front import front_arrays
from microtome.analyses.slimming.journal import Journal
from microtome.analyses.slimming.savings import Savings, measure_savings
from microtome.analyses.slimming.split import Integers, image_part, split_by_class, split_places
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Uneditable, Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.block_changes import block_changes
from microtome.instruments.class_matching import match_classes, why_no_head
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel, Question
from microtome.scan import Pace, Step
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

MAX_CHANGE_IMAGES = 256  # on which the cheap measures are taken


@final
class Slimming(Analysis):
    """Blocks removed and networks cut, one by one and together."""

    needs: ClassVar[Needs] = "labels"
    question: ClassVar[Question] = "slim"
    title: ClassVar[str] = "Slimming by removal"
    rank: ClassVar[int] = 60
    effort: ClassVar[Effort] = "full"
    reproducible: ClassVar[bool] = False  # its latencies are not

    heal: int = option(0, "steps of a short fine-tune of every candidate; 0: none", low=0, high=100_000)
    max_drop: str = option("1%", "accuracy that may be lost, in per cent or as a fraction")
    target_latency: str = option("", "latency at which the search stops, as a fraction of the full network's: 70%")
    target_macs: str = option("", "multiply-adds at which the search stops, as a fraction of the full network's: 60%")
    repair: Literal["norms", "linear"] = option(
        "norms", "what the search does to a network before it judges: norms, or linear maps"
    )
    search: Literal["greedy", "beam", "none"] = option("greedy", "search for several blocks to remove together")
    beam: int = option(3, "sets that a beam search keeps", low=1, high=100)
    calibration: float = option(0.4, "fraction of the images used to repair and to choose by", low=0.05, high=0.9)
    judging: float = option(
        0.0, "fraction of the images that the search chooses by, kept apart from repairs; 0: none", low=0.0, high=0.9
    )
    count: int = option(2000, "images used, at most", low=2, high=1_000_000, quick=300)
    cuts: bool = option(True, "end the network after every block as well")
    widths: tuple[float, ...] = option((), "fractions of the channels to prune, each in a candidate of its own: 0.25,0.5")
    batch: int = option(1, "images in the timed pass", low=1, high=1024)
    repeats: int = option(9, "timed rounds; every network is timed once in each", low=3, high=1000)
    seed: int = option(0, "seed of the split and of the fine-tune", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_fraction("max_drop", self.max_drop)
        parse_fraction("target_latency", self.target_latency or "0")
        parse_fraction("target_macs", self.target_macs or "0")
        if self.calibration + self.judging > 0.95:
            raise BadOption(
                f"slimming: calibration {self.calibration:g} and judging {self.judging:g} leave fewer than 5% of the images to report on."
            )
        if wrong := [ratio for ratio in self.widths if not 0.01 <= ratio <= 0.99]:
            raise BadOption(
                f"slimming: option widths holds {wrong[0]:g}; write fractions of channels from 0.01 to 0.99: 0.25,0.5."
            )

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images):
            return reason
        if specimen.outputs is None:
            return why_no_head(specimen)
        if len(specimen.blocks) < 2:
            return "it has fewer than two blocks, so that none could be removed"
        return ""

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown, blocks = min(self.count, len(images or ())), len(specimen.blocks)
        passes = 3.0 * blocks / 2 * shown + (blocks**2 / 4 * self.calibration * shown if self.search != "none" else 0.0)
        passes += 3.0 * len(self.widths) * shown
        tuned = 32.0 * self.heal * (blocks + len(self.widths))
        return Workload(forward=passes + 11.0 * 2 * blocks * self.batch, backward=tuned, seconds=0.2 * blocks)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        slimmer = Slimmer.of(specimen)
        if not slimmer.singles() and not (self.cuts and slimmer.cuts()):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(slimmer.refusal_reasons.items())[:2])
            raise Unmeasurable(f"none of the {len(slimmer.plans)} blocks of {specimen.name} can be removed ({reasons}).")
        bench = self.bench(specimen, images, slimmer, pace)
        full = bench.full()
        singles, cuts = slimmer.singles(), slimmer.cuts() if self.cuts else []
        answers: dict[str, dict[Repair, Answers]] = dict(bench.removals(singles))
        cut_answers, probe = bench.cuts(cuts)
        answers |= {name: {"none": own} for name, own in cut_answers.items()}
        narrower, width_reasons = self._narrower(slimmer)
        answers |= bench.widths(narrower)
        counted = self._savings(slimmer, [*singles, *cuts, *narrower], pace)
        saved = {c.name: counted[0].operations - each.operations for c, each in zip(singles, counted[1:], strict=False)}
        sets, search_facts = self._search(bench, saved)
        candidates = [*singles, *cuts, *narrower, *sets]
        answers |= bench.removals(sets)
        if sets:
            counted = self._savings(slimmer, candidates, pace)
        baselines = {"block": full, "set": full, "width": full, "cut": probe}
        arrays = candidate_arrays(
            candidates, answers, baselines, bench.repairs, counted, parse_fraction("max_drop", self.max_drop)
        )
        arrays |= front_arrays(candidates, arrays, float(full.mean()))
        loss = arrays["loss"].values[:, 0]
        arrays |= predictor_arrays(candidates, loss, self._predictors(bench, slimmer, singles))
        arrays |= study_arrays(arrays, self._study_rows(slimmer, singles, loss, search_facts))
        facts = {
            "images": {
                "chosen": len(bench.chosen),
                **({"judged": len(bench.judge_images)} if bench.judge_images is not None else {}),
                "reported": len(bench.reported),
            },
            "by_head": bench.by_head,
            "full": float(full.mean()),
            "full_probe": float(probe.mean()) if cuts else None,
            "blocks": list(slimmer.plans),
            "penultimate": list(slimmer.plans)[-2],
            "refused": slimmer.refusal_reasons,
            "widths_refused": width_reasons,
            "whole_passes": sorted(bench.notes),
            **search_facts,
        }
        return Measurement(arrays, facts)

    def _narrower(self, slimmer: Slimmer) -> tuple[list[SmallerNetwork], list[str]]:
        """The narrower networks, and why others could not be made."""
        narrower: list[SmallerNetwork] = []
        reasons: list[str] = []
        for ratio in dict.fromkeys(self.widths):
            try:
                narrower.append(slimmer.narrower(ratio))
            except Uneditable as error:
                reasons.append(f"{ratio:.0%}: {error}")
        return narrower, reasons

    def _study_rows(
        self, slimmer: Slimmer, singles: Sequence[SmallerNetwork], loss: np.ndarray[Any, Any], search: dict[str, Any]
    ) -> dict[str, tuple[str, str]]:
        """The rows of the short table: the last block, the last but one, the cheapest, and what the search came to."""
        names = list(slimmer.plans)
        alone = loss[: len(singles)]
        best = singles[int(np.nanargmin(alone))].name if np.isfinite(alone).any() else ""
        rows = {"last block": (names[-1], "none"), "last but one block": (names[-2], "none"), "cheapest block": (best, "none")}
        if not slimmer.plans[names[-2]].how and slimmer.linear_plans[names[-2]].how == "linear":
            rows["last but one block, a linear map in its place"] = (names[-2], "linear")
        if search["chosen_set"]:
            rows[f"{search['search']} search"] = (search["chosen_candidate"], search["search_repair"])
        return rows

    def places(self, images: Images) -> tuple[Integers, Integers, Integers]:
        """Places of the images to repair by, to choose by (none where they are the same), and to report on."""
        assert images.labels is not None
        chosen, reported = split_places(images, self.calibration + self.judging, self.count, self.seed)
        if not self.judging:
            return chosen, chosen[:0], reported
        return *split_by_class(chosen, images.labels, self.judging / (self.calibration + self.judging), self.seed), reported

    def bench(self, specimen: Specimen, images: Images, slimmer: Slimmer, pace: Pace) -> Bench:
        """The bench on this split of the images, with the rows that a killed run left."""
        assert images.labels is not None
        chosen, judged, reported = self.places(images)
        wanted, by_head = images.labels, False
        try:
            wanted, by_head = match_classes(specimen, images, specimen.outputs or 0).targets(images.labels), True
        except Unmeasurable:
            by_head = False  # its own head does not answer these classes; a probe does
        parts = [image_part(specimen, images, places, wanted, pace) for places in (chosen, reported)]
        apart = image_part(specimen, images, judged, wanted, pace) if len(judged) else None
        total = 4 * len(slimmer.plans) * (2 if self.heal else 1)
        rows = 0

        def passed() -> None:
            nonlocal rows
            rows += 1
            pace.listener(Step(f"{specimen.name}: slimming", rows, max(total, rows), 0.0))

        return Bench(
            specimen,
            slimmer,
            parts[0],
            parts[1],
            by_head,
            self.heal,
            Journal(self._path(specimen, images, pace)),
            passed,
            apart,
        )

    def _path(self, specimen: Specimen, images: Images, pace: Pace) -> Any:
        """Where the rows of this work are kept, or None where nothing is."""
        if pace.keep is None:
            return None
        split = [self.calibration, self.count, self.seed, *([self.judging] if self.judging else [])]
        parts = [self.name(), self.revision, specimen.identity(), images.digest(), images.titles, split, pace.batch]
        word = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return pace.keep / f"slimming.{word}.jsonl"

    def _savings(self, slimmer: Slimmer, candidates: Sequence[SmallerNetwork], pace: Pace) -> list[Savings]:
        classes = slimmer.specimen.classes or 2
        networks = [slimmer.network(candidate, classes=classes) for candidate in candidates]
        return measure_savings(slimmer.specimen, networks, self.batch, self.repeats, lambda: None)

    def _search(self, bench: Bench, saved: dict[str, float]) -> tuple[list[SmallerNetwork], dict[str, Any]]:
        """The best set of each size up to the end of the search, and how it ended."""
        if self.search == "none":
            return [], dict(NO_SEARCH)
        limits = Limits(
            parse_fraction("max_drop", self.max_drop),
            parse_fraction("target_latency", self.target_latency or "0"),
            parse_fraction("target_macs", self.target_macs or "0"),
        )
        sets, facts = search_sets(bench, 1 if self.search == "greedy" else self.beam, self.repair, limits, saved, self._latency)
        return sets, {"search": self.search, **facts}

    def _latency(self, bench: Bench, candidate: SmallerNetwork) -> float:
        """The latency of a candidate, as a fraction of the full network's."""
        net = bench.slimmer.network(candidate)
        return measure_savings(bench.specimen, [net], self.batch, self.repeats, lambda: None)[1].latency.value

    def _predictors(self, bench: Bench, slimmer: Slimmer, singles: Sequence[SmallerNetwork]) -> dict[str, np.ndarray[Any, Any]]:
        """What cheap measures say of the single blocks; larger says that more is lost."""
        blocks = [slimmer.plans[candidate.name].block for candidate in singles]
        comparable = [block for block in blocks if block.keeps_shape]
        few = list(bench.chosen.batches)[: max(1, MAX_CHANGE_IMAGES // max(1, len(bench.chosen.batches[0])))]
        changes = block_changes(bench.specimen, comparable, few) if comparable else {}
        places = [block.keeps_shape for block in blocks]
        predictions = {name: np.full(len(blocks), np.nan) for name in ("influence", "angle", "cka", "weight_distance")}
        for name, values in changes.items():
            predictions[name][places] = 1 - values if name == "cka" else values
        return {
            **predictions,
            "penultimate": np.abs(np.array([candidate.from_end for candidate in singles], dtype=np.float64) - 2),
        }

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return wording.slimming_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return wording.slimming_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return wording.slimming_panels(finding)

    def caveats(self, finding: Finding) -> Sequence[str]:
        return wording.slimming_caveats(finding)


def parse_fraction(name: str, text: str) -> float:
    """A fraction from "1%" or "0.01".

    Raises:
        BadOption: no number between 0 and 1.
    """
    word = text.strip()
    try:
        value = float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadOption(
            f"slimming: option {name} is '{text}'; write a fraction of accuracy or latency, for example 1% or 0.01."
        )
    return value
