"""Plan → reuse, run or skip with the reason → save: many specimens, many analyses, one folder of findings.

Analyses that only watch share one scan; each finding is saved as soon as it exists; a finding that already answers (same
analysis, revision, weights, images, options, numeric mode) is reused; a failure is named and the rest goes on.
"""

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch

from microtome import catalog
from microtome._version import __version__
from microtome.analysis import (
    Analysis,
    AnyCensus,
    Arrays,
    Census,
    Collation,
    Measurement,
    build,
    collation_key,
    origin,
    survey,
    survey_keys,
)
from microtome.errors import BadOption, MicrotomeError, Unmeasurable, UsageError
from microtome.finding import Finding
from microtome.images import Images
from microtome.plugins import describe_error
from microtome.scan import Pace, discard_tally, resolve_device
from microtome.specimen import Specimen
from microtome.specimen.distinct_names import distinguishing_words
from microtome.store import Store


@dataclass
class Outcome:
    """What a run came to: its findings by (specimen, analysis), and what was skipped, failed or reused, each with the reason."""

    root: Path
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict[tuple[str, str], Finding])
    skipped: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    failed: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    reused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def of(self, analysis: str) -> list[Finding]:
        """The findings of one analysis, in the order of the specimens."""
        return [finding for (_, name), finding in self.findings.items() if name == analysis]


@dataclass(frozen=True)
class Event:
    """Something a listener may want to tell: a finding was saved, reused, skipped or failed."""

    kind: str  # "measured" | "reused" | "skipped" | "failed"
    specimen: str
    analysis: str
    text: str


LOG = "run.log"  # tracebacks, in the folder of the findings


def whose(analysis: str) -> str:
    """Whom to tell of a fault in an analysis: its package."""
    if analysis not in catalog.plugin_names():
        return "a fault of microtome; please report it"
    package = catalog.analysis_entry(analysis).module.partition(".")[0]
    return f"a fault of the plug-in {package}; report it there, or leave it out: --skip {analysis}"


def ignore(event: Event) -> None:
    """The listener that says nothing."""


def plan(
    only: Sequence[str], skip: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Analysis], list[tuple[str, Exception]]]:
    """The analyses to make, with their options; and the plug-ins whose code cannot be loaded, each with its exception.

    Raises:
        UnknownName: an analysis or option that does not exist.
        BadOption: an option's value is out of range.
    """
    names = [catalog.analysis_entry(name).name for name in only] if only else list(catalog.analysis_entries())
    left_out = {catalog.analysis_entry(name).name for name in skip}
    for name in settings:
        catalog.analysis_entry(name)
    analyses: list[Analysis] = []
    failed: list[tuple[str, Exception]] = []
    for name in names:
        if name in left_out:
            continue
        try:
            analyses.append(build(catalog.analysis_entry(name).load(), settings.get(name, {})))
        except MicrotomeError:
            raise
        except Exception as error:
            failed.append((name, error))
    return analyses, failed


def analyze(
    specimens: Specimen | Sequence[Specimen | Callable[[], Specimen]],
    images: Images | None,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    pace: Pace | None = None,
    listener: Callable[[Event], None] = ignore,
    said: Mapping[str, Any] | None = None,
) -> Outcome:
    """Measure everything that fits on every specimen, then compare; findings and run.json lie in `out` afterwards.

    A specimen may be given as a function that opens it: it is called when its turn comes and forgotten afterwards, so that many
    large networks never stand in memory together. One alone need not be in a list. `settings` holds options by analysis and name;
    `said` goes into run.json.

    Raises:
        UnknownName, BadOption: an analysis, option or specimen that does not exist, or something else in its place, before anything
            is measured.
        FindingError: `out` cannot be written.
    """
    specimens = _specimens(specimens)
    if not isinstance(out, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadOption(
            f"analyze writes into a folder and was given {_shown(out)} for it: mt.analyze(specimens, images, 'results')."
        )
    analyses, unloaded = plan(only, skip, settings or {})
    store = Store.create(out)
    run = _Run(store, replace(pace or Pace(), keep=store.tally_folder), listener, Outcome(store.root), images)
    for name, error in unloaded:
        run.crashed("", name, error)
    began = time.monotonic()
    names: list[str] = []
    for one, words in zip(specimens, distinguishing_words([_asked(one) for one in specimens]), strict=True):
        specimen = one if isinstance(one, Specimen) else run.opened(one)
        if specimen is None:
            continue
        if words:
            specimen = specimen.with_name(f"{specimen.name} ({words})")
        if specimen.name in names:
            free = next(number for number in range(2, len(specimens) + 2) if f"{specimen.name} ({number})" not in names)
            specimen = specimen.with_name(f"{specimen.name} ({free})")
        names.append(specimen.name)
        run.specimen(specimen, analyses)
        run.write(names, began, said or {})
    run.collations(analyses)
    run.write(names, began, said or {})
    return run.outcome


def _asked(one: Specimen | Callable[[], Specimen]) -> tuple[str, Mapping[str, Any]]:
    """The name of a specimen, opened or still to be opened, and what it was or will be opened with."""
    if isinstance(one, Specimen):
        said = one.opened_as or {}
        return one.name, {name: said.get(name) for name in ("weights", "state", "options", "seed")} | {"recipe": None}
    name, _, options = str(getattr(one, "label", id(one))).partition("(")
    return name, {**getattr(one, "asked", {}), "options": options.rstrip(")")}


def _specimens(given: Any) -> list[Specimen | Callable[[], Specimen]]:
    """What `analyze` was given for its specimens, as a list. Raises BadOption where something else is in it."""
    several = isinstance(given, Iterable) and not (isinstance(given, Specimen | str) or callable(given))
    listed: list[Any] = list(cast("Iterable[Any]", given)) if several else [given]
    for one in listed:
        if not isinstance(one, Specimen) and (not callable(one) or isinstance(one, torch.nn.Module)):
            raise BadOption(
                f"analyze takes specimens, or functions that open one, and was given {_shown(one)}; open it: mt.open(…)."
            )
    return listed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 and "\n" not in text else f"a {type(value).__name__}"


@dataclass(frozen=True)
class _Run:
    """One run under way: where findings go, how images are gone through, who hears of it, what it came to so far."""

    store: Store
    pace: Pace
    listener: Callable[[Event], None]
    outcome: Outcome
    images: Images | None

    def opened(self, one: Callable[[], Specimen]) -> Specimen | None:
        """The specimen that a function opens, or None after writing down why it could not be opened."""
        try:
            return one()
        except UsageError:
            raise  # a misspelt name is the caller's to correct before anything runs long
        except MicrotomeError as error:
            self.failed(str(getattr(one, "label", "")), "open", str(error))
            return None

    def specimen(self, specimen: Specimen, analyses: Sequence[Analysis]) -> None:
        """Every analysis of one specimen: reuse what is fresh, share one scan among the censuses, measure the rest one by one."""
        device = resolve_device(self.pace.device)
        waiting = [
            analysis for analysis in analyses if not isinstance(analysis, Collation) and self.is_due(analysis, specimen, device)
        ]
        worker = specimen.on(device) if waiting else specimen
        alone = [analysis for analysis in waiting if not isinstance(analysis, Census)]
        bare = [analysis for analysis in alone if analysis.needs == "weights"]
        for analysis in bare:  # what needs no images is there soonest
            self.keep(analysis, worker, lambda one=analysis: one.measure(worker, self.images, self.pace))
        self.scan(worker, [cast(AnyCensus, analysis) for analysis in waiting if isinstance(analysis, Census)])
        for analysis in alone:
            if analysis not in bare:
                self.keep(analysis, worker, lambda one=analysis: one.measure(worker, self.images, self.pace))

    def is_due(self, analysis: Analysis, specimen: Specimen, device: str) -> bool:
        """Whether an analysis has to be measured: it applies, and no saved finding answers already."""
        name = analysis.name()
        try:
            reason = analysis.refusal(specimen, self.images)
            finding = None if reason else self.store.fresh(specimen.name, name, analysis.key(specimen, self.images, device))
        except Exception as error:
            self.refused(specimen.name, name, error)
            return False
        if reason:
            self.outcome.skipped.append({"specimen": specimen.name, "analysis": name, "reason": reason})
            self.listener(Event("skipped", specimen.name, name, reason))
        elif finding:
            self.outcome.findings[specimen.name, name] = finding
            self.outcome.reused.append((specimen.name, name))
            self.listener(Event("reused", specimen.name, name, finding.headline))
        return not reason and finding is None

    def scan(self, worker: Specimen, censuses: Sequence[AnyCensus]) -> None:
        """The shared scan; where one census is at fault, each is scanned alone and only that one fails."""
        if not censuses or self.images is None:
            return
        began = time.monotonic()
        try:
            conclusions = survey(worker, self.images, censuses, self.pace)
        except Exception as error:
            if len(censuses) == 1:
                self.refused(worker.name, censuses[0].name(), error)
                return
            for census in censuses:
                self.scan(worker, [census])
            return
        for census, conclusion in conclusions.items():
            self.keep(census, worker, conclusion, began)
        for key in survey_keys(worker, self.images, censuses):
            discard_tally(self.pace, key)

    def keep(
        self,
        analysis: Analysis,
        worker: Specimen,
        measure: "Callable[[], Arrays | Measurement]",
        began: float | None = None,
    ) -> None:
        """Measure, conclude and save one finding, or write down why it could not be."""
        began = time.monotonic() if began is None else began
        try:
            measured = measure()
            source = origin(analysis, worker, self.images, resolve_device(self.pace.device), began)
            finding = analysis.conclude(measured, source)
            self.store.save(finding)
        except Exception as error:
            self.refused(worker.name, analysis.name(), error)
            return
        self.outcome.findings[worker.name, analysis.name()] = finding
        self.listener(Event("measured", worker.name, analysis.name(), finding.headline))

    def collations(self, analyses: Sequence[Analysis]) -> None:
        """Collations over all findings; they read findings, so they are cheap and made last."""
        findings = list(self.outcome.findings.values())
        for analysis in analyses:
            if not isinstance(analysis, Collation) or not findings:
                continue
            try:
                finding = self.store.fresh("", analysis.name(), collation_key(analysis, findings))
                kind = "reused" if finding else "measured"
                if finding is None:
                    finding = analysis.of(findings)
                    self.store.save(finding)
            except MicrotomeError as error:
                self.failed("", analysis.name(), str(error))
                continue
            except Exception as error:
                self.crashed("", analysis.name(), error)
                continue
            self.outcome.findings["", analysis.name()] = finding
            if kind == "reused":
                self.outcome.reused.append(("", analysis.name()))
            self.listener(Event(kind, "", analysis.name(), finding.headline))

    def refused(self, specimen: str, analysis: str, error: Exception) -> None:
        """Write down an analysis that gave no finding: skipped where it cannot be known here, failed otherwise."""
        if isinstance(error, Unmeasurable):
            self.outcome.skipped.append({"specimen": specimen, "analysis": analysis, "reason": str(error)})
            self.listener(Event("skipped", specimen, analysis, str(error)))
        elif isinstance(error, MicrotomeError):
            self.failed(specimen, analysis, str(error))
        else:
            self.crashed(specimen, analysis, error)

    def crashed(self, specimen: str, analysis: str, error: Exception) -> None:
        """Write down an exception that no analysis should raise; its traceback goes into the log of the run."""
        log = self.store.root / LOG
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        trace = "".join(traceback.format_exception(error))
        where = f"traceback in {log}"
        try:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{moment} {analysis} of {specimen or 'all specimens'}\n{trace}\n")
        except OSError as refusal:  # a full disk must not end the run with what is there already
            where = f"the traceback could not be written to {log}: {refusal.strerror}"
        self.failed(specimen, analysis, f"{describe_error(error)} ({whose(analysis)}; {where})")

    def failed(self, specimen: str, analysis: str, reason: str) -> None:
        """Write down a failure, and go on."""
        self.outcome.failed.append({"specimen": specimen, "analysis": analysis, "reason": reason})
        self.listener(Event("failed", specimen, analysis, reason))

    def write(self, names: Sequence[str], began: float, said: Mapping[str, Any]) -> None:
        """run.json: which findings this run stands for, so that the report and the app need not guess."""
        places = [
            str(self.store.place(specimen, analysis, str(finding.origin["key"])).relative_to(self.store.root))
            for (specimen, analysis), finding in self.outcome.findings.items()
        ]
        self.store.write_run(
            {
                **said,
                "specimens": list(names),
                "images": self.images.json() if self.images is not None else {},
                "findings": places,
                "skipped": self.outcome.skipped,
                "failed": self.outcome.failed,
                "reused": len(self.outcome.reused),
                "seconds": round(time.monotonic() - began, 1),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "versions": {"microtome": __version__, "torch": torch.__version__},
            }
        )
