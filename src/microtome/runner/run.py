"""One run under way: reuse, measure or skip with the reason, and save each finding as soon as it exists.

Analyses that only watch share one scan; a finding that already answers (same analysis, revision, weights, images, options, numeric
mode) is reused; a failure is named and the rest goes on. Where memory runs out, batches are halved.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import torch

from microtome._version import __version__
from microtome.analysis import (
    Analysis,
    AnyCensus,
    Arrays,
    Census,
    Collation,
    Measurement,
    collation_key,
    origin,
    survey,
    survey_keys,
)
from microtome.errors import MicrotomeError, Unmeasurable, UsageError, hint
from microtome.finding import Finding
from microtome.images import Images
from microtome.plugins import describe_error
from microtome.runner.outcome import LOG, Event, Outcome, whose
from microtome.scan import Pace, discard_tally, resolve_device
from microtome.specimen import Specimen
from microtome.store import Store

MAX_BYTES_IN_TURN = 2 << 30  # of weights of the networks that are kept to be timed in turn; larger ones are timed alone
FULL = ("out of memory", "not enough memory", "can't allocate memory")  # how torch says that memory ran out


@dataclass(frozen=True)
class Run:
    """One run under way: where findings go, how images are gone through, who hears of it, what it came to so far."""

    store: Store
    pace: Pace
    listener: Callable[[Event], None]
    outcome: Outcome
    images: Images | None
    several: bool = False  # networks; then some analyses wait for all of them
    reasons: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])  # to refuse, once known
    waiting: "dict[Analysis, list[Specimen]]" = field(default_factory=dict["Analysis", "list[Specimen]"])

    def open_specimen(self, opener: Callable[[], Specimen]) -> Specimen | None:
        """The specimen that a function opens, or None after writing down why it could not be opened."""
        try:
            return opener()
        except UsageError:
            raise  # a misspelt name is the caller's to correct before anything runs long
        except MicrotomeError as error:
            self.record_failure(str(getattr(opener, "label", "")), "open", str(error))
            return None

    def specimen(self, specimen: Specimen, analyses: Sequence[Analysis]) -> None:
        """These analyses of one specimen, in this order: reuse what is fresh, share one scan among the censuses, measure the rest."""
        device = resolve_device(self.pace.device)
        waiting = [
            analysis
            for analysis in analyses
            if not isinstance(analysis, Collation)
            and not self.has_to_wait(analysis, specimen)
            and self.is_due(analysis, specimen, device)
        ]
        worker = specimen.on(device) if waiting else specimen
        alone = [analysis for analysis in waiting if not isinstance(analysis, Census)]
        self.scan(worker, [cast(AnyCensus, analysis) for analysis in waiting if isinstance(analysis, Census)])
        for analysis in alone:
            self.measure(analysis, worker)

    def has_to_wait(self, analysis: Analysis, specimen: Specimen) -> bool:
        """Whether an analysis is measured at the end, on all networks in turn; it is not where they are too large to stay in memory."""
        if not (self.several and analysis.in_turn):
            return False
        others = self.waiting.setdefault(analysis, [])
        fits = sum(each.weight_bytes for each in (*others, specimen)) <= MAX_BYTES_IN_TURN
        if fits:
            others.append(specimen)
        return fits

    def take_turns(self) -> None:
        """Measure what waited for all networks; findings are reused where all of them come from one such session."""
        device = resolve_device(self.pace.device)
        waiting = dict(self.waiting)
        self.waiting.clear()
        for analysis, specimens in waiting.items():
            known = [self.find_saved(analysis, specimen, device) for specimen in specimens]
            sessions = {str(finding.facts.get("session", "")) if finding else "" for finding in known}
            if len(specimens) == 1 or (len(sessions) == 1 and "" not in sessions):
                due = [specimen for specimen in specimens if self.is_due(analysis, specimen, device)]
            else:
                due = [specimen for specimen in specimens if self.applies(analysis, specimen)]
            if due:
                self.take_turn(analysis, [specimen.on(device) for specimen in due])

    def take_turn(self, analysis: Analysis, workers: Sequence[Specimen]) -> None:
        """One session of one analysis over all networks; where one is at fault, each alone, so that only that one fails."""
        began = time.monotonic()
        try:
            measured = analysis.measure_in_turn(workers, self.images, self.pace)
        except Exception:
            for worker in workers:
                self.measure(analysis, worker)
            return
        session = {"session": uuid4().hex[:16], "in_turn": len(workers)}
        for worker, each in zip(workers, measured, strict=True):
            self.keep(analysis, worker, lambda finding=each: replace(finding, facts={**finding.facts, **session}), began)

    def due_quietly(self, analyses: Sequence[Analysis], specimen: Specimen, device: str) -> list[Analysis]:
        """Those that would be measured on a network, found without writing anything down."""
        fitting = self.applicable(analyses, specimen)
        return [analysis for analysis in fitting if self.find_saved(analysis, specimen, device) is None]

    def applicable(self, analyses: Sequence[Analysis], specimen: Specimen) -> list[Analysis]:
        """Those that apply to a network by itself, measured already or not."""
        fitting: list[Analysis] = []
        for analysis in analyses:
            try:
                waits = isinstance(analysis, Collation) or bool(self.refusal(analysis, specimen))
            except Exception:  # it will be said when its turn comes
                continue
            if not waits:
                fitting.append(analysis)
        return fitting

    def find_saved(self, analysis: Analysis, specimen: Specimen, device: str) -> Finding | None:
        """The saved finding that answers already, if any; None as well where asking raises."""
        try:
            return self.store.fresh(specimen.name, analysis.name(), analysis.key(specimen, self.images, device))
        except Exception:  # `is_due` or `applies` will say so
            return None

    def earlier(self, specimen: Specimen, images: Images, analysis: str) -> Finding | None:
        """The finding of that analysis of the same weights on the same images: of this run, or the newest of the folder."""
        current = self.outcome.findings.get((specimen.name, analysis))
        saved = [current] if current is not None else self.store.history(specimen.name, analysis)
        wanted = specimen.digest(), images.digest()
        fitting = [each for each in saved if _rests_on(each) == wanted]
        return max(fitting, key=lambda each: str(each.origin.get("started", "")), default=None)

    def refusal(self, analysis: Analysis, specimen: Specimen) -> str:
        """Why an analysis cannot be run on a network of this run, or an empty text; asked once, since some look at all weights."""
        key = analysis.name(), repr(analysis.options()), specimen.name
        if key not in self.reasons:
            self.reasons[key] = analysis.refusal(specimen, self.images)
        return self.reasons[key]

    def applies(self, analysis: Analysis, specimen: Specimen) -> bool:
        """Whether an analysis can be measured here; written down where not."""
        try:
            reason = self.refusal(analysis, specimen)
        except Exception as error:
            self.record_refusal(specimen.name, analysis.name(), error)
            return False
        if reason:
            self.record_skip(specimen.name, analysis.name(), reason)
        return not reason

    def is_due(self, analysis: Analysis, specimen: Specimen, device: str) -> bool:
        """Whether an analysis has to be measured: it applies, and no saved finding answers already."""
        name = analysis.name()
        if not self.applies(analysis, specimen):
            return False
        try:
            finding = self.store.fresh(specimen.name, name, analysis.key(specimen, self.images, device))
        except Exception as error:
            self.record_refusal(specimen.name, name, error)
            return False
        if finding:
            self.outcome.findings[specimen.name, name] = finding
            self.outcome.reused.append((specimen.name, name))
            self.listener(Event("reused", specimen.name, name, finding.headline))
        return finding is None

    def measure(self, analysis: Analysis, worker: Specimen, pace: Pace | None = None) -> None:
        """Measure and save one finding; where memory runs out, again with half as many images at once."""
        began = time.monotonic()
        try:
            backwards = analysis.workload(worker, self.images).backward > 0
            pace = pace or self.pace.fit_to(worker, gradients=backwards)
            measured = analysis.measure(worker, self.images, replace(pace, earlier=self.earlier))
        except Exception as error:
            if pace is not None and is_memory_error(error) and pace.batch > 1:
                self.listener(
                    Event("smaller", worker.name, analysis.name(), f"memory ran out with {pace.batch} images at once")
                )
                self.measure(analysis, worker, replace(pace, batch=pace.batch // 2))
            else:
                self.record_refusal(worker.name, analysis.name(), error)
            return
        self.keep(analysis, worker, lambda: measured, began)

    def scan(self, worker: Specimen, censuses: Sequence[AnyCensus], pace: Pace | None = None) -> None:
        """The shared scan; where one census is at fault, each is scanned alone and only that one fails."""
        if not censuses or self.images is None:
            return
        began = time.monotonic()
        try:
            pace = pace or self.pace.fit_to(worker)
            conclusions = survey(worker, self.images, censuses, pace)
        except Exception as error:
            if pace is not None and is_memory_error(error) and pace.batch > 1:
                self.listener(Event("smaller", worker.name, "scan", f"memory ran out with {pace.batch} images at once"))
                self.scan(worker, censuses, replace(pace, batch=pace.batch // 2))
                return
            if len(censuses) == 1:
                self.record_refusal(worker.name, censuses[0].name(), error)
                return
            for census in censuses:
                self.scan(worker, [census], pace)
            return
        for census, conclusion in conclusions.items():
            self.keep(census, worker, conclusion, began)
        for key in survey_keys(worker, self.images, censuses):
            discard_tally(pace, key)

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
            self.record_refusal(worker.name, analysis.name(), error)
            return
        self.outcome.findings[worker.name, analysis.name()] = finding
        self.listener(Event("measured", worker.name, analysis.name(), finding.headline))

    def collations(self, analyses: Sequence[Analysis]) -> None:
        """Collations over all findings; they read findings, so they are cheap and made last."""
        findings = [finding for (specimen, _), finding in self.outcome.findings.items() if specimen]
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
                self.record_failure("", analysis.name(), str(error))
                continue
            except Exception as error:
                self.record_crash("", analysis.name(), error)
                continue
            before = self.outcome.findings.get(("", analysis.name()))
            self.outcome.findings["", analysis.name()] = finding
            if before is not None and before.headline == finding.headline:
                continue  # said already, over fewer findings
            if kind == "reused":
                self.outcome.reused.append(("", analysis.name()))
            self.listener(Event(kind, "", analysis.name(), finding.headline))

    def record_refusal(self, specimen: str, analysis: str, error: Exception) -> None:
        """Write down an analysis that gave no finding: skipped where it cannot be known here, failed otherwise."""
        if isinstance(error, Unmeasurable):
            self.record_skip(specimen, analysis, str(error))
        elif isinstance(error, MicrotomeError):
            self.outcome.misused |= isinstance(error, UsageError)
            self.record_failure(specimen, analysis, str(error))
        elif is_memory_error(error):
            self.record_failure(
                specimen,
                analysis,
                "memory ran out with one image at once; give more, or a smaller input: "
                + hint("--recipe size=224", "recipe={'size': 224}"),
            )
        else:
            self.record_crash(specimen, analysis, error)

    def record_crash(self, specimen: str, analysis: str, error: Exception) -> None:
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
        self.record_failure(specimen, analysis, f"{describe_error(error)} ({whose(analysis)}; {where})")

    def record_skip(self, specimen: str, analysis: str, reason: str) -> None:
        """Write down what cannot be known here, and go on."""
        self.outcome.skipped.append({"specimen": specimen, "analysis": analysis, "reason": reason})
        self.listener(Event("skipped", specimen, analysis, reason))

    def record_left_out(self, reasons: Mapping[str, str], why: str) -> None:
        """Write down what the effort or the budget leaves out, and say it in one line."""
        self.outcome.skipped.extend({"specimen": "", "analysis": name, "reason": reason} for name, reason in reasons.items())
        if reasons:
            self.listener(Event("skipped", "", ", ".join(reasons), why))

    def record_failure(self, specimen: str, analysis: str, reason: str) -> None:
        """Write down a failure, and go on."""
        self.outcome.failed.append({"specimen": specimen, "analysis": analysis, "reason": reason})
        self.listener(Event("failed", specimen, analysis, reason))

    def write(self, names: Sequence[str], began: float, record: Mapping[str, Any]) -> None:
        """run.json: which findings this run stands for, so that the report and the app need not guess."""
        places = [
            str(self.store.place(specimen, analysis, str(finding.origin["key"])).relative_to(self.store.root))
            for (specimen, analysis), finding in self.outcome.findings.items()
        ]
        self.store.write_run(
            {
                **record,
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


def _rests_on(finding: Finding) -> tuple[str, str]:
    """The digests of the weights and the images of a finding."""
    return str(finding.origin.get("specimen", {}).get("digest", "")), str(finding.origin.get("images", {}).get("digest", ""))


def is_memory_error(error: BaseException) -> bool:
    """Whether memory ran out, on the CPU or on an accelerator."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error).lower() for words in FULL)
