"""What an experiment came to so far: every run, every number, every difference, as one file of plain JSON values (experiment.json)."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from microtome._version import __version__
from microtome.hardware import core_count, processor_name
from microtome.numerics.statistics.intervals import Interval
from microtome.training.experiment.answers import RightAnswers, read_answers
from microtome.training.experiment.definition import Experiment
from microtome.training.experiment.differences import MIN_SEEDS, PairedDifference, accuracy_difference, seed_difference
from microtome.training.experiment.run_plan import FINISHED, PlannedRun

FORMAT = 1
SUMMARY = "experiment.json"
ACCURACY = "accuracy"
ONE_SET = "the validation images are others for each seed; name data.validation to have one set"
OTHER_SETS = "the variant was validated on other images than the reference"


@dataclass(frozen=True)
class _Done:
    """A finished run: its result, and which validation images it had right."""

    run: PlannedRun
    result: Mapping[str, Any]
    right: RightAnswers | None


def summarise(experiment: Experiment, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    """All that is known of these runs, as plain JSON values."""
    results = [(run, run.result()) for run in runs]
    done = {
        (run.variant.name, run.seed): _Done(run, result, read_answers(run.training_folder))
        for run, result in results
        if result is not None and result["state"] == FINISHED
    }
    numbers = _numbers(done.values())
    return {
        "format": FORMAT,
        **{key: getattr(experiment, key) for key in ("name", "title", "question", "source", "reference")},
        "notes": list(experiment.notes),
        "seeds": sorted({run.seed for run in runs}),
        "recipe": experiment.recipe.json(),
        "analyses": [analysis.json() for analysis in experiment.analyses],
        "numbers": numbers,
        "variants": [
            {"name": variant.name, "changes": _plain(variant.changes), "parameters": _parameters(done, variant.name)}
            for variant in experiment.variants
        ],
        "runs": [_run_row(run, result) for run, result in results],
        "differences": _differences(experiment, done, numbers),
        "min_seeds": MIN_SEEDS,
        "machine": machine_facts(),
        "date": max((str(each.result["date"]) for each in done.values()), default=datetime.now(UTC).date().isoformat()),
    }


def _numbers(done: Any) -> list[dict[str, Any]]:
    """Every number that some run has, in the order in which they were asked for and found."""
    known: dict[str, dict[str, Any]] = {}
    for each in done:
        for name, number in each.result["numbers"].items():
            known.setdefault(name, {"name": name, "unit": number["unit"], "better": number["better"]})
    return list(known.values())


def _parameters(done: Mapping[tuple[str, int], _Done], variant: str) -> int | None:
    return next((int(each.result["parameters"]) for (name, _), each in done.items() if name == variant), None)


def _run_row(run: PlannedRun, result: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variant": run.variant.name,
        "seed": run.seed,
        "state": run.state(),
        "recipe_digest": run.recipe.digest,
    }
    if result is None:
        return row
    keys = ("reason", "numbers", "over_epochs", "curves", "judged", "skipped", "seconds", "date", "torch")
    return row | {key: result[key] for key in keys if key in result}


def _differences(
    experiment: Experiment, done: Mapping[tuple[str, int], _Done], numbers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Every number of every variant minus that of the reference."""
    rows: list[dict[str, Any]] = []
    for number in numbers:
        name = str(number["name"])
        reference = _values(done, experiment.reference, name)
        for variant in experiment.variants:
            values = _values(done, variant.name, name)
            if variant.name == experiment.reference or not values:
                continue
            difference, why_not = seed_difference(values, reference), ""
            if name == ACCURACY:
                difference, why_not = _accuracy_difference(experiment, done, variant.name, difference)
            rows.append({"variant": variant.name, "number": name, "unit": number["unit"], **_plain_difference(difference)})
            rows[-1] |= {"no_image_interval": why_not} if why_not else {}
    return rows


def _accuracy_difference(
    experiment: Experiment, done: Mapping[tuple[str, int], _Done], variant: str, plain: PairedDifference
) -> tuple[PairedDifference, str]:
    """The difference with its interval over images; without it, and why, where the images are not the same."""
    sides: list[dict[int, NDArray[np.bool_]]] = [{}, {}]
    pairs = [(done[variant, seed], done[experiment.reference, seed]) for seed in plain.seeds]
    for seed, pair in zip(plain.seeds, pairs, strict=True):
        first, second = pair[0].right, pair[1].right
        if first is None or second is None or not first.same_images(second):
            return plain, OTHER_SETS
        sides[0][seed], sides[1][seed] = first.right, second.right
    own_set = all(each.run.recipe.data.validation for pair in pairs for each in pair)
    if len(pairs) > 1 and not own_set:
        return plain, ONE_SET
    return accuracy_difference(*sides), ""


def _values(done: Mapping[tuple[str, int], _Done], variant: str, number: str) -> dict[int, float]:
    """The values of a number by seed, those that are known."""
    values = {
        seed: each.result["numbers"][number]["value"]
        for (name, seed), each in done.items()
        if name == variant and number in each.result["numbers"]
    }
    return {seed: float(value) for seed, value in values.items() if value is not None}


def _plain_difference(difference: PairedDifference) -> dict[str, Any]:
    return {
        "seeds": list(difference.seeds),
        "by_seed": list(difference.by_seed),
        "over_seeds": _bounds(difference.over_seeds),
        "over_images": _bounds(difference.over_images),
        "verdict": difference.verdict,
    }


def _bounds(interval: Interval) -> list[float | None]:
    """Value, low and high; None for what is not known."""
    return [float(each) if np.isfinite(each) else None for each in interval]


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}


def machine_facts() -> dict[str, Any]:
    """Where the summary was made, as plain JSON values."""
    return {
        "processor": processor_name(),
        "cores": core_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "microtome": __version__,
    }
