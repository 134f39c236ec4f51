"""What an analysis is: frozen options, `measure`, `panels`, `line`; and the census, the kind that only watches a forward pass.

A new analysis is one file under `analyses/` with one final class. Its fields, declared by `option`, become the Python call, the
CLI verb, the form in the app, the docs page and the cache key.
"""

import hashlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, dataclass_transform

import torch
import xarray as xr

from microtome import options, prose
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.options import option
from microtome.panels import Panel, Question
from microtome.scan import Batch, Pace, Seen, forget, resolve, through
from microtome.specimen import Specimen, first_tensor, same_values, watch
from microtome.tally import Bundle, Tally

Arrays = Mapping[str, xr.DataArray]
Needs = Literal["weights", "images", "labels", "masks", "findings"]
TWIN_COUNT = 128  # images shown to the untrained twin: enough for a baseline, at most half of the work of a long scan


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Analysis(ABC):
    """One question asked of one specimen. Subclasses are final; the stem of their file is their name everywhere."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = ""
    revision: ClassVar[int] = 1  # raised whenever the numbers change: older findings are then stale

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        options.check(self, self.name())

    @classmethod
    def name(cls) -> str:
        """The stem of the analysis' file."""
        return cls.__module__.rsplit(".", 1)[-1]

    @abstractmethod
    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        """The named arrays of the finding."""

    @abstractmethod
    def panels(self, found: Arrays) -> Sequence[Panel]:
        """How to show them."""

    @abstractmethod
    def line(self, found: Arrays) -> str:
        """One sentence, with numbers, that says what they mean."""

    @abstractmethod
    def caveats(self, found: Arrays) -> Sequence[str]:
        """What a reader must know before believing the picture."""

    def unfit(self, specimen: Specimen, images: Images | None) -> str:
        """Why this analysis cannot be made of these, or an empty text."""
        return _lacking(self.needs, images)

    def further(self) -> str:
        """A digest of what else the finding rests on, such as files that an option names; empty where there is nothing else."""
        return ""

    def options(self) -> dict[str, Any]:
        """The options by name, as plain values."""
        return options.values(self)

    def key(self, specimen: Specimen, images: Images | None, device: str) -> str:
        """What decides whether a saved finding still answers: 16 hex digits over analysis, weights, images, options, numeric mode."""
        data = images.digest() if images is not None and self.needs != "weights" else ""
        said = [self.name(), self.revision, specimen.digest(), specimen.recipe.json(), data, self.options(), device, "float32"]
        said += [further] if (further := self.further()) else []  # so that keys without it stay what they were
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def __call__(self, specimen: Specimen, images: Images | None = None, pace: Pace | None = None) -> Finding:
        """Measure and conclude.

        Raises:
            Unmeasurable: the specimen or the images lack what the analysis needs.
            BadOption: the pace is that of a shard.
        """
        if pace and pace.shard[1] > 1:
            raise BadOption(
                f"{self.name()}: a finding is of all images, and shard {pace.shard[0]}/{pace.shard[1]} sees a part of them. Merge the "
                "tallies of all shards first (docs/python.md, in parts), or leave shard out of the pace."
            )
        if reason := self.unfit(specimen, images):
            raise Unmeasurable(f"{self.name()} of {specimen.name}: {reason}")
        pace = pace or Pace()
        device = resolve(pace.device)
        began = time.monotonic()
        arrays = self.measure(specimen.on(device), images, pace.on(device))
        return self.conclude(arrays, origin(self, specimen, images, device, began))

    def conclude(self, arrays: Arrays, said: Mapping[str, Any]) -> Finding:
        """The finding that `arrays` amount to, with its panels, line and caveats."""
        told = prose.read(sys.modules[type(self).__module__].__doc__)
        bare = Finding(
            analysis=self.name(),
            arrays=dict(arrays),
            title=self.title or self.name().replace("_", " ").capitalize(),
            summary=told.summary,
            source=told.source,
            question=self.question,
            origin=said,
        )
        return replace(bare, panels=tuple(self.panels(arrays)), line=self.line(arrays), caveats=tuple(self.caveats(arrays)))


class Census(Analysis):
    """An analysis that only watches: many censuses share one forward pass over the images.

    `with_twin` asks for the same watching on the untrained twin (at most `TWIN_COUNT` images), so that a finding which random
    weights give as well can be told from one that training made.
    """

    with_twin: ClassVar[bool] = False

    @abstractmethod
    def watched(self, specimen: Specimen) -> list[str]:
        """The layers whose values are wanted ("<name" for a layer's input)."""

    @abstractmethod
    def tally(self) -> Tally:
        """An empty tally."""

    @abstractmethod
    def reduced(self, specimen: Specimen, name: str, value: torch.Tensor, seen: Seen) -> Any:
        """What to keep of one watched value, called inside the hook; `seen` holds what this batch gave so far, by name."""

    @abstractmethod
    def add(self, specimen: Specimen, tally: Tally, batch: Batch, seen: dict[str, Any], logits: torch.Tensor) -> None:
        """Add one batch."""

    @abstractmethod
    def settle(self, specimen: Specimen, images: Images, tally: Tally, twin: Tally | None) -> Arrays:
        """The arrays that the finished tallies amount to; `twin` is the untrained twin's."""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        (settle,) = survey(specimen, images, [self], pace).values()
        return settle()


class Collation(Analysis):
    """An analysis of findings instead of networks: many specimens side by side. Called by `of`."""

    needs: ClassVar[Needs] = "findings"

    @abstractmethod
    def collate(self, findings: Sequence[Finding]) -> Arrays:
        """The arrays that the findings amount to."""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        raise Unmeasurable(f"{self.name()} reads findings, not a network: {type(self).__name__}().of([finding, …]).")

    def of(self, findings: Sequence[Finding]) -> Finding:
        """The finding over these findings.

        Raises:
            Unmeasurable: the findings do not hold what is needed.
        """
        began = time.monotonic()
        arrays = self.collate(findings)
        return self.conclude(arrays, gathered(self, findings, began))


def survey(specimen: Specimen, images: Images, censuses: Sequence[Census], pace: Pace) -> dict[Census, Callable[[], Arrays]]:
    """For every census a function that gives its arrays, after one shared forward pass over the images and one over the twin.

    Settling is left to the caller, so that one census which finds nothing to measure does not take the others' work with it.
    """
    tallies = watched_tallies(specimen, images, censuses, pace, "scan")
    doubted = [census for census in censuses if census.with_twin]
    twins: Bundle | None = None
    if doubted:
        twins = watched_tallies(
            specimen.working_twin(), images.take(few(len(images))), doubted, pace, "scan of the untrained twin"
        )

    def settled(census: Census) -> Callable[[], Arrays]:
        twin = twins[census.name()] if twins is not None and census.with_twin else None
        return lambda: census.settle(specimen, images, tallies[census.name()], twin)

    return {census: settled(census) for census in censuses}


def survey_keys(specimen: Specimen, images: Images, censuses: Sequence[Census]) -> list[list[str]]:
    """The keys under which a survey keeps its unfinished tallies (for `scan.forget`)."""
    doubted = [census for census in censuses if census.with_twin]
    keys = [_survey_key(specimen, images, censuses)]
    return [*keys, _survey_key(specimen.working_twin(), images.take(few(len(images))), doubted)] if doubted else keys


def few(count: int) -> list[int]:
    """The places of the images that the untrained twin sees: all, or `TWIN_COUNT` of them spread evenly."""
    if count <= TWIN_COUNT:
        return list(range(count))
    return [place * count // TWIN_COUNT for place in range(TWIN_COUNT)]


def _survey_key(specimen: Specimen, images: Images, censuses: Sequence[Census]) -> list[str]:
    device = str(specimen.device)
    return [census.key(specimen, images, device) for census in censuses]


def watched_tallies(specimen: Specimen, images: Images, censuses: Sequence[Census], pace: Pace, what: str) -> Bundle:
    """Each census' tally, by name, after one forward pass over the images (or the pace's shard of them)."""
    wanted = {census: census.watched(specimen) for census in censuses}
    tallies = Bundle({census.name(): census.tally() for census in censuses})
    seen: dict[Census, Seen] = {}

    def arrived(name: str, value: torch.Tensor) -> None:
        for census, names in wanted.items():
            if name in names:
                seen[census][name] = census.reduced(specimen, name, value, seen[census])

    def visit(batch: Batch) -> None:
        if not started:  # a scan that was finished before has no batch left, and nothing to watch
            started.append(hooks.enter_context(watch(specimen, union, each=arrived)))
        made: dict[Any, Any] = {}
        for census in censuses:
            seen[census] = Seen(same, made)
        logits = first_tensor(specimen.run(batch.x))
        if logits is None:
            raise Unmeasurable(f"{specimen.name} gives no tensor, so nothing can be measured by looking at its forward pass.")
        for census in censuses:
            census.add(specimen, tallies[census.name()], batch, seen[census], logits)
        seen.clear()

    union = list(dict.fromkeys(name for names in wanted.values() for name in names))
    same = same_values(specimen, union)
    started: list[object] = []
    with ExitStack() as hooks:
        through(
            specimen, images, tallies, pace, visit, what=f"{specimen.name}: {what}", key=_survey_key(specimen, images, censuses)
        )
    return tallies


def origin(analysis: Analysis, specimen: Specimen, images: Images | None, device: str, began: float) -> dict[str, Any]:
    """Where a finding came from, as plain JSON values."""
    from microtome._version import __version__

    return {
        "specimen": specimen.json(),
        "images": images.json() if images is not None and analysis.needs != "weights" else {},
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


def gathered(analysis: Collation, findings: Sequence[Finding], began: float) -> dict[str, Any]:
    """Where a finding over findings came from: the specimens, the images and the keys of what it read."""
    from microtome._version import __version__

    images = {str(f.origin.get("images", {}).get("digest", "")): f.origin.get("images", {}) for f in findings}
    return {
        "specimen": {},
        "specimens": list(dict.fromkeys(finding.specimen for finding in findings)),
        "images": next((said for digest, said in images.items() if digest), {}),
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
    keys = sorted(str(finding.origin.get("key", "")) for finding in findings)
    said = [analysis.name(), analysis.revision, analysis.options(), keys]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


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


def made(kind: type[Analysis], said: Mapping[str, Any]) -> Analysis:
    """An analysis from options by name, as texts or values.

    Raises:
        UnknownName: an option that it does not have.
    """
    return options.made(kind, kind.name(), said)


__all__ = [
    "TWIN_COUNT", "Analysis", "Arrays", "Census", "Collation", "Needs", "Seen", "few", "forget", "made", "option", "origin",
    "survey", "survey_keys",
]  # fmt: skip
