"""Which images are compared and what of each is masked: classes in their order, halves of masks, marks by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.correspondence.correspondence import Correspondence
from microtome.analyses.correspondence.groups import class_groups
from microtome.errors import BadOption, UnknownName, Unmeasurable


def test_marks_by_hand_are_boxes_and_points(net):
    bare = mt.Images.tensors(torch.rand(4, 3, 64, 32, generator=torch.Generator().manual_seed(0)))
    marks = [f"{i}:nose:{20 + i}:10" for i in range(4)] + [f"{i}:ear:8:4:16:8" for i in range(4)]
    specimen = mt.open(net.net, recipe={"size": (32, 16), "crop": 1.0, "mean": (0.5,) * 3, "std": (0.25,) * 3})
    found = Correspondence(at="blocks", marks=marks, size=4)(specimen, bare)
    assert found["delta"].coords["part"].values.tolist() == ["nose", "ear"]
    shown = (found["examples"].values == 128).all(-1)
    rows, cols = np.nonzero(shown[1, 0])
    assert (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == (4, 12, 2, 6)  # half of 8:24 and 4:12
    assert shown[0].sum((1, 2)).max() <= 25  # a square of about 4 px
    with pytest.raises(BadOption, match="is not image:part:row:col"):
        Correspondence(marks=("0:nose:1",))(specimen, bare)
    with pytest.raises(UnknownName, match="no image 'tensor'"):
        Correspondence(marks=("tensor:nose:1:1",))(specimen, bare)
    with pytest.raises(BadOption, match="2 images have every part"):
        Correspondence(marks=("0:nose:9:9", "1:nose:9:9"))(specimen, bare)
    with pytest.raises(BadOption, match="outside of what the network sees"):
        Correspondence(marks=("0:nose:900:9",))(specimen, bare)
    with pytest.raises(Unmeasurable, match="masks"):
        Correspondence()(specimen, bare)


def squares(sides, labels, classes=("a", "b", "c", "d")):
    """Images of 16 px with squares of these sides in the upper left corner as masks."""
    masks = np.zeros((len(sides), 16, 16), bool)
    for mask, side in zip(masks, sides, strict=True):
        mask[:side, :side] = True
    return mt.Images.tensors(np.zeros((len(sides), 16, 16, 3), np.uint8), labels=labels, classes=list(classes), masks=masks)


def groups(images, parts=("object",), classes=(), count=10, net=None):
    return class_groups(net, images, parts, (), 0, classes, count)


@pytest.fixture
def square_net():
    return mt.open(nn.Sequential(nn.Conv2d(3, 2, 1)).eval(), recipe={"size": 16, "crop": 1.0})


def test_the_three_most_frequent_classes_with_small_enough_masks(square_net):
    """10 px are 100 of 256, 39%; 11 px are 47%: too large; 2 px are four pixels: too small."""
    labels = [0] * 3 + [1] * 5 + [2] * 4 + [3] * 6
    images = squares([3, 4, 10, 4, 4, 4, 4, 4, 5, 5, 11, 2, 4, 4, 4, 4, 4, 4], labels)
    found = groups(images, ("object", "upper", "left"), net=square_net)
    assert [(one.title, one.places.tolist()) for one in found] == [
        ("d", [12, 13, 14, 15, 16, 17]), ("b", [3, 4, 5, 6, 7]), ("a", [0, 1, 2])
    ]  # fmt: skip
    assert found[2].masks["object"].sum((1, 2)).tolist() == [9, 16, 100]
    assert found[2].masks["upper"].sum((1, 2)).tolist() == [6, 8, 50]  # half of the rows, as nearly as rows allow
    assert [one.places.tolist() for one in groups(images, classes=("b",), count=3, net=square_net)] == [[3, 4, 5]]


def test_what_is_not_there_is_refused_by_name(square_net):
    images = squares([4] * 4, [0] * 4)
    with pytest.raises(UnknownName, match="no part 'uper'.*'upper'"):
        groups(images, ("uper",), net=square_net)
    with pytest.raises(UnknownName, match="no class 'e'"):
        groups(images, classes=("e",), net=square_net)
    with pytest.raises(Unmeasurable, match="No class has 3 images whose mask covers at most 40.0%"):
        groups(squares([12] * 4, [0] * 4), net=square_net)
    bare = mt.Images.tensors(np.zeros((3, 16, 16, 3), np.uint8), masks=squares([4] * 3, [0] * 3).masks(square_net.recipe))
    assert [one.title for one in groups(bare, net=square_net)] == ["no class known"]
    with pytest.raises(BadOption, match="classes are named, but the images have no labels"):
        groups(bare, classes=("a",), net=square_net)
