"""The noun Edit: how edits are spelt, made in a row, saved, opened again elsewhere, and what the published law catches."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import edit, testing
from microtome.edit import Edit, Preservation, option, parse, replace_module
from microtome.errors import BadOption, Uneditable, UnknownName
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


def test_new_layers_have_the_dtype_of_the_old_ones(resnet: Specimen) -> None:
    half = mt.open(copy.deepcopy(resnet.net), recipe=resnet.recipe)
    half.net.to(torch.bfloat16)  # a network is opened in float32
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


def test_the_seed_draws_what_an_edit_brings() -> None:
    specimen = mt.open("microtome:mini_resnet", None)
    first, same, other = (edit.apply_edits(specimen, ["cut:layer2,head=5"], seed=seed) for seed in (0, 0, 1))
    assert first.digest() == same.digest() == edit.apply_edits(specimen, ["cut:layer2,head=5"]).digest()  # 0 by default
    assert first.digest() != other.digest()
