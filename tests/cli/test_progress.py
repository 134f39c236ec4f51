"""What a running command shows: JSON lines, plain lines in pipes, results when quiet, and bars on a terminal."""

import io
import json
import re
import sys

import pytest

from microtome.cli.progress import listeners
from microtome.runner import Event
from microtome.scan import Step

EVENTS = [
    Event("measured", "net", "cost", "4.2 M parameters"),
    Event("reused", "net", "probe", "best at layer3"),
    Event("skipped", "", "compare", "there is one specimen"),
    Event("failed", "net", "cam", "no scores"),
]


def shown(as_json: bool, quiet: bool) -> None:
    with listeners(as_json, quiet) as (step, event):
        step(Step("images", 3, 10, 1.5))
        for one in EVENTS:
            event(one)


def test_json_lines_hold_every_step_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    shown(True, False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"event": "step", "what": "images", "done": 3, "total": 10, "seconds": 1.5, "resumed": 0}
    assert [line["event"] for line in lines] == ["step", "measured", "reused", "skipped", "failed"]
    assert lines[4] == {"event": "failed", "kind": "failed", "specimen": "net", "analysis": "cam", "text": "no scores"}


def test_a_pipe_gets_one_line_for_each_event_and_failures_are_left_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    shown(False, False)
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "net: cost: 4.2 M parameters", "net: probe: (reused) best at layer3", "compare: skipped, there is one specimen"
    ]  # fmt: skip
    assert told.err == ""


def test_quiet_shows_results_alone_but_json_wins(capsys: pytest.CaptureFixture[str]) -> None:
    shown(False, True)
    assert capsys.readouterr() == ("net: cost: 4.2 M parameters\nnet: probe: (reused) best at layer3\n", "")
    shown(True, True)
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_terminal_shows_events_above_a_bar_with_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    shown(False, False)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    for line in ("net: cost: 4.2 M parameters", "net: probe: (reused) best at layer3", "compare: skipped, there is one specimen",
                 "net: cam: failed, no scores"):  # fmt: skip
        assert line in lines
    assert "3/10" in lines
