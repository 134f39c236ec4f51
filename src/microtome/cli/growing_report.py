"""The report of a run that is under way: written early, again while it grows, and whole at the end or at an interrupt."""

import time
from contextlib import suppress
from pathlib import Path

import click

from microtome.errors import MicrotomeError

SPARSE = 10.0  # times as long as the last writing took pass before the report is written again


class GrowingReport:
    """Writes the report of one run; `quiet` says nothing about the first."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._page: Path | None = None
        self._ended = self._took = 0.0
        self._behind = True  # whether something was measured since it was written

    def grow(self, root: Path) -> None:
        """Write the report of the findings so far, unless it was written only just now for the time that this takes."""
        first = self._page is None
        self._behind = not first and time.monotonic() - self._ended < SPARSE * self._took
        if not self._behind:
            page = self._write(root)
            if first and not self._quiet:
                click.echo(f"First report: {page.resolve()} (it grows while the rest is measured; Ctrl-C leaves it whole)")

    def finish(self, root: Path) -> Path:
        """The report of all findings, written unless it is up to date."""
        return self._write(root) if self._page is None or self._behind else self._page

    def leave(self, root: Path) -> None:
        """Write the report of what an interrupted run has measured, if there is anything, and say where it lies."""
        with suppress(MicrotomeError):  # nothing was measured yet
            click.echo(f"Report of what was measured: {self._write(root).resolve()}", err=True)

    def _write(self, root: Path) -> Path:
        from microtome.report.html import write_report

        began = time.monotonic()
        self._page = write_report(root)
        self._ended = time.monotonic()
        self._took, self._behind = self._ended - began, False
        return self._page
