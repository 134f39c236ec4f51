"""Whole trainings: killed and continued to the bit, what they leave behind, and every way to stop in one sentence."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import microtome as mt
from killed_training import small_recipe
from microtome.errors import BadOption, CheckpointError, SpecimenError, WriteError
from microtome.finding import Finding
from microtome.training import state as states
from microtome.training import train as training
from microtome.training.train import train

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> training.TrainedRun:
    """An uninterrupted training."""
    return train(small_recipe(), tmp_path_factory.mktemp("whole"), device="cpu")


def equal_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_killed_at_any_update_goes_on_to_the_same_weights(whole: training.TrainedRun, tmp_path: Path) -> None:
    updates = random.randrange(1, 12)  # any: the sentence below names it
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, HERE.parent / "killed_training.py", tmp_path, str(updates)]
    died = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": path})
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "weights.safetensors").exists()
    again = train(small_recipe(), tmp_path, device="cpu")
    assert equal_weights(whole.weights, again.weights), f"killed after update {updates}"
    assert again.curves == whole.curves
    for epoch, path in whole.checkpoints.items():
        assert equal_weights(path, again.checkpoints[epoch])


def test_interrupted_after_every_update_it_still_ends_the_same(whole: training.TrainedRun, tmp_path: Path) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step":  # before the state of this update is written, so that it is done again next time
            seen.append(event["done"])
            if len(seen) == 2:
                raise KeyboardInterrupt

    for _ in range(40):
        seen: list[int] = []
        try:
            again = train(small_recipe(), tmp_path, progress=interrupt, state_every=0.0, device="cpu")
            break
        except KeyboardInterrupt:
            continue
    assert equal_weights(whole.weights, again.weights)


def test_a_training_leaves_weights_checkpoints_curves_answers_and_a_finding(whole: training.TrainedRun) -> None:
    assert sorted(whole.checkpoints) == [0, 1, 2]  # powers of two up to 3
    assert [row["epoch"] for row in whole.curves] == [1, 2, 3]
    assert [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()] == whole.curves
    with np.load(whole.answers) as file:
        accuracy = float((file["predicted"] == file["label"]).mean())
        assert np.bincount(file["label"]).tolist() == [2] * 10  # of 8 scenes of each class a fifth, 1.6, is 2
    assert accuracy == whole.curves[-1]["validation_accuracy"]
    (place,) = whole.folder.glob("*/training/*/finding.json")
    finding = Finding.load(place.parent)
    assert finding["loss"].values.tolist() == [row["loss"] for row in whole.curves]
    assert finding.trained
    specimen = whole.specimen()
    assert (specimen.recipe.size, specimen.recipe.crop) == ((16, 16), 1.0)
    assert (specimen.outputs, specimen.trained, specimen.labels) == (10, True, mt.Images.scenes(10).classes)
    assert not any("random" in note for note in specimen.notes)


def test_a_finished_training_returns_at_once_and_another_recipe_is_refused(whole: training.TrainedRun) -> None:
    before = whole.weights.stat().st_mtime_ns
    events: list[Any] = []
    again = train(small_recipe(), whole.folder, progress=events.append)
    assert (again.curves, events, whole.weights.stat().st_mtime_ns) == (whole.curves, [], before)
    with pytest.raises(CheckpointError, match="holds a training by another recipe; give another out"):
        train(small_recipe().with_changes({"run.seed": 1}), whole.folder)


def test_it_can_be_left_after_some_epochs_and_goes_on(whole: training.TrainedRun, tmp_path: Path) -> None:
    first = train(small_recipe(), tmp_path, stop_after=1, device="cpu")
    assert (len(first.curves), first.is_finished) == (1, False)
    assert equal_weights(first.weights, whole.checkpoints[1])
    assert equal_weights(train(small_recipe(), tmp_path, device="cpu").weights, whole.weights)


def test_random_state_and_threads_are_left_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, numbers, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # type: ignore[union-attr]
    train(small_recipe().with_changes({"run.epochs": 1}), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert torch.get_num_threads() == threads


def test_seeds_differ_and_recipes_may_be_files_or_tables(tmp_path: Path) -> None:
    recipe = small_recipe().with_changes({"run.epochs": 1, "run.seed": 9})
    other = train(recipe.json(), tmp_path / "tables", device="cpu")
    text = '[network]\nname = "tiny_trainables:conv_net"\n[data]\nimages = "scenes:80,size=16"\nsize = 16\nvalidation_fraction = 0.2\n'
    text += "[augmentation]\nmixup = 0.3\nerase = 0.3\n[optimiser]\nlr = 0.01\n[run]\nepochs = 1\nbatch = 16\nseed = 9\n"
    (tmp_path / "r.toml").write_text(text)
    assert equal_weights(other.weights, train(tmp_path / "r.toml", tmp_path / "file", device="cpu").weights)
    same = train(replace(recipe, title="named").with_changes({"run.seed": 0}), tmp_path / "seed", device="cpu")
    assert not equal_weights(other.weights, same.weights)


def test_only_the_head_is_trained_and_norms_keep_their_statistics(tmp_path: Path) -> None:
    run = train(small_recipe().with_changes({"optimiser.train_only": "head", "run.epochs": 1}), tmp_path)
    start, end = load_file(run.checkpoints[0]), load_file(run.weights)
    assert [name for name in start if not torch.equal(start[name], end[name])] == ["8.bias", "8.weight"]


def test_pixels_are_learned_where_images_have_masks(tmp_path: Path) -> None:
    recipe = small_recipe().with_changes(
        {
            "network.name": "tiny_trainables:map_net",
            "augmentation.mixup": 0,
            "augmentation.crop_scale": [0.5, 1.0],
            "optimiser.lr": 0.03,
        }
    )
    run = train(recipe, tmp_path)
    assert run.curves[-1]["loss"] < 0.8 * run.curves[0]["loss"]
    assert 0 < run.curves[-1]["validation_mean_iou"] < 1
    assert run.specimen().labels[0] == "background"  # type: ignore[index]


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    recipe = small_recipe().with_changes(
        {"network.name": "tiny_trainables:explosive_net", "optimiser.lr": 100.0, "run.epochs": 4}
    )
    with pytest.raises(SpecimenError) as raised:
        train(recipe, tmp_path)
    kept = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert "The loss became NaN or infinite in epoch" in str(raised.value)
    assert f"the last good checkpoint is {kept}. Try optimiser.lr = 10, in another out." in str(raised.value)
    assert all(bool(torch.isfinite(value).all()) for value in load_file(kept).values())


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    whole: training.TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, *_: Any) -> None: ...
        def __enter__(self) -> Any:
            raise WriteError("state.pt cannot be written (No space left on device). Free some space.")

        def __exit__(self, *_: Any) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(states, "atomic_write", Full)
        with pytest.raises(WriteError, match="No space left"):
            train(small_recipe(), tmp_path, device="cpu")
    assert equal_weights(whole.weights, train(small_recipe(), tmp_path, device="cpu").weights)


def test_images_that_changed_are_noticed_and_names_are_required(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 16, 16, 3), np.uint8), labels=np.arange(8) % 2)
    recipe = small_recipe().with_changes({"data.images": str(tmp_path / "a.npz")})
    train(recipe, tmp_path / "out", stop_after=1)
    np.savez(tmp_path / "a.npz", images=np.ones((8, 16, 16, 3), np.uint8), labels=np.arange(8) % 2)
    with pytest.raises(CheckpointError, match="or of images that have changed"):
        train(recipe, tmp_path / "out")
    with pytest.raises(BadOption, match=r"no network.name"):
        train({}, tmp_path)
    bands = small_recipe().with_changes({"network.name": "mini_resnet", "data.images": str(tmp_path / "b.npz")})
    np.savez(tmp_path / "b.npz", images=np.zeros((8, 5, 16, 16), np.float32), labels=np.arange(8) % 2)
    with pytest.raises(BadOption, match="channels"):
        train(bands, tmp_path / "bands")
