"""A specimen in one file: opened again, with other weights or none, and never a reason to run code that the file brings along."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import microtome as mt
from microtome.errors import BadOption, CheckpointError, SpecimenError
from microtome.finding import Finding
from microtome.specimen import Specimen

Gates = mt.edits.squeeze_excitation.SqueezeExcitation


@pytest.fixture(scope="module")
def resnet() -> Specimen:
    return mt.open("microtome:mini_resnet")


def test_it_opens_again_in_a_fresh_process_and_is_measured_there(tmp_path: Path, resnet: Specimen) -> None:
    edited = Gates(ratio=8)(resnet)
    file = edited.save(tmp_path / "edited.safetensors")
    code = (
        f"import microtome as mt; net = mt.open({str(file)!r})\n"
        "print(net.digest(), net.name, net.labels[0], net.trained, sep='|', flush=True)\n"
        f"from microtome.cli import main; main(['analyze', {str(file)!r}, 'scenes:16', '--only', 'cost,accuracy', '--no-report'])"
    )
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    said = told.stdout.splitlines()[0].split("|")
    assert said == [edited.digest(), "microtome:mini_resnet + squeeze_excitation:ratio=8", "disc", "True"]
    results = tmp_path / "microtome-results"
    found = {one.analysis: one for one in map(Finding.load, [place.parent for place in results.rglob("finding.json")])}
    facts = found["cost"].origin["specimen"]
    assert any(note.startswith("Edited: squeeze_excitation put 7 gates") for note in facts["notes"])
    assert facts["edits"][0]["parameters"] == list(edited.edits[0].parameters)
    assert float(found["cost"]["cost"].values[0]) == edited.edits[0].parameters[1] > edited.edits[0].parameters[0]
    assert float(found["cost"]["cost"].values[2]) * 1e6 == pytest.approx(edited.edits[0].multiply_adds[1])
    assert float(found["accuracy"]["overall"].values[0]) > 0.8  # the trained answers came through edit and file


def test_files_open_with_other_weights_or_none(tmp_path: Path, resnet: Specimen) -> None:
    file = Gates()(resnet).save(tmp_path / "edited.safetensors")
    bare = mt.open(file, weights=None, seed=5)
    assert bare.trained is False
    assert bare.digest() == mt.open(file, weights=None, seed=5).digest() != mt.open(file, weights=None, seed=6).digest()
    other = bare.save(tmp_path / "other.safetensors")
    assert mt.open(file, weights=other).digest() == bare.digest()
    with pytest.raises(BadOption, match="stores how its network was built; leave out num_classes"):
        mt.open(file, num_classes=3)
    assert mt.open(file, recipe={"size": 32}, family="wider").recipe.size == (32, 32)


def test_files_that_cannot_be_opened_or_written(tmp_path: Path, resnet: Specimen, tiny) -> None:
    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match=r"There is no file '.*edted.safetensors'"):
        mt.open("edted.safetensors")
    save_file({"a": torch.zeros(2)}, str(tmp_path / "bare.safetensors"))
    with pytest.raises(CheckpointError, match="does not say of which network.*weights="):
        mt.open(tmp_path / "bare.safetensors")
    file = resnet.save(tmp_path / "whole.safetensors")
    assert mt.open(file).digest() == resnet.digest()
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        mt.open(file)
    with pytest.raises(BadOption, match=r"does not end in .safetensors; write for example .*edited.safetensors"):
        resnet.save(tmp_path / "edited.pt")
    with pytest.raises(SpecimenError, match="handed over as a module.*pkg.mod:factory"):
        mt.open(tiny(), recipe={"size": 32}).save(tmp_path / "tiny.safetensors")


def test_a_file_never_runs_code_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(
        "from torchvision.models.resnet import BasicBlock, ResNet\n\n\n"
        "def make(units=8):\n    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=units)\n"
    )
    monkeypatch.chdir(tmp_path)
    edited = Gates(ratio=4)(mt.open("nets.py:make(units=5)", weights=None, recipe={"size": 32}))
    edited.save("mine.safetensors")
    with pytest.raises(SpecimenError, match=r"was made by .*nets.py:make.* Name it yourself, .*nets.py:make.* weights="):
        mt.open("mine.safetensors")
    again = mt.open("nets.py:make", weights="mine.safetensors")  # named by the user: its edits and options are in the file
    assert (again.digest(), again.recipe, again.outputs, again.name) == (edited.digest(), edited.recipe, 5, edited.name)
    assert again.opened_as is not None and again.opened_as["weights"] == str(tmp_path / "mine.safetensors")


@pytest.mark.parametrize(
    "built",
    [
        {"what": "os:system", "options": {"command": "touch caught"}},
        {"what": "timm:resnet18", "options": {"checkpoint_path": "evil.pth"}},
        {"what": "torchvision:resnet18", "options": {"weights": "DEFAULT"}},
    ],
    ids=lambda said: said["what"],
)
def test_a_forged_header_is_refused(built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnet: Specimen) -> None:
    from safetensors.torch import load_file, save_file

    from microtome.opening import saved as keeping

    monkeypatch.chdir(tmp_path)
    said = keeping.read_network_header(resnet.save("whole.safetensors"))
    forged = {"format": "pt", keeping.HEADER_KEY: json.dumps({**said, "built": built})}
    save_file(load_file("whole.safetensors"), "forged.safetensors", metadata=forged)
    with pytest.raises(SpecimenError, match="a file cannot have"):
        mt.open("forged.safetensors")
    assert not (tmp_path / "caught").exists()


def test_weights_of_an_edited_network_fit_its_original(tmp_path: Path, resnet: Specimen) -> None:
    edited = Gates(ratio=8)(resnet)
    file = edited.save(tmp_path / "edited.safetensors")
    assert mt.open("microtome:mini_resnet", weights=file).digest() == edited.digest()
