"""What an analysis is: frozen options, `measure`, `key_numbers`, `headline`, `panels`, `caveats`; and the census, which only observes.

A new analysis is one file under `analyses/` with one final class. Its fields, declared by `option`, become the Python call, the
CLI verb, the form in the app, the docs page and the cache key.
"""

import functools
import hashlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar, dataclass_transform

import torch
import xarray as xr

from microtome import options, prose
from microtome._version import __version__
from microtome.errors import BadOption, ImagesError, Unmeasurable
from microtome.finding import Finding, plain
from microtome.images import Images
from microtome.images.bands import describe_shown
from microtome.instruments.untrained_twins import (
    TWIN_COUNT,
    TWIN_IMAGES,
    WITHOUT_TWINS,
    doubts_about_twins,
    facts_of_twins,
    name_missing,
    twin_count,
    untrained_twins,
    without_twins,
)
from microtome.key_numbers import KeyNumber
from microtome.numerics.statistics.intervals import MIN_DIFFERENT, MIN_VALUES
from microtome.numerics.statistics.medians import MIN_RUNS
from microtome.options import option
from microtome.panels import Panel, Question
from microtome.scan import Batch, BatchValues, Pace, discard_tally, resolve_device, scan_batches
from microtome.specimen import Specimen, same_values, watch
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.specimen.value_digest import digest_of
from microtome.tally import Bundle, Tally
from microtome.workload import Effort, Workload

Arrays = Mapping[str, xr.DataArray]
T = TypeVar("T", bound=Tally)
Needs = Literal["weights", "images", "labels", "masks", "findings"]
NAMED = 4  # layers that a caveat names one by one


@dataclass(frozen=True)
class Measurement:
    """Named arrays, and plain facts found while measuring (the layer chosen, the class asked about, what was left out and why)."""

    arrays: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Analysis(ABC):
    """One question asked of one specimen. Subclasses are final; the stem of their file is their name everywhere."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = ""
    revision: ClassVar[int] = 1  # raised whenever the numbers change: older findings are then stale
    command: ClassVar[str] = (
        ""  # "module:function" that changes the command of this analysis, where it has more than its options
    )
    reproducible: ClassVar[bool] = True  # False where the numbers are times, which differ from run to run
    with_twin: ClassVar[bool] = (
        False  # True where the numbers are compared with several untrained twins (`Specimen.twin_count`)
    )
    draws_twins: ClassVar[bool] = False  # True where it draws them itself, so that the shared scan is not run on them
    rank: ClassVar[int] = 100  # the place in a run: the most telling analyses have the lowest
    effort: ClassVar[Effort] = "standard"  # the least effort of a run that measures it
    in_turn: ClassVar[bool] = False  # True where a run measures all its networks together (`measure_in_turn`)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        options.validate_options(self, self.name())

    @classmethod
    def name(cls) -> str:
        """The stem of the analysis' file."""
        return cls.__module__.rsplit(".", 1)[-1]

    @abstractmethod
    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> "Arrays | Measurement":
        """Measure: named arrays, or a `Measurement` that holds facts beside them."""

    def measure_in_turn(self, specimens: Sequence[Specimen], images: Images | None, pace: Pace) -> "list[Measurement]":
        """Measure all networks of a run together, so that what disturbs the machine hits all alike; for analyses that are `in_turn`."""
        measured = [self.measure(specimen, images, pace) for specimen in specimens]
        return [each if isinstance(each, Measurement) else Measurement(each) for each in measured]

    @abstractmethod
    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        """The 2 to 6 quantities that a reader compares between networks, the leading one first."""

    @abstractmethod
    def headline(self, finding: Finding) -> str:
        """One sentence of at most 20 words: one claim, one number, one comparison. `finding.key_numbers` are there already."""

    @abstractmethod
    def panels(self, finding: Finding) -> Sequence[Panel]:
        """The figures."""

    @abstractmethod
    def caveats(self, finding: Finding) -> Sequence[str]:
        """What limits the interpretation, one sentence each."""

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why this analysis cannot be run on these, or an empty text."""
        return _lacking(self.needs, images)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        """What measuring costs, in passes through the network beside the shared scan; an estimate, made before anything is measured."""
        count = len(images) if images is not None and self.needs != "weights" else 0
        return Workload(forward=count, twins=specimen.twin_count if self.with_twin else 0, seconds=0.3)

    def extra_key(self) -> str:
        """A digest of what else the finding rests on, such as files that an option names; empty where there is nothing else."""
        return ""

    def options(self) -> dict[str, Any]:
        """The options by name, as plain values."""
        return options.values(self)

    def key(self, specimen: Specimen, images: Images | None, device: str) -> str:
        """What decides whether a saved finding still answers: 16 hex digits over all that can change a number (docs/opening.md)."""
        data = [images.digest(), images.titles] if images is not None and self.needs != "weights" else ""
        parts: list[Any] = [self.name(), self.revision, specimen.identity(), data, self.options(), device, "float32"]
        twins = specimen.twin_count
        if twins != TWIN_COUNT and (self.with_twin or self.draws_twins or not twins):
            parts.append(f"{twins} twins")
        if not self.reproducible:  # times depend on the machine's settings
            parts.append(torch.get_num_threads())
        if not type(self).__module__.startswith("microtome."):  # a plug-in's revision may lag behind its code
            parts.append(_code_of_analysis(type(self)))
        parts += [f"output {name}"] if (name := specimen.output_name) else []
        parts += [further] if (further := self.extra_key()) else []  # so that keys without it stay what they were
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def __call__(
        self, specimen: Specimen, images: Images | None = None, pace: Pace | None = None, twins: int = TWIN_COUNT
    ) -> Finding:
        """Measure and conclude; `twins` is the number of untrained twins to compare with.

        Raises:
            Unmeasurable: the specimen or the images lack what the analysis needs.
            BadOption: the pace is that of a shard.
        """
        if pace and pace.shard[1] > 1:
            raise BadOption(
                f"{self.name()}: a finding is of all images, and shard {pace.shard[0]}/{pace.shard[1]} sees a part of them. Merge the "
                "tallies of all shards first (docs/python.md, in parts), or leave shard out of the pace."
            )
        if reason := self.refusal(specimen, images):
            raise Unmeasurable(f"{self.name()} of {specimen.name}: {reason}")
        if images is not None and self.needs != "weights" and (misfit := images.misfit(specimen.recipe.channels)):
            raise ImagesError(f"{self.name()} of {specimen.name}: {misfit}.")
        pace = pace or Pace()
        specimen = specimen if twins == specimen.twin_count else specimen.with_twins(twins)
        device = resolve_device(pace.device)
        began = time.monotonic()
        worker = specimen.on(device)
        arrays = self.measure(worker, images, pace.on(device))
        return self.conclude(arrays, origin(self, worker, images, device, began))

    def conclude(self, measured: "Arrays | Measurement", source: Mapping[str, Any]) -> Finding:
        """The finding of a measurement, with its key numbers, headline, panels and caveats; `source` is its origin."""
        measurement = measured if isinstance(measured, Measurement) else Measurement(measured)
        text = prose.read_docstring(sys.modules[type(self).__module__].__doc__)
        compared = self.with_twin or self.draws_twins or any("twin" in name for name in measurement.arrays)
        alone = compared and twin_count(source) == 0
        bare = Finding(
            analysis=self.name(),
            arrays=without_twins(measurement.arrays) if alone else dict(measurement.arrays),
            title=self.title or self.name().replace("_", " ").capitalize(),
            summary=text.summary,
            source=text.source,
            question=self.question,
            origin={**source, "facts": plain(measurement.facts)},
        )
        doubts = doubts_about_twins(source.get("twins")) if any("twin" in name for name in measurement.arrays) else []
        numbers = name_missing(self.key_numbers(bare)) if alone else self.key_numbers(bare)
        numbered = replace(bare, key_numbers=tuple(numbers))
        doubts = [WITHOUT_TWINS] if alone else doubts
        return replace(
            numbered,
            panels=tuple(self.panels(numbered)),
            headline=self.headline(numbered),
            caveats=(
                *_doubts_about_input(source),
                *doubts,
                *self.caveats(numbered),
                *_unknown_intervals(numbered),
                *_not_measured(numbered.facts),
                *_about_channels(numbered),
            ),
        )


class Census(Analysis, Generic[T]):
    """An analysis that only observes: many censuses share one forward pass over the images. `T` is the kind of its tally.

    `with_twin` asks for the same watching on the specimen's untrained twins (at most `TWIN_IMAGES` images each), so that a finding which
    random weights give as well can be told from one that training made.
    """

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        """As `Analysis.workload`; the passes of the shared scan do not count."""
        return Workload(seconds=0.3)

    counts_broken: ClassVar[bool] = False  # True where images whose output is not finite are counted as such

    @abstractmethod
    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        """The layers whose values are wanted ("<name" for a layer's input)."""

    @abstractmethod
    def empty_tally(self) -> T:
        """An empty tally."""

    @abstractmethod
    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        """What to keep of one watched value, called inside the hook; `seen` holds what this batch gave so far, by name."""

    @abstractmethod
    def add(self, specimen: Specimen, tally: T, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        """Add one batch."""

    @abstractmethod
    def to_arrays(self, specimen: Specimen, images: Images, tally: T, twins: Sequence[T]) -> "Arrays | Measurement":
        """The arrays that the finished tallies amount to; `twins` are the untrained twins', empty without `with_twin`."""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> "Arrays | Measurement":
        assert images is not None  # `refusal` has refused before
        (conclusion,) = survey(specimen, images, [self], pace).values()
        return conclusion()


AnyCensus = Census[Any]


@functools.cache
def _code_of_analysis(kind: type[Analysis]) -> str:
    return digest_of([kind])


class Collation(Analysis):
    """An analysis of findings instead of networks: many specimens side by side. Called by `of`."""

    needs: ClassVar[Needs] = "findings"

    @abstractmethod
    def collate(self, findings: Sequence[Finding]) -> "Arrays | Measurement":
        """The arrays that the findings amount to."""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> "Arrays | Measurement":
        raise Unmeasurable(f"{self.name()} reads findings, not a network: {type(self).__name__}().of([finding, …]).")

    def of(self, findings: Sequence[Finding]) -> Finding:
        """The finding over these findings.

        Raises:
            Unmeasurable: the findings do not hold what is needed.
        """
        began = time.monotonic()
        arrays = self.collate(findings)
        return self.conclude(arrays, collation_origin(self, findings, began))


def survey(
    specimen: Specimen, images: Images, censuses: Sequence[AnyCensus], pace: Pace
) -> dict[AnyCensus, "Callable[[], Arrays | Measurement]"]:
    """For every census a function that gives its arrays, after one shared forward pass over the images and one over each twin.

    Concluding is left to the caller, so that one census which finds nothing to measure does not take the others' work with it.
    """
    tallies = collect_tallies(specimen, images, censuses, pace, "scan")
    doubted = [census for census in censuses if census.with_twin]
    twins: list[Bundle] = []
    if doubted and not specimen.twin_count:
        twins.append(tallies)  # a stand-in, as in `untrained_twins`, without a scan
    elif doubted:
        some = images.take(twin_indices(images))
        for number, twin in enumerate(untrained_twins(specimen, images), 1):
            what = f"scan of untrained twin {number} of {specimen.twin_count}"
            twins.append(collect_tallies(twin, some, doubted, pace, what))

    def conclusion(census: AnyCensus) -> "Callable[[], Arrays | Measurement]":
        own = [tallied[census.name()] for tallied in twins] if census.with_twin else []
        return lambda: census.to_arrays(specimen, images, tallies[census.name()], own)

    return {census: conclusion(census) for census in censuses}


def survey_keys(specimen: Specimen, images: Images, censuses: Sequence[AnyCensus]) -> list[list[str]]:
    """The keys under which a survey keeps its unfinished tallies (for `scan.forget`)."""
    doubted = [census for census in censuses if census.with_twin]
    keys = [_survey_key(specimen, images, censuses)]
    if doubted and specimen.twin_count:
        some = images.take(twin_indices(images))
        keys += [_survey_key(twin, some, doubted) for twin in untrained_twins(specimen, images)]
    return keys


def twin_indices(images: Images) -> list[int]:
    """The places of the images that every untrained twin sees: all, or `TWIN_IMAGES` of them, of each class in proportion."""
    return images.sample(TWIN_IMAGES).tolist()


def _survey_key(specimen: Specimen, images: Images, censuses: Sequence[AnyCensus]) -> list[str]:
    device = str(specimen.device)
    return [census.key(specimen, images, device) for census in censuses]


def collect_tallies(specimen: Specimen, images: Images, censuses: Sequence[AnyCensus], pace: Pace, what: str) -> Bundle:
    """Each census' tally, by name, after one forward pass over the images (or the pace's shard of them)."""
    wanted = {census: census.layers_to_watch(specimen) for census in censuses}
    tallies = Bundle({census.name(): census.empty_tally() for census in censuses})
    seen: dict[AnyCensus, BatchValues] = {}

    def arrived(name: str, value: torch.Tensor) -> None:
        if not seen:  # a further pass, in search of the layer where values break
            return
        for census, names in wanted.items():
            if name in names:
                seen[census][name] = census.reduce(specimen, name, value, seen[census])

    def visit(batch: Batch) -> None:
        if not started:  # a scan that was finished before has no batch left, and nothing to watch
            started.append(hooks.enter_context(watch(specimen, union, each=arrived)))
        made: dict[Any, Any] = {}
        for census in censuses:
            seen[census] = BatchValues(same, made, batch.index, batch.total)
        logits = specimen.pick(specimen.run(batch.x))
        complete = dict(seen)
        seen.clear()
        if not bool((sound := finite_rows(logits)).all()):
            _refuse_broken(specimen, [census for census in censuses if not census.counts_broken], batch, sound)
        for census in censuses:
            census.add(specimen, tallies[census.name()], batch, complete[census], logits)

    union = list(dict.fromkeys(name for names in wanted.values() for name in names))
    same = same_values(specimen, union)
    started: list[object] = []
    with ExitStack() as hooks:
        scan_batches(
            specimen, images, tallies, pace, visit, what=f"{specimen.name}: {what}", key=_survey_key(specimen, images, censuses)
        )
    return tallies


def _refuse_broken(specimen: Specimen, censuses: Sequence[AnyCensus], batch: Batch, sound: torch.Tensor) -> None:
    """Raises Unmeasurable where the network's output is not finite and an analysis would take it for an answer."""
    if censuses:
        place = where_broken(specimen.net, batch.x[~sound])
        raise Unmeasurable(
            f"{specimen.name} gives NaN or infinity for {int((~sound).sum())} of {prose.plural(len(sound), 'image')} at once; {place}. "
            f"Nothing that follows from it is measured ({', '.join(census.name() for census in censuses)})."
        )


def origin(analysis: Analysis, specimen: Specimen, images: Images | None, device: str, began: float) -> dict[str, Any]:
    """Where a finding came from, as plain JSON values."""
    return {
        "specimen": specimen.json(),
        "twins": facts_of_twins(specimen),
        "images": images.json() if images is not None and analysis.needs != "weights" else {},
        "batch_dependence": specimen.batch_dependence if images is not None and analysis.needs != "weights" else "",
        "recipe_doubt": specimen.recipe_doubt(images) if images is not None and analysis.needs == "labels" else "",
        "options": analysis.options(),
        "revision": analysis.revision,
        "key": analysis.key(specimen, images, device),
        "device": device,
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - began, 3),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "microtome": __version__,
        "torch": torch.__version__,
    }


def collation_origin(analysis: Collation, findings: Sequence[Finding], began: float) -> dict[str, Any]:
    """Where a finding over findings came from: the specimens, the images and the keys of what it read."""
    images = {str(f.origin.get("images", {}).get("digest", "")): f.origin.get("images", {}) for f in findings}
    return {
        "specimen": {},
        "specimens": list(dict.fromkeys(finding.specimen for finding in findings)),
        "images": next((facts for digest, facts in images.items() if digest), {}),
        "options": analysis.options(),
        "revision": analysis.revision,
        "key": collation_key(analysis, findings),
        "findings": sorted(str(finding.origin.get("key", "")) for finding in findings),
        "seconds": round(time.monotonic() - began, 3),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "microtome": __version__,
        "torch": torch.__version__,
    }


def collation_key(analysis: Collation, findings: Sequence[Finding]) -> str:
    """What decides whether a saved collation still answers: 16 hex digits over its options and the keys of what it read."""
    keys = sorted(f"{finding.origin.get('key', '')}{finding.facts.get('session', '')}" for finding in findings)
    parts = [analysis.name(), analysis.revision, analysis.options(), keys]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _unknown_intervals(finding: Finding) -> list[str]:
    """A caveat that names the key numbers whose interval is not known, and what an interval takes."""
    names = list(dict.fromkeys(number.name for number in finding.key_numbers if number.interval_unknown))
    if not names:
        return []
    return [
        f"Interval unknown: {prose.name_list(names, NAMED)}. The interval of a mean takes {MIN_VALUES} values, {MIN_DIFFERENT} of them "
        f"unlike the commonest one; that of a median takes {MIN_RUNS}."
    ]


def _about_channels(finding: Finding) -> list[str]:
    """Caveats where colours became luminance for the network, and where figures show some bands of the images."""
    images, recipe = finding.origin.get("images", {}), finding.origin.get("specimen", {}).get("recipe", {})
    lines: list[str] = []
    if images.get("channels") == 3 and recipe.get("channels") == 1:
        lines.append("The network takes one channel: it was given the luminance (ITU-R BT.601) of each image.")
    if images.get("channels") == 1 and recipe.get("channels") == 3:
        lines.append("The images have one channel and the network takes three: it was repeated.")
    if images.get("shown_bands") and images["channels"] > 1:
        lines.append(describe_shown(images["channels"], images["shown_bands"]))
    return lines


def _doubts_about_input(source: Mapping[str, Any]) -> list[str]:
    """That answers depend on the batch; the suspicion, of analyses of labelled images, that the recipe does not fit the weights."""
    return [text for name in ("batch_dependence", "recipe_doubt") if (text := source.get(name))]


def _not_measured(facts: Mapping[str, Any]) -> list[str]:
    """One caveat for each reason in the fact `reasons_not_measured` (layer -> reason): what was asked for and is not in the finding."""
    reasons: dict[str, list[str]] = {}
    for name, reason in facts.get("unmeasured", {}).items():
        reasons.setdefault(str(reason), []).append(str(name))
    return [
        f"Not measured: {', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}, since {reason}."
        for reason, names in reasons.items()
    ]


def _lacking(needs: Needs, images: Images | None) -> str:
    if needs == "weights":
        return ""
    if images is None:
        return "it needs images; name a folder or scenes:200"
    if needs == "labels" and (images.labels is None or not (images.labels >= 0).any()):
        return "it needs labelled images (class folders, or labels.csv beside them)"
    if needs == "masks" and not images.has_masks:
        return "it needs masks or boxes beside the images (masks/NAME.png, NAME_mask.png, COCO or VOC boxes)"
    return ""


def build_analysis(kind: type[Analysis], given: Mapping[str, Any]) -> Analysis:
    """An analysis from options by name, as texts or values.

    Raises:
        UnknownName: an option that it does not have.
    """
    return options.build_from_words(kind, kind.name(), given)


__all__ = [
    "Analysis",
    "AnyCensus",
    "Arrays",
    "BatchValues",
    "Census",
    "Collation",
    "Measurement",
    "Needs",
    "TWIN_IMAGES",
    "build_analysis",
    "discard_tally",
    "option",
    "origin",
    "survey",
    "survey_keys",
    "twin_indices",
]
