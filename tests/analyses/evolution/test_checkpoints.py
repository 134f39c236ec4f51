"""Series of checkpoints: which files, in which order, and what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import microtome as mt
from microtome.analyses.evolution.checkpoints import Checkpoint, list_checkpoints, load_checkpoint, series_digest
from microtome.errors import CheckpointError


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2)).eval()


def written(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        save_file(net().state_dict(), folder / name)


def test_a_folder_gives_its_numbered_files_as_people_count(tmp_path: Path) -> None:
    written(tmp_path, "epoch-10.safetensors", "epoch-9.safetensors", "epoch-100.safetensors", "best.safetensors")
    torch.save({"optimizer": {}}, tmp_path / "state.pt")
    assert [moment.name for moment in list_checkpoints(str(tmp_path))] == ["epoch-9", "epoch-10", "epoch-100"]


def test_a_glob_gives_what_it_matches_and_names_stay_different(tmp_path: Path) -> None:
    for step in (2, 10):
        written(tmp_path / f"step-{step}", "model.safetensors")
    found = list_checkpoints(f"{tmp_path}/*/model.safetensors")
    assert [moment.name for moment in found] == ["step-2/model.safetensors", "step-10/model.safetensors"]


def test_what_is_no_series_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="names 0 checkpoints and an evolution needs two"):
        list_checkpoints(str(tmp_path / "nowhere"))
    written(tmp_path, "epoch-1.safetensors")
    with pytest.raises(CheckpointError, match="names 0 checkpoints"):
        list_checkpoints(str(tmp_path))
    with pytest.raises(CheckpointError, match="is one file"):
        list_checkpoints(str(tmp_path / "epoch-1.safetensors"))
    written(tmp_path, "epoch-2.safetensors", "ema-1.safetensors", "ema-2.safetensors")
    with pytest.raises(CheckpointError, match=r"holds 2 rows of numbered files .*ema-\*\.safetensors"):
        list_checkpoints(str(tmp_path))


def test_the_weights_are_those_of_the_file_and_the_specimen_keeps_its_own(tmp_path: Path) -> None:
    specimen = mt.open(net(), recipe={"size": 8})
    before = specimen.net[0].weight.clone()  # type: ignore[index]
    written(tmp_path, "a-1.safetensors")
    made = load_checkpoint(specimen, Checkpoint("a-1", tmp_path / "a-1.safetensors"))
    assert torch.equal(specimen.net[0].weight, before)  # type: ignore[index]
    assert not torch.equal(made.net[0].weight, before)  # type: ignore[index]
    assert made.digest() != specimen.digest()
    assert made.layers == specimen.layers


def test_a_file_of_another_network_is_refused_in_one_sentence(tmp_path: Path) -> None:
    save_file(net(5).state_dict(), tmp_path / "a-1.safetensors")
    with pytest.raises(CheckpointError, match="a-1.safetensors' do not fit .*of another shape: 0.weight"):
        load_checkpoint(mt.open(net(), recipe={"size": 8}), Checkpoint("a-1", tmp_path / "a-1.safetensors"))


def test_the_digest_follows_what_is_in_the_files(tmp_path: Path) -> None:
    written(tmp_path, "a-1.safetensors", "a-2.safetensors")
    one = series_digest(list_checkpoints(str(tmp_path)))
    assert series_digest(list_checkpoints(str(tmp_path))) == one
    written(tmp_path, "a-2.safetensors")
    assert series_digest(list_checkpoints(str(tmp_path))) != one
