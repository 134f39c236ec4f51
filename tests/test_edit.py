"""The noun Edit: how edits are spelt, made in a row, saved, opened again elsewhere, and what the published law catches."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import edit, testing
from microtome.edit import Edit, Preservation, option, parse, replace_module
from microtome.errors import BadOption, CheckpointError, SpecimenError, Uneditable, UnknownName
from microtome.finding import Finding
from microtome.specimen import Specimen

Gates = mt.edits.squeeze_excitation.SqueezeExcitation


class Shouting(Edit):
    """Multiplies the classifier's weights, or breaks a law on purpose."""

    times: float = option(1.0, "by how much")
    fault: str = option("", "which law to break")

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        assert specimen.head is not None
        head = net.get_submodule(specimen.head)
        assert isinstance(head, nn.Linear)
        with torch.no_grad():
            head.weight.mul_(self.times)
            if self.fault == "original":
                specimen.net.get_submodule(specimen.head).weight.mul_(3.0)  # type: ignore[operator]
        if self.fault == "memory":
            replace_module(net, specimen.head, specimen.net.get_submodule(specimen.head))
            net.extra = nn.Parameter(torch.zeros(3))
        if self.fault == "gradient":
            net.extra = nn.Parameter(torch.zeros(3))
        if self.fault == "crash":
            replace_module(net, specimen.head, nn.Linear(3, 3))
        return "shouts"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("exactly" if self.fault == "promise" else "no", "it shouts")


@pytest.fixture(scope="module")
def resnet() -> Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def scenes() -> mt.Images:
    return mt.Images.scenes(6)


def test_spellings() -> None:
    assert parse("squeeze_excitation") == Gates()
    made = parse("squeeze-excitation:ratio=8,stages=3,4,bias=no")
    assert made == Gates(ratio=8, stages=(3, 4), bias=False)
    assert made.to_cli() == "squeeze_excitation:ratio=8,stages=3,4,bias=false"
    assert parse(made.to_cli()) == made
    with pytest.raises(UnknownName, match="no edit 'squeze_excitation'.*'squeeze_excitation'"):
        parse("squeze_excitation")
    with pytest.raises(UnknownName, match="no option 'ration'.*'ratio'"):
        parse("squeeze_excitation:ration=4")
    with pytest.raises(BadOption, match="it takes 1 to 4096"):
        parse("squeeze_excitation:ratio=0")
    with pytest.raises(BadOption, match="'8' in .* not understood; write squeeze_excitation:option=value"):
        parse("squeeze_excitation:8")


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


def test_two_edits_in_a_row(tmp_path: Path, resnet: Specimen) -> None:
    twice = mt.open("microtome:mini_resnet", edits=["squeeze_excitation:stages=1", Gates(stages=(2,), ratio=4)])
    with pytest.raises(Uneditable, match="1 of these blocks have channel gates already"):
        Gates()(mt.open("microtome:mini_resnet", edits=["squeeze_excitation:stages=1"]))
    again = mt.open(twice.save(tmp_path / "twice.safetensors"))
    assert again.digest() == twice.digest()
    assert [change.options["stages"] for change in again.edits] == [[1], [2]]
    assert again.twin(3).digest() == twice.twin(3).digest() != twice.twin(4).digest()
    assert twice.opened_as is not None
    assert twice.opened_as["edits"][1]["options"]["ratio"] == 4
    third = Gates(stages=(3,))(again)  # an edit of a file is kept whole: the new file does not need the old one
    (tmp_path / "twice.safetensors").unlink()
    assert mt.open(third.save(tmp_path / "third.safetensors")).digest() == third.digest()


def test_files_open_with_other_weights_or_none(tmp_path: Path, resnet: Specimen) -> None:
    file = Gates()(resnet).save(tmp_path / "edited.safetensors")
    bare = mt.open(file, weights=None, seed=5)
    assert bare.trained is False
    assert bare.digest() == mt.open(file, weights=None, seed=5).digest() != mt.open(file, weights=None, seed=6).digest()
    other = bare.save(tmp_path / "other.safetensors")
    assert mt.open(file, weights=other).digest() == bare.digest()
    with pytest.raises(BadOption, match="says itself how its network was built; leave out num_classes"):
        mt.open(file, num_classes=3)
    assert mt.open(file, recipe={"size": 32}, family="wider").recipe.size == (32, 32)


def test_files_that_cannot_be_opened_or_written(tmp_path: Path, resnet: Specimen, tiny) -> None:
    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match=r"There is no file '.*edted.safetensors'"):
        mt.open("edted.safetensors")
    save_file({"a": torch.zeros(2)}, str(tmp_path / "bare.safetensors"))
    with pytest.raises(CheckpointError, match="does not say of which network.*--weights"):
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
    with pytest.raises(SpecimenError, match=r"was made by .*nets.py:make.* Name it yourself, .* nets.py:make.* --weights "):
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


def test_new_layers_have_the_dtype_of_the_old_ones(resnet: Specimen) -> None:
    half = mt.open(copy.deepcopy(resnet.net).to(torch.bfloat16), recipe=resnet.recipe)
    edited = Gates()(half)
    assert {parameter.dtype for parameter in edited.net.parameters()} == {torch.bfloat16}


def test_an_edited_module_has_no_file_but_a_twin(tiny, pics: mt.Images) -> None:
    given = mt.open(tiny(), recipe={"size": 32})
    edited = Shouting(times=2.0)(given)
    assert edited.opened_as is None and edited.maker is None
    assert edited.twin().digest() != edited.digest()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("original", "changed the original"),
        ("memory", "shares memory with the original"),
        ("promise", "promises to preserve the function exactly: outputs differ by"),
        ("gradient", "no gradient reaches extra within 3 steps"),
    ],
)
def test_the_law_catches(fault: str, said: str, scenes: mt.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.edit._broken", lambda *_: "")  # which would catch it before
    monkeypatch.setattr("microtome.testing._kept", lambda *_: None)  # Shouting is in no catalog, so it cannot be opened again
    with pytest.raises(testing.BrokenContract, match=said):
        testing.check_edit(Shouting(times=2.0, fault=fault), mt.open("microtome:mini_resnet"), scenes, tmp_path)


def test_what_changes_nothing_or_does_not_run_is_refused(resnet: Specimen) -> None:
    with pytest.raises(Uneditable, match="changes nothing"):
        Shouting()(resnet)
    with pytest.raises(Uneditable, match="should preserve the function exactly, but outputs for noise differ by"):
        Shouting(times=2.0, fault="promise")(resnet)
    with pytest.raises(Uneditable, match="leaves a network that does not run: .*shapes"):
        Shouting(fault="crash")(resnet)


def test_edit_room() -> None:
    assert "squeeze_excitation" in dir(mt.edits)
    with pytest.raises(AttributeError, match="There is no edit 'squeeze'.*'squeeze_excitation'"):
        _ = mt.edits.squeeze
    assert edit.build_edit("squeeze_excitation", {"ratio": "4"}) == Gates(ratio=4)
