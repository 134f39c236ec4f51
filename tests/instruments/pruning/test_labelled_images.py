"""The images of a pruning: two halves, right outputs where labels answer to them, accuracy by hand."""

import pytest
import torch

import microtome as mt
from microtome.errors import BadOption, Unmeasurable
from microtome.instruments.pruning.labelled_images import ImageHalf, open_images_word, split_images, top1_accuracy


def test_two_halves_that_share_no_image() -> None:
    net = mt.open("microtome:mini_vgg")
    found = split_images(net, mt.Images.scenes(41))
    assert (len(found.chosen), len(found.reported)) == (21, 20) and found.reason == ""
    one, two = (torch.cat(half.batches).flatten(1) for half in (found.chosen, found.reported))
    assert float(torch.cdist(one, two).min()) > 0
    assert found.chosen.targets is not None and len(found.chosen.targets) == 21


def test_accuracy_by_hand() -> None:
    net = mt.open("microtome:mini_vgg")
    x = net.noise(4)
    answers = net.run(x).argmax(1)
    wrong = torch.where(torch.arange(4) == 0, (answers + 1) % 10, answers)
    assert top1_accuracy(net, net.net, ImageHalf((x[:3], x[3:]), wrong)) == 0.75


def test_labels_of_other_classes_give_a_reason() -> None:
    net = mt.open("timm:vgg11", weights=None, recipe={"size": 32}, num_classes=4)
    found = split_images(net, mt.Images.scenes(8))
    assert found.chosen.targets is None and found.reason


def test_words_and_too_few() -> None:
    assert len(open_images_word("scenes:7")) == 7 and len(open_images_word("micro_objects:5")) == 5
    with pytest.raises(BadOption, match="'x' in 'scenes:x' is not understood"):
        open_images_word("scenes:x")
    with pytest.raises(Unmeasurable, match="needs 4 images at least"):
        split_images(mt.open("microtome:mini_vgg"), mt.Images.scenes(3))
