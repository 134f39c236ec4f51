import argparse
import collections
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from microtome.errors import CheckpointError
from microtome.opening.checkpoints import fit_checkpoint, read_checkpoint
from microtome.opening.opening import open as open_specimen


class Malicious:
    """Its pickle asks to call os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/microtome-was-here",)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt", ".bin", ".ckpt"])
def test_state_dicts_come_back(tmp_path: Path, tiny: Callable[..., nn.Module], ending: str) -> None:
    state = tiny(seed=7).state_dict()
    file = tmp_path / f"w{ending}"
    save_file(state, file) if ending == ".safetensors" else torch.save(state, file)
    assert same(read_checkpoint(file), state)
    net = open_specimen(tiny(seed=1), weights=file, recipe=32)
    assert same(dict(net.net.state_dict()), state)
    assert net.weights == f"file w{ending}"
    assert net.trained is True


def test_old_format_and_what_training_scripts_save(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    state = tiny(seed=7).state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "old.pth"), state)
    rest = {"args": argparse.Namespace(lr=0.1), "epoch": 3, "best": np.float64(91.2), "optimizer": {"state": {}}}
    for nest in ("state_dict", "model", "model_ema", "state_dict_ema", "ema", "net", "weights", "my_network"):
        torch.save({nest: collections.OrderedDict(state), **rest}, tmp_path / "nested.pth")
        assert same(read_checkpoint(tmp_path / "nested.pth"), state), nest
    torch.save({"checkpoint": {"model": state}, "model": {"state_dict": state}}, tmp_path / "deep.pth")
    assert same(read_checkpoint(tmp_path / "deep.pth"), state)


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "_orig_mod.", "module._orig_mod.", "model.backbone."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, tiny: Callable[..., nn.Module], prefix: str) -> None:
    state = tiny(seed=7).state_dict()
    save_file({prefix + name: value.clone() for name, value in state.items()}, tmp_path / "w.safetensors")
    net = open_specimen(tiny(seed=1), weights=tmp_path / "w.safetensors", recipe=32)
    assert same(dict(net.net.state_dict()), state)
    assert any(prefix in note for note in net.notes)


def test_unsafe_pickles_are_refused_unrun_and_named(tmp_path: Path) -> None:
    Path("/tmp/microtome-was-here").unlink(missing_ok=True)
    for legacy in (False, True):
        torch.save({"state_dict": Malicious()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(CheckpointError, match=r"(posix|nt|os)\.system"):
            read_checkpoint(tmp_path / "evil.pth")
    assert not Path("/tmp/microtome-was-here").exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(CheckpointError, match="Linear"):
        read_checkpoint(tmp_path / "module.pth")


def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:  # the layout that torch.jit.save writes
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/__torch__.py"):
            archive.writestr(name, b"")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "script.pt")


def test_files_that_are_something_else(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    state = tiny().state_dict()
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pth")
    whole = {ending: (tmp_path / f"whole.{ending}").read_bytes() for ending in ("safetensors", "pth")}
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    cases: dict[str, tuple[bytes, str]] = {
        "empty.pth": (b"", "is empty"),
        "cut.safetensors": (whole["safetensors"][: len(whole["safetensors"]) // 2], "damaged or cut short"),
        "cut.pth": (whole["pth"][: len(whole["pth"]) // 2], "damaged or cut short"),
        "header.safetensors": (whole["safetensors"][:20], "damaged or cut short"),
        "page.safetensors": (b"\n<!DOCTYPE html><html>404</html>", "web page"),
        "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "git-LFS pointer"),
        "text.pth": (b"these are not the weights\n", "text file"),
        "noise.bin": (bytes(range(1, 200)), "neither a safetensors nor a PyTorch file"),
        "arrays.pth": ((tmp_path / "a.npz").read_bytes(), "NumPy archive"),
        "pickled.pth": (b"\x80\x04garbage", "damaged or cut short"),
        **{f"call{protocol}.pth": (pickle.dumps(print, protocol), "it asks for .*print") for protocol in (2, 3, 4, 5)},
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            read_checkpoint(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"Did you mean 'whole\.pth'"):
        read_checkpoint(tmp_path / "whole.pht")
    with pytest.raises(CheckpointError, match="no weights file"):
        read_checkpoint(tmp_path / "nowhere" / "w.pth")
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="epoch"):
        read_checkpoint(tmp_path / "nothing.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="list"):
        read_checkpoint(tmp_path / "list.pth")


def test_what_does_not_fit_is_listed(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    state = dict(tiny(outputs=10).state_dict())
    del state["stem.bias"]
    state["surplus"] = torch.zeros(1)
    state["blocks.0.conv1.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as caught:
        open_specimen(tiny(), weights=tmp_path / "w.safetensors", recipe=32)
    for part in ("1 missing: stem.bias", "1 unexpected: surplus", "1 of another shape: blocks.0.conv1.weight"):
        assert part in str(caught.value)
    save_file({f"x{i}": torch.zeros(1) for i in range(9)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"9 unexpected: x0, x1, x2, x3, x4, …"):
        open_specimen(tiny(), weights=tmp_path / "other.safetensors", recipe=32)


def test_another_number_of_classes_rebuilds_the_network(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    from microtome._torchvision import timm

    state = timm().create_model("test_resnet", num_classes=7).state_dict()
    save_file(state, tmp_path / "seven.safetensors")
    net = open_specimen("timm:test_resnet", weights=tmp_path / "seven.safetensors")
    assert net.outputs == 7
    assert net.labels is None
    assert any("7 classes" in note for note in net.notes)
    assert net.twin().outputs == 7
    save_file(tiny(outputs=4).state_dict(), tmp_path / "four.safetensors")
    with pytest.raises(CheckpointError, match=r"2 of another shape: head\.weight, head\.bias"):
        open_specimen(tiny(outputs=10), weights=tmp_path / "four.safetensors", recipe=32)  # a module cannot be rebuilt


def test_counters_that_old_files_lack_are_not_missed() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3))
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    match = fit_checkpoint(state, net)
    assert (match.missing, match.unexpected, match.reshaped) == ((), (), ())


def test_broken_numbers_and_low_precision_are_noted(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    state = {name: value.half() for name, value in tiny().state_dict().items()}
    state["stem.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    net = open_specimen(tiny(), weights=tmp_path / "w.safetensors", recipe=32)
    assert sum("NaN" in note and "stem.weight" in note for note in net.notes) == 1
    assert any("float16" in note for note in net.notes)
    assert net.net.state_dict()["stem.weight"].dtype == torch.float32


def test_the_users_module_is_not_written_to(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    mine = tiny(seed=1)
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    save_file(tiny(seed=2).state_dict(), tmp_path / "w.safetensors")
    net = open_specimen(mine, weights=tmp_path / "w.safetensors", recipe=32)
    assert net.net is not mine
    assert same(dict(mine.state_dict()), before)


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pth").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"net.pth' cannot be read \(Permission denied\); check its permissions"):
        read_checkpoint(tmp_path / "net.pth")
