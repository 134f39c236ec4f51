"""Fully connected layers removed: the law of edits, the counts of table 3 in small, weights by hand, and what is refused."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable

Remove = mt.edits.remove_fully_connected.RemoveFullyConnected
OPTIONS = {"num_classes": 10, "size": 64, "norm": "batch", "width": 0.25, "hidden": 256}


@pytest.fixture(scope="module")
def zeiler() -> mt.Specimen:
    return mt.open("microtome:alexnet_zf", weights=None, **OPTIONS)


@pytest.mark.parametrize("at", [("classifier.fc7",), ("classifier.fc*",)], ids=str)
def test_the_law_of_edits(at: tuple[str, ...], zeiler: mt.Specimen, tmp_path) -> None:
    edited = testing.check_edit(Remove(at=at), zeiler, mt.Images.scenes(6), tmp_path)
    assert edited.edits[-1].parameters[1] < edited.edits[-1].parameters[0]


def test_the_parameters_are_what_arithmetic_says(zeiler: mt.Specimen) -> None:
    def removed(*edits: str) -> int:
        return sum(each.numel() for each in zeiler.net.parameters()) - sum(
            each.numel() for each in mt.open("microtome:alexnet_zf", weights=None, edits=edits, **OPTIONS).net.parameters()
        )

    fc7 = 256 * 256 + 256
    assert removed("remove_fully_connected:classifier.fc7") == fc7
    # fc6 reads 64 maps of 1 x 1; without it fc8 reads these 64 numbers in place of 256.
    fc6 = 64 * 256 + 256
    assert removed("remove_fully_connected:classifier.fc6,classifier.fc7") == fc6 + fc7 + (256 - 64) * 10
    # conv3: 64 → 96, conv4: 96 → 96; conv5 reads 64 maps in place of 96.
    middle = (64 * 9 + 1) * 96 + (96 * 9 + 1) * 96 + (96 - 64) * 9 * 64
    convolutions = "remove_blocks:at=features.conv3,features.conv4,fill=remake"
    assert removed(convolutions, "remove_fully_connected:classifier.fc*") == middle + fc6 + fc7 + (256 - 64) * 10


def test_what_stays_answers_as_if_the_layer_handed_on_its_input(zeiler: mt.Specimen) -> None:
    edited = mt.edits.remove_fully_connected.RemoveFullyConnected(at=("classifier.fc7",))(zeiler)
    x = zeiler.noise(3)
    by_hand = nn.Sequential(
        *(part for name, part in zeiler.net.classifier.named_children() if name not in ("fc7", "relu7", "drop7"))
    )
    with torch.inference_mode():
        maps = zeiler.net.features(x).flatten(1)
        assert torch.equal(edited.net(x), by_hand(maps))


def test_what_is_refused(zeiler: mt.Specimen) -> None:
    with pytest.raises(Uneditable, match=r"no layer is named; .*classifier.fc6, classifier.fc7"):
        Remove()(zeiler)
    with pytest.raises(Uneditable, match=r"'classifier.fc9'. Did you mean 'classifier.fc7'"):
        Remove(at=("classifier.fc9",))(zeiler)
    for name in ("mini_resnet", "mini_deit"):  # no such layer, and those of tokens belong to blocks
        with pytest.raises(Uneditable, match="no fully connected layer of whole images"):
            Remove(at=("head",))(mt.open(f"microtome:{name}", weights=None))
