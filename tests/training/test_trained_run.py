"""A training's folder read back: files by epoch, and what counts as finished."""

import json
from pathlib import Path

import pytest

from microtome.errors import CheckpointError
from microtome.training.recipe import recipe_from
from microtome.training.trained_run import TrainedRun, finished_run

RECIPE = recipe_from({"network": {"name": "mini_vgg"}, "data": {"images": "scenes"}, "run": {"epochs": 2}})


def write_run(folder: Path, epochs: int, weights: bool = True) -> None:
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    for epoch in (0, 1, 2, 16):
        (folder / "checkpoints" / f"epoch-{epoch:03d}.safetensors").touch()
    content = {
        "digest": RECIPE.digest,
        "curves": [{"epoch": number + 1} for number in range(epochs)],
        "options": {"num_classes": 3},
    }
    (folder / "training.json").write_text(json.dumps(content))
    (folder / "weights.safetensors").touch() if weights else (folder / "weights.safetensors").unlink(missing_ok=True)


def test_checkpoints_are_named_by_their_epochs(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    run = finished_run(tmp_path, RECIPE)
    assert isinstance(run, TrainedRun)
    assert list(run.checkpoints) == [0, 1, 2, 16]
    assert (run.weights, run.answers) == (tmp_path / "weights.safetensors", tmp_path / "answers.npz")
    assert run.options == {"num_classes": 3}


def test_what_is_not_finished_is_none_and_another_recipe_is_refused(tmp_path: Path) -> None:
    assert finished_run(tmp_path, RECIPE) is None
    write_run(tmp_path, 1)
    assert finished_run(tmp_path, RECIPE) is None
    write_run(tmp_path, 2, weights=False)
    assert finished_run(tmp_path, RECIPE) is None
    with pytest.raises(CheckpointError, match="by another recipe"):
        finished_run(tmp_path, RECIPE.with_changes({"run.seed": 3}))
    (tmp_path / "training.json").write_text("{")
    assert finished_run(tmp_path, RECIPE) is None  # torn: the state decides
