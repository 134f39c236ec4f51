"""What a run came to: findings of one analysis, and whose fault a crash is."""

from pathlib import Path

import pytest

from microtome import catalog
from microtome.finding import Finding
from microtome.runner.outcome import Event, Outcome, ignore_event, whose


def test_findings_of_one_analysis_come_in_the_order_of_the_specimens() -> None:
    first, second, other = (object.__new__(Finding) for _ in range(3))
    outcome = Outcome(Path("results"), {("b", "cost"): first, ("b", "erf"): other, ("a", "cost"): second})
    assert outcome.of("cost") == [first, second] and outcome.of("erf") == [other] and outcome.of("cam") == []


def test_a_fault_is_reported_to_the_package_it_lies_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whose("cost") == "a fault of microtome; please report it"
    entry = catalog.analysis_entry("cost")
    monkeypatch.setattr(catalog, "plugin_names", lambda: {"silence"})
    monkeypatch.setattr(catalog, "analysis_entry", lambda name: entry)
    assert whose("silence") == "a fault of the plug-in microtome; report it there, or leave it out: skip=['silence']"


def test_the_silent_listener_takes_any_event(capsys: pytest.CaptureFixture[str]) -> None:
    ignore_event(Event("measured", "a", "cost", "headline"))
    assert capsys.readouterr() == ("", "")
