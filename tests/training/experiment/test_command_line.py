"""`microtome experiment`: runs that are finished are listed and compared; pages and JSON; wrong words are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from hand_made_runs import finished_runs
from microtome.cli.experimenting import event_printer, experiment_command, parse_seeds
from microtome.errors import BadOption, UnknownName
from microtome.training.experiment.definition import load_experiment
from microtome.training.experiment.workers import RunEvent

TOML = """
title = "Gates"
question = "Do gates help?"
seeds = [0, 1, 2]
numbers = ["accuracy", "banding: index[last]"]
recipe = { network = { name = "microtome:mini_vgg" }, data = { images = "scenes:40", validation = "scenes:400,seed=1" } }
[[variant]]
name = "gates"
changes = { network.edits = ["squeeze_excitation"] }
[analyses.banding]
over_epochs = true
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "gates.toml").write_text(TOML, encoding="utf-8")
    finished_runs(load_experiment(tmp_path / "gates.toml"), tmp_path / "out")
    return tmp_path / "gates.toml"


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[Any, str]:
    code = experiment_command.main(args=[str(word) for word in words], standalone_mode=False)
    return code, capsys.readouterr().out


def test_finished_runs_are_compared_and_not_repeated(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = path.parent / "out", path.parent / "docs" / "gates.md"
    code, text = run(capsys, path, "--out", out, "--page", page)
    assert code == 0 and "baseline, seed 0: finished before" in text and "begun" not in text
    assert (
        "accuracy, gates: +" in text and "(higher; each seed +" in text and f"Report: {(out / 'report.html').resolve()}" in text
    )
    assert page.read_text(encoding="utf-8").startswith("# Gates\n") and "experiments/gates.toml" not in page.read_text("utf-8")
    assert json.loads(page.with_suffix(".json").read_text(encoding="utf-8")) == json.loads(
        (out / "experiment.json").read_text("utf-8")
    )


def test_json_lines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, path, "--out", path.parent / "out", "--json", "--seeds", "0,2")
    lines = [json.loads(line) for line in text.splitlines()]
    assert code == 0 and [line["event"] for line in lines] == ["reused"] * 4 + ["end"]
    assert lines[-1]["differences"][0]["seeds"] == [0, 2] and lines[-1]["failed"] == []


def test_runs_are_listed_and_nothing_is_trained(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, path, "--out", path.parent / "out", "--list-runs", "--seeds", "0,7")
    rows = [line.split() for line in text.splitlines()]
    assert code == 0 and [" ".join(row[3:-2]) for row in rows] == ["finished", "finished", "not begun", "not begun"]
    assert not (path.parent / "out" / "experiment.json").exists() and rows[0][-1].endswith("seed-0")
    _, text = run(capsys, path, "--out", path.parent / "out", "--list-runs", "--json")
    assert json.loads(text.splitlines()[0])["state"] == "finished"


def test_events_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    event, failure = RunEvent("epoch", "a, seed 0", "epoch 1", {"loss": 1.0}), RunEvent("failed", "a, seed 0", "why", {})
    for as_json, quiet in ((False, False), (False, True), (True, False)):
        event_printer(as_json, quiet)(event)
        event_printer(as_json, quiet)(failure)
    printed = capsys.readouterr()
    assert printed.err == "FAILED a, seed 0: why\n" * 2
    first, *lines = printed.out.splitlines()
    assert first == "a, seed 0: epoch 1" and json.loads(lines[0]) == {
        "event": "epoch",
        "run": "a, seed 0",
        "text": "epoch 1",
        "loss": 1.0,
    }


def test_what_is_refused(path: Path) -> None:
    for text in ("1,a", "-1", "1.5"):
        with pytest.raises(BadOption, match="not a list of whole numbers"):
            parse_seeds(text)
    assert parse_seeds("") is None and parse_seeds("2, 0") == [2, 0]
    with pytest.raises(BadOption, match="cannot be read"):
        experiment_command.main(args=[str(path.parent / "gate.toml")], standalone_mode=False)
    path.write_text(TOML.replace("seeds =", "sedes ="), encoding="utf-8")
    with pytest.raises(UnknownName, match="'seeds'"):
        experiment_command.main(args=[str(path)], standalone_mode=False)
