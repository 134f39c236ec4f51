"""Weights in several files: the parts come together again, and every way in which one can be missing is said."""

import json

import pytest
import torch
from safetensors.torch import save_file

from microtome.errors import CheckpointError
from microtome.opening.checkpoints import read_checkpoint
from microtome.opening.opening import open as open_specimen


def cut(folder, state, parts, safe=True):
    """Write a state dict in so many parts, dealt in turn, with its index; the path of the index."""
    folder.mkdir(exist_ok=True)
    stem, ending = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    names = {key: f"{stem}-{number % parts + 1:05d}-of-{parts:05d}.{ending}" for number, key in enumerate(state)}
    for file in set(names.values()):
        part = {key: value.clone() for key, value in state.items() if names[key] == file}
        save_file(part, folder / file) if safe else torch.save(part, folder / file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return index


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_come_together(tmp_path, tiny, safe, parts):
    state = tiny(seed=3).state_dict()
    index = cut(tmp_path / "net", state, parts, safe)
    for path in (index, tmp_path / "net"):
        found = read_checkpoint(path)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], value) for key, value in state.items())
    net = open_specimen(tiny(), weights=index, recipe=32)
    assert torch.equal(net.net.state_dict()["stem.weight"], state["stem.weight"])


def test_what_is_missing_is_said(tmp_path, tiny):
    index = cut(tmp_path / "net", tiny().state_dict(), 2)
    table = json.loads(index.read_text())
    first, *_ = table["weight_map"].values()
    (tmp_path / "net" / first).rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"'{first}'.*is missing"):
        read_checkpoint(index)
    (tmp_path / "elsewhere").rename(tmp_path / "net" / first)
    table["weight_map"]["ghost"] = first
    index.write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match="lacks 'ghost'"):
        read_checkpoint(index)
    table["weight_map"]["ghost"] = "../elsewhere"
    index.write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match="does not lie beside it"):
        read_checkpoint(index)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(index)
