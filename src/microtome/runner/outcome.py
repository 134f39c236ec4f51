"""What a run came to, and the events it tells on the way."""

from dataclasses import dataclass, field
from pathlib import Path

from microtome import catalog
from microtome.errors import hint
from microtome.finding import Finding


@dataclass
class Outcome:
    """What a run came to: its findings by (specimen, analysis), and what was skipped, failed or reused, each with the reason."""

    root: Path
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict[tuple[str, str], Finding])
    skipped: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    failed: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    reused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    misused: bool = False  # whether something failed since a name or an option of the call was wrong

    def of(self, analysis: str) -> list[Finding]:
        """The findings of one analysis, in the order of the specimens."""
        return [finding for (_, name), finding in self.findings.items() if name == analysis]


@dataclass(frozen=True)
class Event:
    """An event for a listener: a finding was saved, reused, skipped or failed."""

    kind: str  # "measured" | "reused" | "skipped" | "failed"
    specimen: str
    analysis: str
    text: str


LOG = "run.log"  # tracebacks, in the folder of the findings


def whose(analysis: str) -> str:
    """The package that a fault of an analysis should be reported to."""
    if analysis not in catalog.plugin_names():
        return "a fault of microtome; please report it"
    package = catalog.analysis_entry(analysis).module.partition(".")[0]
    return f"a fault of the plug-in {package}; report it there, or leave it out: " + hint(
        f"--skip {analysis}", f"skip=['{analysis}']"
    )


def ignore_event(event: Event) -> None:
    """The listener that does nothing."""
