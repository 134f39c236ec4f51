"""The finding of a training: arrays by epoch, Wilson's interval, words; the log and TensorBoard's file."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import MissingExtra
from microtome.report.html import report_bundle
from microtome.training.curves import TensorBoardLog, curves_finding, save_curves, write_log
from microtome.training.validating import Answers

ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "loss": 2.5, "learning_rate": 0.1, "validation_loss": 2.25, "validation_accuracy": 0.25},
    {"epoch": 2, "loss": 1.5, "learning_rate": 0.05, "validation_loss": 1.75, "validation_accuracy": 0.75},
]
SOURCE: dict[str, Any] = {
    "analysis": "training", "key": "k", "title": "A training", "specimen": {"name": "net", "trained": True, "recipe": {}},
    "images": {"name": "photos", "digest": "d"}, "options": {}, "facts": {"epochs": 3}, "versions": {}, "device": "cpu",
}  # fmt: skip
ANSWERS = Answers(1.75, np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]))


def test_arrays_key_numbers_and_headline() -> None:
    finding = curves_finding(ROWS, SOURCE, ANSWERS)
    assert finding["loss"].values.tolist() == [2.5, 1.5]
    assert finding["loss"].coords["epoch"].values.tolist() == [1, 2]
    accuracy = finding.key("validation accuracy")
    assert accuracy.value == 0.75
    # Wilson 1927 for 3 of 4 at 95%: (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n), by hand
    assert (accuracy.low, accuracy.high) == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
    assert finding.headline == "Validation accuracy 75.0% after 2 of 3 epochs; training loss 1.50."
    assert [panel.title for panel in finding.panels] == ["Loss", "Accuracy", "Learning rate"]
    drawn = finding.figure("Loss").axes[0].lines
    assert [line.get_ydata().tolist() for line in drawn[:2]] == [[2.5, 1.5], [2.25, 1.75]]


def test_without_validation_images_nothing_is_claimed_of_them() -> None:
    rows = [{**row, "validation_loss": None, "validation_accuracy": None} for row in ROWS]
    finding = curves_finding(rows, SOURCE, None)
    assert set(finding.arrays) == {"loss", "learning_rate"}
    assert finding.headline == "Training loss 1.50 after 2 of 3 epochs."
    assert "unknown" in finding.caveats[0]


def test_the_log_has_a_line_for_each_epoch_and_the_report_shows_the_finding(tmp_path: Path) -> None:
    write_log(tmp_path, ROWS)
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == ROWS
    save_curves(tmp_path, ROWS[:1], SOURCE, None)
    save_curves(tmp_path, ROWS, SOURCE, ANSWERS)  # the next epoch replaces it
    bundle = report_bundle(tmp_path, None)
    assert [content["headline"] for content in bundle["findings"]] == [
        "Validation accuracy 75.0% after 2 of 3 epochs; training loss 1.50."
    ]


def test_tensorboard_gets_every_value_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first in (0, 1):  # killed after the second epoch was written, and begun again behind the first
        log = TensorBoardLog(tmp_path, first)
        for row in ROWS[first:]:
            log.add(row)
        log.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("validation/accuracy")] == [(1, 0.25), (2, 0.75)]
    assert [event.value for event in read.Scalars("loss")] == [2.5, 1.5]


def test_without_tensorboard_the_line_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'microtome\[tensorboard\]'"):
        TensorBoardLog(tmp_path, 0)
