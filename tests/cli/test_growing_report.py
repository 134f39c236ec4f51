"""When the report of a run is written: a clock and a writer that are counted by hand."""

from pathlib import Path

import pytest

from microtome.cli import growing_report
from microtome.cli.growing_report import SPARSE, GrowingReport
from microtome.errors import FindingError


class Clock:
    """A clock that stands still but for writing a report, which takes two seconds."""

    def __init__(self) -> None:
        self.now, self.written = 100.0, 0

    def write(self, root: Path) -> Path:
        self.now += 2.0
        self.written += 1
        return root / "report.html"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(growing_report.time, "monotonic", lambda: made.now)
    monkeypatch.setattr("microtome.report.html.write_report", made.write)
    return made


def test_it_is_written_at_once_then_seldom_and_whole_at_the_end(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = GrowingReport(quiet=False)
    report.grow(tmp_path)
    assert clock.written == 1
    assert capsys.readouterr().out.startswith("First report: ")
    clock.now += 2 * SPARSE - 0.1
    report.grow(tmp_path)
    assert clock.written == 1, "two seconds of writing in less than twenty"
    clock.now += 0.2
    report.grow(tmp_path)
    assert clock.written == 2
    report.grow(tmp_path)
    assert report.finish(tmp_path) == tmp_path / "report.html"
    assert clock.written == 3, "the last findings are in it"
    assert capsys.readouterr().out == ""


def test_a_report_that_is_up_to_date_is_not_written_again(clock: Clock, tmp_path: Path) -> None:
    report = GrowingReport(quiet=True)
    report.grow(tmp_path)
    report.finish(tmp_path)
    assert clock.written == 1
    alone = GrowingReport(quiet=True)  # of a run without stages
    alone.finish(tmp_path)
    assert clock.written == 2


def test_an_interrupt_leaves_the_report_of_what_there_is_or_nothing(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = GrowingReport(quiet=True)
    report.grow(tmp_path)
    report.leave(tmp_path)
    assert clock.written == 2
    assert "Report of what was measured: " in capsys.readouterr().err

    def nothing(root: Path) -> Path:
        raise FindingError("nothing to show")

    monkeypatch.setattr("microtome.report.html.write_report", nothing)
    GrowingReport(quiet=True).leave(tmp_path)
    assert capsys.readouterr().err == ""
