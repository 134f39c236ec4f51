"""What an analysis is: frozen options, `measure`, `key_numbers`, `headline`, `panels`, `caveats`.

A new analysis is one file under `analyses/` with one final class. Its fields, declared by `option`, become the Python call, the
CLI verb, the form in the app, the docs page and the cache key.
"""

import functools
import hashlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, dataclass_transform

import torch
import xarray as xr

from microtome import options, prose
from microtome._version import __version__
from microtome.analysis.origin_caveats import about_channels, doubts_about_input, not_measured, unknown_intervals
from microtome.errors import BadOption, ImagesError, Unmeasurable
from microtome.finding import Finding, plain
from microtome.images import Images
from microtome.instruments.untrained_twins import (
    TWIN_COUNT,
    TWIN_IMAGES,
    WITHOUT_TWINS,
    doubts_about_twins,
    facts_of_twins,
    name_missing,
    twin_count,
    without_twins,
)
from microtome.key_numbers import KeyNumber
from microtome.options import option
from microtome.panels import Panel, Question
from microtome.scan import Pace, resolve_device
from microtome.specimen import Specimen
from microtome.specimen.value_digest import digest_of
from microtome.workload import Effort, Workload

Arrays = Mapping[str, xr.DataArray]
Needs = Literal["weights", "images", "labels", "masks", "findings"]


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
        if self.with_twin and images is not None and specimen.twin_images < min(TWIN_IMAGES, len(images)):
            parts.append(f"{specimen.twin_images} images for each twin")
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
        shows_twins = any("twin" in name for name in measurement.arrays)
        alone = (self.with_twin or self.draws_twins or shows_twins) and twin_count(source) == 0
        bare = Finding(
            analysis=self.name(),
            arrays=without_twins(measurement.arrays) if alone else dict(measurement.arrays),
            title=self.title or self.name().replace("_", " ").capitalize(),
            summary=text.summary,
            source=text.source,
            question=self.question,
            origin={**source, "facts": plain(measurement.facts)},
        )
        numbers = name_missing(self.key_numbers(bare)) if alone else self.key_numbers(bare)
        numbered = replace(bare, key_numbers=tuple(numbers))
        doubts = [WITHOUT_TWINS] if alone else doubts_about_twins(source.get("twins")) if shows_twins else []
        return replace(
            numbered,
            panels=tuple(self.panels(numbered)),
            headline=self.headline(numbered),
            caveats=(
                *doubts_about_input(source),
                *doubts,
                *self.caveats(numbered),
                *unknown_intervals(numbered),
                *not_measured(numbered.facts),
                *about_channels(numbered),
            ),
        )


@functools.cache
def _code_of_analysis(kind: type[Analysis]) -> str:
    return digest_of([kind])


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
        **time_and_versions(began),
    }


def time_and_versions(began: float) -> dict[str, Any]:
    """How long and when something was measured, and by what: the end of every origin."""
    return {
        "seconds": round(time.monotonic() - began, 3),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "microtome": __version__,
        "torch": torch.__version__,
    }


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
