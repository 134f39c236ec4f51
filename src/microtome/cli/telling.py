"""The summary at the end of a measuring command: comparison, recommendation, failures, and the path of the report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microtome.cli.tables import comparison_table
from microtome.prose import plural

if TYPE_CHECKING:
    from microtome.images import Images
    from microtome.runner import Outcome


def report_outcome(
    outcome: "Outcome", images: "Images | None", page: Path | None, as_json: bool, quiet: bool, seconds: float
) -> int:
    """Print the outcome of the run and return its exit code: 0, 1 if anything failed, 2 for a wrong call; `page` is its report."""
    code = 2 if outcome.misused else 1 if outcome.failed else 0
    if as_json:
        summary = {"event": "end", "out": str(outcome.root), "report": str(page) if page else None, "failed": outcome.failed,
                "skipped": outcome.skipped, "reused": len(outcome.reused), "seconds": round(seconds, 1), "code": code}  # fmt: skip
        click.echo(json.dumps(summary, ensure_ascii=False))
        return code
    if quiet:
        _report_problems(outcome)
        return code
    for finding in outcome.of("compare"):
        if len(finding.origin["specimens"]) > 1:
            click.echo("\n" + comparison_table(finding))
    if images is not None and images.skipped:
        click.echo(
            f"\n{plural(len(images.skipped), 'file')} were not used; the first: {images.skipped[0].path}: {images.skipped[0].reason}"
        )
    _report_failures(outcome)
    click.echo(
        f"\n{plural(len(outcome.findings), 'finding')} ({len(outcome.reused)} reused) in {outcome.root}, {seconds:.0f} s."
    )
    if page is not None:
        click.echo(f"Report: {page.resolve()}")
    return code


def _report_failures(outcome: "Outcome") -> None:
    """Failures, on stderr."""
    for failure in outcome.failed:
        click.echo(f"FAILED {failure['specimen']}: {failure['analysis']}: {failure['reason']}", err=True)


def _report_problems(outcome: "Outcome") -> None:
    """With --quiet: failures and, where nothing was measured, the reasons; on stderr."""
    _report_failures(outcome)
    for failure in outcome.skipped if not outcome.findings else ():
        click.echo(f"{failure['specimen']}: {failure['analysis']}: skipped, {failure['reason']}", err=True)
