"""Runs of an experiment as if they were finished: results and answers written by hand, nothing trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from microtome.training.experiment.definition import Experiment, read_experiment
from microtome.training.experiment.run_plan import PlannedRun, plan_runs

IMAGES = 400


def gates_experiment(seeds: tuple[int, ...] = (0, 1, 2), validation: str = "scenes:400,seed=1", **keys: Any) -> Experiment:
    """A baseline and two variants, of which nothing is trained."""
    data = {"images": "scenes:40"} | ({"validation": validation} if validation else {})
    content = {
        "title": "Gates on scenes",
        "question": "Do gates help?",
        "source": "ours",
        "recipe": {"network": {"name": "microtome:mini_vgg"}, "data": data},
        "variant": [
            {"name": "gates", "changes": {"network.edits": ["squeeze_excitation"]}},
            {"name": "nothing", "changes": {"title": "the same"}},
        ],
        "seeds": list(seeds),
        "analyses": {"banding": {"over_epochs": True}},
        "numbers": ["accuracy", "banding: index[last]"],
        **keys,
    }
    return read_experiment(content, "gates")


def write_run(run: PlannedRun, right: np.ndarray[Any, Any], index: float, **changes: Any) -> None:
    """The files of a finished run: which of its images were right, and a banding index at its end and over epochs."""
    label = np.arange(len(right)) % 10
    run.training_folder.mkdir(parents=True)
    np.savez(run.training_folder / "answers.npz", predicted=np.where(right, label, (label + 1) % 10), label=label)
    accuracy = {"value": float(right.mean()), "low": None, "high": None, "unit": "fraction", "better": "higher"}
    result = {
        "recipe_digest": run.recipe.digest,
        "analyses_digest": run.analyses_digest,
        "state": "finished",
        "numbers": {"accuracy": accuracy, "banding: index[last]": {**accuracy, "value": index, "unit": "1", "better": ""}},
        "over_epochs": {"banding: index[last]": [[0, 0.0], [1, index / 2], [2, index]]},
        "curves": [
            {"epoch": 1, "loss": 2.0, "validation_accuracy": 0.3},
            {"epoch": 2, "loss": 1.5, "validation_accuracy": 0.5},
        ],
        "parameters": 1234,
        "judged": len(right),
        "skipped": [],
        "seconds": 1.0,
        "date": "2026-11-30",
        "torch": "2.13.0",
        **changes,
    }
    (run.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def finished_runs(experiment: Experiment, out: Path, planted: float = 0.2) -> list[PlannedRun]:
    """All runs as if finished: `gates` is right on about `planted` more of the images, `nothing` on as many."""
    runs = plan_runs(experiment, out)
    for run in runs:
        random = np.random.default_rng([run.seed, 5, run.variant.name == "nothing"])
        level = 0.6 + 0.01 * run.seed + (planted if run.variant.name == "gates" else 0)
        write_run(run, random.random(IMAGES) < level, 0.1 * run.seed + (0.3 if run.variant.name == "gates" else 0))
    return runs
