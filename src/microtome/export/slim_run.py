"""Search, remove, repair, measure before and after, and write a folder that needs no microtome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.repaired_network import RepairedNetwork, repair_set
from microtome.analyses.slimming.slimming import parse_fraction
from microtome.edits.remove_blocks import RemoveBlocks
from microtome.errors import MicrotomeError, Unmeasurable, UsageError
from microtome.export.comparison import Comparison, compare_answers
from microtome.export.files import WrittenFiles, write_files
from microtome.export.folders import REPORT, ResultFolder
from microtome.export.programs import check_onnx_packages
from microtome.export.read_me import Facts, budget_text, read_me, removal_title
from microtome.export.sample import sample_batch
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.class_matching import match_classes
from microtome.numerics.statistics.intervals import Interval
from microtome.prose import name_list, plural
from microtome.runner import Event, Outcome, analyze
from microtome.runner.outcome import ignore_event
from microtome.scan import Pace, resolve_device
from microtome.specimen import Specimen

REPAIR, JUDGE = 0.2, 0.2  # fractions of the images to repair and to choose by; the rest is reported on
REPAIR_TEXTS = {
    "none": "none",
    "linear": "linear maps in the places of the blocks, by least squares",
    "norms": "statistics of the norms after the first removed block estimated again",
    "fine-tune": "as in the search, then a fine-tune towards the full network's answers",
}


@dataclass(frozen=True)
class SlimResult:
    """What came of it: the folder written, the blocks removed (none: only a report was written), and one sentence.

    `specimen` is the smaller network and `comparison` what it costs beside the full one; None where nothing was removed.
    """

    folder: Path
    removed: tuple[str, ...]
    headline: str
    specimen: Specimen | None = None
    comparison: Comparison | None = None
    files: WrittenFiles | None = None


def slim(
    specimen: Specimen,
    images: Images,
    max_drop: float | str = 0.01,
    out: str | Path = "slim",
    *,
    search: str = "greedy",
    beam: int = 3,
    heal: int = 0,
    target_latency: str = "",
    target_macs: str = "",
    repair: Literal["norms", "linear"] = "norms",
    count: int = 2000,
    repeats: int = 9,
    onnx: bool = False,
    pace: Pace | None = None,
    listener: Callable[[Event], None] = ignore_event,
    command: str = "",
) -> SlimResult:
    """Remove as many blocks as `max_drop` allows, and write the smaller network to the folder `out`.

    `max_drop` is the accuracy that may be lost, as 0.01 or "1%"; `search`, `beam`, `target_latency`, `target_macs`, `repair`, `count` and
    `repeats` are the options of the analysis slimming; `heal` is a number of steps of a fine-tune at the end. 20% of the images serve to
    repair, 20% to choose, and the rest to report on. What was measured survives an interrupt in the folder `out.unfinished`.

    Raises:
        BadOption: an option out of range, or an `out` that holds something else.
        Unmeasurable: the images have no labels, or no block of the network can be removed.
        Uneditable: what was written gives other outputs.
        MissingExtra: `onnx` without the packages for it.
    """
    if onnx:
        check_onnx_packages()
    slimming = Slimming(search=search, beam=beam, max_drop=str(max_drop), target_latency=target_latency, target_macs=target_macs,
                        repair=repair, count=count, repeats=repeats, cuts=False, calibration=REPAIR, judging=JUDGE)  # type: ignore[arg-type]  # fmt: skip
    if reason := slimming.refusal(specimen, images):
        raise Unmeasurable(f"{specimen.name} cannot be slimmed on these images: {reason.rstrip('.')}.")
    run = _SlimRun(specimen, images, slimming, ResultFolder(out), pace or Pace(), listener, command)
    finding = run.search()
    if not finding.facts["chosen_set"]:
        return run.report_nothing(finding)
    return run.take_home(finding, heal, onnx)


@dataclass(frozen=True)
class _SlimRun:
    specimen: Specimen
    images: Images
    slimming: Slimming
    folder: ResultFolder
    pace: Pace
    listener: Callable[[Event], None]
    command: str

    def search(self) -> Finding:
        """The finding of slimming, measured now or taken from the work folder."""
        outcome = self._analyze([self.specimen], self.images, ["slimming"], {"slimming": self.slimming.options()})
        finding = outcome.findings.get((self.specimen.name, "slimming"))
        if finding is None:
            reasons = [f"{each['reason'].rstrip('.')}" for each in (*outcome.failed, *outcome.skipped)]
            kind = UsageError if outcome.misused else MicrotomeError if outcome.failed else Unmeasurable
            raise kind(f"{self.specimen.name} cannot be slimmed on these images: {'; '.join(reasons)}.")
        return finding

    def report_nothing(self, finding: Finding) -> SlimResult:
        """Write the report alone."""
        total = plural(len(finding.facts["blocks"]), "block")
        ended = str(finding.facts.get("ended", "no block can be removed with nothing in its place"))
        text = f"Nothing was removed: {ended}, and {100 * self.budget:g}% may be lost ({total}). Only the report was written."
        self._note(text)
        card = {"command": self.command, "removed": [], "headline": text}
        out = self.folder.finish(card, f"{self.specimen.name}: nothing removed", lambda _: None)
        return SlimResult(out, (), text)

    def take_home(self, finding: Finding, heal: int, onnx: bool) -> SlimResult:
        """Build the smaller network, measure it beside the full one, and write everything."""
        blocks = tuple(map(str, finding.facts["chosen_set"]))
        worker = self.specimen.on(resolve_device(self.pace.device))
        pace = replace(self.pace.fit_to(worker, gradients=heal > 0), keep=self.folder.store.tally_folder)
        repaired = repair_set(self.slimming, worker, self.images, pace, blocks, heal)
        smaller = self._smaller(repaired, blocks)
        before = self.folder.store.run()
        reported = self.images.take(repaired.reported.tolist())
        outcome = self._analyze(
            [self.specimen, smaller], reported, ["accuracy", "cost"], {"cost": {"repeats": self.slimming.repeats}}
        )
        costs = _costs(outcome, self.specimen, smaller)
        comparison = compare_answers(repaired.before, repaired.after, self.budget, _latency(finding), costs)
        headline = _headline(finding, blocks, comparison, self.budget)
        self._join_runs(before, headline, comparison)
        x = sample_batch(self.specimen, self.images, repaired.reported)
        files: list[WrittenFiles] = []

        def fill(scratch: Path) -> None:
            files.append(write_files(scratch, self.folder.out, self.specimen, smaller, blocks, x, onnx))
            facts = self._facts(finding, blocks, repaired, files[0])
            (scratch / "README.md").write_text(read_me(facts, self.specimen.recipe, comparison), encoding="utf-8")

        card = {
            "command": self.command, "specimen": self.specimen.name, "removed": list(blocks), "repair": repaired.repair,
            "images": finding.facts["images"], "headline": headline, **comparison.json(),
        }  # fmt: skip
        out = self.folder.finish(card, f"{removal_title(self.specimen.name, blocks)}: before and after", fill)
        return SlimResult(out, blocks, headline, smaller, comparison, files[0])

    def _smaller(self, repaired: RepairedNetwork, blocks: tuple[str, ...]) -> Specimen:
        """The smaller network as a specimen, with the repaired weights."""
        edited = RemoveBlocks(at=blocks, fill="linear" if self.slimming.repair == "linear" else "identity")(self.specimen)
        edited.net.load_state_dict(repaired.net.state_dict())
        note = f"Repair after the removal: {REPAIR_TEXTS[repaired.repair]}."
        return replace(edited, remarks=(*edited.remarks, note))

    def _analyze(
        self, specimens: Sequence[Specimen], images: Images, only: Sequence[str], settings: dict[str, dict[str, Any]]
    ) -> Outcome:
        """A run into the work folder."""
        record = {"command": self.command}
        return analyze(specimens, images, self.folder.work, only=only, settings=settings, pace=self.pace, listener=self.listener,
                       said=record, twins=0, effort="full")  # fmt: skip

    def _join_runs(self, earlier: dict[str, Any], headline: str, comparison: Comparison) -> None:
        """Let run.json stand for the search as well as for the comparison."""
        run = self.folder.store.run()
        joined = {name: [*earlier.get(name, []), *run.get(name, [])] for name in ("findings", "skipped", "failed")}
        seconds = {"seconds": round(float(earlier.get("seconds", 0)) + float(run.get("seconds", 0)), 1)}
        self.folder.store.write_run({**run, **joined, **seconds})
        rows = [f"{row.name}: {row.before} → {row.after} ({row.change})" for row in comparison.rows]
        self._note(headline, *rows)

    def _note(self, *lines: str) -> None:
        run = self.folder.store.run()
        self.folder.store.write_run({**run, "notes": [*lines, *run.get("notes", [])]})

    def _facts(self, finding: Finding, blocks: Sequence[str], repaired: RepairedNetwork, files: WrittenFiles) -> Facts:
        own = "the networks' own heads" if repaired.by_head else "linear probes on what the heads read"
        return Facts(
            title=removal_title(self.specimen.name, blocks),
            removed=blocks,
            repair=REPAIR_TEXTS[repaired.repair],
            parts=finding.facts["images"],
            judged_by=own,
            budget=self.budget,
            outputs=self._output_names(),
            output_count=self.specimen.outputs,
            files=[
                *files.files,
                (REPORT, "the search, and both networks side by side"),
                ("findings/", "the data of the report"),
            ],
            notes=files.notes,
            opened_by=files.opened_by,
        )

    def _output_names(self) -> Sequence[str]:
        """The names of the outputs: the network's own, or those of the images' classes that they were matched to."""
        if self.specimen.labels is not None:
            return self.specimen.labels
        try:
            match = match_classes(self.specimen, self.images, self.specimen.outputs or 0)
        except Unmeasurable:
            return ()
        names = dict(zip(match.output.tolist(), self.images.classes or (), strict=True))
        return [names.get(place, "unknown") for place in range(self.specimen.classes or 0)]

    @property
    def budget(self) -> float:
        """The accuracy that may be lost, as a fraction."""
        return parse_fraction("max_drop", self.slimming.max_drop)


def _latency(finding: Finding) -> Interval:
    at = {"candidate": finding.facts["chosen_candidate"]}
    return Interval(*(float(finding[name].sel(at)) for name in ("latency", "latency_low", "latency_high")))


def _costs(outcome: Outcome, specimen: Specimen, smaller: Specimen) -> dict[str, Finding]:
    findings = {"before": outcome.findings.get((specimen.name, "cost")), "after": outcome.findings.get((smaller.name, "cost"))}
    known = {which: finding for which, finding in findings.items() if finding is not None}
    return known if len(known) == len(findings) else {}


def _headline(finding: Finding, blocks: Sequence[str], comparison: Comparison, budget: float) -> str:
    accuracy = comparison.rows[0]
    total = len(finding.facts["blocks"])
    return (
        f"Removed {len(blocks)} of {plural(total, 'block')} ({name_list(list(blocks), 6)}): accuracy {accuracy.before} → "
        f"{accuracy.after}. {budget_text(comparison, budget)}"
    )
