"""One run of an experiment: train, measure, write down what it came to; a failure is written down with its reason."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from microtome._version import __version__
from microtome.atomic_write import write_json
from microtome.errors import ImagesError, MicrotomeError
from microtome.finding import Finding
from microtome.images import Images
from microtome.key_numbers import FRACTION
from microtome.numerics.graph.counts import count_parameters
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.store import Store
from microtome.training.data import open_labelled, open_training_data
from microtome.training.experiment.answers import RightAnswers, read_answers, read_mean_iou
from microtome.training.experiment.definition import NO_IMAGES, TRAINING, VALIDATION, Experiment
from microtome.training.experiment.measuring import describe_number, measure_network
from microtome.training.experiment.run_plan import FAILED, FINDINGS_FOLDER, FINISHED, PROTOCOL, RESULT, PlannedRun
from microtome.training.train import TrainedRun, train

FORMAT = 1
LOG = "run.log"  # tracebacks
Tell = Callable[[dict[str, Any]], None]


def complete_run(experiment: Experiment, run: PlannedRun, tell: Tell) -> dict[str, Any]:
    """Train and measure one run, or go on where it was; the content of its result file. `tell` is given the facts of each epoch."""
    began = time.monotonic()
    run.check_folder()
    write_json(run.folder / PROTOCOL, {"recipe_digest": run.recipe.digest, "recipe": run.recipe.json(), "run": run.name})
    try:
        trained = train(
            run.recipe, run.training_folder, progress=lambda event: tell(event) if event.get("event") == "epoch" else None
        )
        content = _measure(experiment, run, trained)
    except MicrotomeError as error:
        return record_failure(run, str(error))
    except Exception as error:  # one failing run must not take the others along
        with (run.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc() + "\n")
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
        return record_failure(run, f"{type(error).__name__}: {first} (traceback in {run.folder / LOG})")
    return _write_result(run, {"state": FINISHED, **content, "seconds": round(time.monotonic() - began, 1)})


def record_failure(run: PlannedRun, reason: str) -> dict[str, Any]:
    """Write down that a run failed, and why; the next call tries it again."""
    return _write_result(run, {"state": FAILED, "reason": reason})


def _write_result(run: PlannedRun, content: Mapping[str, Any]) -> dict[str, Any]:
    result = {
        "format": FORMAT,
        "variant": run.variant.name,
        "seed": run.seed,
        "recipe_digest": run.recipe.digest,
        "analyses_digest": run.analyses_digest,
        **content,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "microtome": __version__,
    }
    write_json(run.folder / RESULT, result)
    return result


def _measure(experiment: Experiment, run: PlannedRun, trained: TrainedRun) -> dict[str, Any]:
    """What is known of the trained network, as plain JSON values."""
    _name_curves(run)
    specimen = trained.specimen().with_name(run.name)
    images = lru_cache(maxsize=None)(lambda word: find_images(word, run))
    answers = read_answers(trained.folder)
    measured = measure_network(specimen, experiment, images, trained.checkpoints, Store(run.folder / FINDINGS_FOLDER))
    own = {
        "accuracy": _accuracy(answers),
        "mean IoU": describe_number(*(read_mean_iou(trained.folder) or UNKNOWN_INTERVAL), unit=FRACTION, better="higher"),
        "loss": describe_number(_last(trained.curves, "validation_loss"), better="lower"),
        "parameters": describe_number(float(count_parameters(specimen.net))),
    }
    asked = {query.text for query in experiment.numbers}
    return {
        **measured,
        "numbers": {name: number for name, number in own.items() if name in asked} | measured["numbers"],
        "findings": [Path(path).relative_to(run.folder).as_posix() for path in measured["findings"]],
        "parameters": int(own["parameters"]["value"]),
        "judged": 0 if answers is None else len(answers.right),
        "curves": list(trained.curves),
    }


def _name_curves(run: PlannedRun) -> None:
    """Give the findings of the training the name of the run: the page shows one finding for each analysis and name."""
    for folder in Store(run.training_folder).folders():
        finding = Finding.load(folder)
        if finding.specimen and finding.specimen != run.name:
            specimen = {**finding.origin["specimen"], "name": run.name}
            replace(finding, origin={**finding.origin, "specimen": specimen}).save(folder)


def find_images(word: str, run: PlannedRun) -> Images | None:
    """The images that an analysis is made on: the validation or training images of the run, none, or what the word names.

    Raises: ImagesError, BadOption.
    """
    if word == NO_IMAGES:
        return None
    if word not in (VALIDATION, TRAINING):
        return open_labelled(word)
    data = open_training_data(run.recipe.data, run.recipe.run.seed)
    chosen = data.training if word == TRAINING else data.validation
    if chosen is None:
        raise ImagesError(f"{run.name} has no validation images; name data.validation, or a data.validation_fraction above 0.")
    return chosen.images


def _accuracy(answers: RightAnswers | None) -> dict[str, Any]:
    if answers is None:
        return describe_number(float("nan"), unit=FRACTION, better="higher")
    interval = proportion_interval(int(answers.right.sum()), len(answers.right))
    return describe_number(*interval, unit=FRACTION, better="higher")


def _last(curves: Sequence[Mapping[str, Any]], name: str) -> float:
    """The last value of a curve; not a number where there is none."""
    value = curves[-1].get(name) if curves else None
    return float("nan") if value is None else float(value)
