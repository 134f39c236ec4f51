"""One run of an experiment: train, measure, write down what it came to; a failure is written down with its reason."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from microtome._version import __version__
from microtome.atomic_write import atomic_write
from microtome.errors import MicrotomeError
from microtome.images import Images
from microtome.key_numbers import FRACTION
from microtome.numerics.graph.counts import count_parameters
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.store import Store
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
        trained = train(run.recipe, run.trained, progress=tell)
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
    specimen = trained.specimen().with_name(run.name)
    images = lru_cache(maxsize=None)(lambda word: find_images(word, run, trained))
    right = right_answers(trained.folder)
    measured = measure_network(specimen, experiment, images, trained.checkpoints, Store(run.folder / FINDINGS_FOLDER))
    own = {
        "accuracy": _accuracy(right),
        "loss": describe_number(_last(trained.curves, "validation_loss"), better="lower"),
        "parameters": describe_number(float(count_parameters(specimen.net))),
    }
    asked = {query.text for query in experiment.numbers}
    return {
        **measured,
        "numbers": {name: number for name, number in own.items() if name in asked} | measured["numbers"],
        "findings": [Path(path).relative_to(run.folder).as_posix() for path in measured["findings"]],
        "parameters": int(own["parameters"]["value"]),
        "judged": 0 if right is None else len(right),
        "curves": trained.curves,
    }
