"""The curves of a training: a log of JSON lines, a finding that the report and the page draw, and TensorBoard where it is asked for."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microtome._version import __version__
from microtome.atomic_write import atomic_write
from microtome.errors import MissingExtra
from microtome.finding import Finding, array, plain
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.intervals import wilson_interval
from microtome.panels import Curve, Panel
from microtome.store import Store
from microtome.training.validating import Answers

ANALYSIS = "training"
LOG_FILE = "log.jsonl"

Rows = Sequence[Mapping[str, Any]]


def write_log(folder: Path, rows: Rows) -> None:
    """Write one JSON line for each epoch."""
    with atomic_write(folder / LOG_FILE) as file:
        file.writelines((json.dumps(row) + "\n").encode() for row in rows)


def save_curves(folder: Path, rows: Rows, source: Mapping[str, Any], answers: Answers | None) -> Finding:
    """Write the finding of the epochs so far into the folder, and the run file that the report reads; the finding."""
    finding = curves_finding(rows, source, answers)
    store = Store(folder)
    place = store.save(finding)
    specimen, images = source["specimen"], source["images"]
    store.write_run(
        {
            "title": source["title"],
            "specimens": [specimen["name"]],
            "images": images,
            "findings": [str(place.relative_to(folder))],
            "skipped": [],
            "failed": [],
            "notes": [],
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"microtome": __version__, "torch": torch.__version__},
        }
    )
    return finding


def curves_finding(rows: Rows, source: Mapping[str, Any], answers: Answers | None) -> Finding:
    """Loss, accuracy and learning rate over the epochs so far; `source` is the finding's origin, `answers` are those of the last epoch."""
    epochs = [int(row["epoch"]) for row in rows]
    arrays = {
        name: array([_number(row.get(name)) for row in rows], ("epoch",), unit, {"epoch": epochs}, title)
        for name, unit, title in (
            ("loss", "nat", "training loss"),
            ("validation_loss", "nat", "validation loss"),
            ("validation_accuracy", FRACTION, "validation accuracy"),
            ("validation_mean_iou", FRACTION, "validation mean IoU"),
            ("learning_rate", "1", "learning rate"),
        )
        if any(row.get(name) is not None for row in rows)
    }
    losses = tuple(name for name in ("loss", "validation_loss") if name in arrays)
    scores = tuple(name for name in ("validation_accuracy", "validation_mean_iou") if name in arrays)
    panels: list[Panel] = [Curve(title="Loss", y=losses, x="epoch", note="Mean cross-entropy; of training with augmentation.")]
    if scores:
        panels.append(Curve(title="Accuracy", y=scores, x="epoch", note="On the validation images, without augmentation."))
    panels.append(Curve(title="Learning rate", y=("learning_rate",), x="epoch", note="Of the last update of each epoch."))
    return Finding(
        analysis=ANALYSIS,
        arrays=arrays,
        panels=tuple(panels),
        key_numbers=tuple(_key_numbers(rows, answers)),
        headline=_headline(rows, int(source["facts"]["epochs"])),
        caveats=tuple(_caveats(answers)),
        title="Training",
        summary="Loss, accuracy and learning rate by epoch.",
        source="Our own loop on Lightning Fabric.",
        origin=plain(source),
    )


def _number(value: Any) -> float:
    return nan if value is None else float(value)


def _key_numbers(rows: Rows, answers: Answers | None) -> list[KeyNumber]:
    last = rows[-1]
    numbers: list[KeyNumber] = []
    accuracy = _number(last.get("validation_accuracy"))
    if not np.isnan(accuracy):
        low = high = nan
        if answers is not None and answers.confusion is None:
            interval = wilson_interval(int((answers.predicted == answers.label).sum()), len(answers.label))
            low, high = interval.low, interval.high
        numbers.append(
            KeyNumber(name="validation accuracy", value=accuracy, unit=FRACTION, low=low, high=high, better="higher")
        )
    if last.get("validation_mean_iou") is not None:
        numbers.append(
            KeyNumber(name="validation mean IoU", value=_number(last["validation_mean_iou"]), unit=FRACTION, better="higher")
        )
    numbers.append(KeyNumber(name="training loss", value=_number(last["loss"]), unit="nat", better="lower"))
    if last.get("validation_loss") is not None:
        numbers.append(KeyNumber(name="validation loss", value=_number(last["validation_loss"]), unit="nat", better="lower"))
    numbers.append(KeyNumber(name="epochs", value=float(last["epoch"])))
    return numbers


def _headline(rows: Rows, epochs: int) -> str:
    last = rows[-1]
    after = f"after {last['epoch']} of {epochs} epochs"
    loss = f"training loss {format_value(_number(last['loss']))}"
    if last.get("validation_accuracy") is None:
        return f"{loss[0].upper()}{loss[1:]} {after}."
    return f"Validation accuracy {format_value(_number(last['validation_accuracy']), FRACTION)} {after}; {loss}."


def _caveats(answers: Answers | None) -> list[str]:
    if answers is None:
        return ["No images were kept for validation, so how well it generalises is unknown."]
    return ["Whoever chooses recipes by the validation accuracy has tuned on it; judge the final network on other images."]


class TensorBoardLog:
    """Writes the curves for TensorBoard; epochs that a killed run wrote already are replaced."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra(
                "TensorBoard is not installed; install it with: pip install 'microtome[tensorboard]'."
            ) from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch + 1)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write the values of one epoch."""
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name.replace("validation_", "validation/"), float(value), int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
