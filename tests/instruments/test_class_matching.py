"""Which output stands for which class: by WordNet id, by name, by order, and never by guess."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import microtome as mt
from microtome.analyses.accuracy import Accuracy
from microtome.errors import Unmeasurable
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.scan import Pace

PACE = Pace(batch=16, device="cpu")


def bands(labels: list[int], bright: list[int], classes: tuple[str, ...]) -> mt.Images:
    x = np.zeros((len(labels), 3, 12, 12), np.float32)
    for place, third in enumerate(bright):
        x[place, :, 4 * third : 4 * third + 4] = 1.0
    return mt.Images.tensors(x, labels=labels, classes=classes)


def test_two_classes_of_one_name_are_refused(net: mt.Specimen) -> None:
    images = bands([0, 1], [0, 1], ("crane, bird", "crane, machine"))
    doubled = replace(net, names=(tuple(f"x{n}" for n in range(9)) + ("crane",), None))
    with pytest.raises(Unmeasurable):
        match_classes(doubled, images, 10)


def test_a_thousand_outputs_and_wordnet_classes_are_imagenet() -> None:
    """n01440764 (tench) is ImageNet's class 0 and n01443537 (goldfish) its class 1."""

    class Thousand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 1000)
            with torch.no_grad():
                self.head.weight.zero_()[1, 0] = 1.0
                self.head.bias.zero_()[0] = 0.1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.pool(x).flatten(1))

    x = np.stack([np.full((3, 8, 8), value, np.float32) for value in (0.9, 0.0)])
    images = mt.Images.tensors(x, labels=[1, 0], classes=("n01440764", "n01443537"))
    net = mt.open(Thousand().eval(), recipe={"size": 8, "crop": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3})
    found = Accuracy()(net, images, PACE)
    assert found.key("top-1 accuracy").value == 1
    assert "ImageNet-1k's classes" in found.facts["matched"]


def test_by_name_in_any_spelling_whatever_the_order(net: mt.Specimen) -> None:
    named = replace(net, names=(("tabby, tabby cat", "Great_white_shark, white shark", "crane"), None))
    found = match_classes(named, bands([0, 1], [0, 1], ("great white-shark", "Tabby")), 3)
    assert (found.output.tolist(), found.how) == ([1, 0], "by class name")
    assert found.targets(np.array([0, 1, -1, 0])).tolist() == [1, 0, -1, 1]


def test_wordnet_ids_win_over_names(net: mt.Specimen) -> None:
    ids = ("n02012849", "n03126707")  # crane, the bird, and crane, the machine
    named = replace(net, names=(("crane", "crane"), ids))
    found = match_classes(named, bands([0, 1], [0, 1], ids[::-1]), 2)
    assert (found.output.tolist(), found.how) == ([1, 0], "by wordnet id")


def test_by_order_only_where_the_numbers_of_classes_agree(net: mt.Specimen) -> None:
    images = bands([0, 1, 2], [0, 1, 2], ("a", "b", "c"))
    found = match_classes(net, images, 3)
    assert (found.output.tolist(), found.how) == ([0, 1, 2], "by order: output 0 is taken for 'a', and so on")
    with pytest.raises(
        Unmeasurable, match=r"has 4 outputs of unknown meaning and the images have 3 classes.*labels='imagenet'"
    ):
        match_classes(net, images, 4)
    with pytest.raises(Unmeasurable, match=r"no output for 2 of the 3 classes \(b, c\)"):
        match_classes(replace(net, names=(("a", "x", "y"), None)), images, 3)


class Head(nn.Module):
    """A convolution, a mean over positions, and `last` on what comes out."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Sequential(*last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Head(nn.Linear(4, 5)), ""),
        (Head(nn.Linear(4, 1)), "it has one output, which answers yes or no between two classes, and nothing says which"),
        (Head(nn.Linear(4, 5), nn.LayerNorm(5)), "it has no head: its outputs are features"),
        (Head(), "it has no head: its outputs are features"),
        (nn.Conv2d(3, 5, 3), "it gives no single score for each class"),
    ],
)
def test_what_has_no_class_scores_says_why(module: nn.Module, said: str) -> None:
    specimen = mt.open(nn.Sequential(module).eval(), recipe={"size": 8})
    found = why_no_scores(specimen, None)
    assert found.startswith(said) and bool(found) == bool(said)


def match(classes, outputs, labels=None):
    network = SimpleNamespace(name="net", labels=labels, wordnet=None)
    images = SimpleNamespace(name="set", classes=tuple(classes), labels=np.zeros(1, np.int64), classes_are_wordnet=False)
    return match_classes(network, images, outputs)


@given(st.integers(2, 300), st.data())
def test_numbers_from_zero_are_the_outputs_of_these_numbers(outputs, data):
    some = data.draw(st.sets(st.integers(1, outputs - 1)))
    classes = sorted({0, *some})
    width = data.draw(st.sampled_from([0, 3]))
    assert match([f"{one:0{width}d}" for one in classes], outputs).output.tolist() == classes


@given(st.integers(2, 300), st.data())
def test_numbers_from_one_to_the_last_output_begin_at_one(outputs, data):
    some = data.draw(st.sets(st.integers(1, outputs)))
    classes = sorted({outputs, *some})
    assert match(map(str, classes), outputs).output.tolist() == [one - 1 for one in classes]


def test_numeric_order_is_said_where_another_order_would_differ():
    assert "ImageFolder" in match(map(str, range(12)), 12).how
    assert "ImageFolder" not in match(map(str, range(10)), 10).how


@pytest.mark.parametrize(("classes", "outputs"), [(["3", "7"], 12), (["cat", "dog"], 3), (["1", "01"], 5), (["0", "15"], 12)])
def test_nothing_is_guessed(classes, outputs):
    with pytest.raises(Unmeasurable):
        match(classes, outputs)


def test_other_classes_go_by_name_or_in_order():
    assert match(["b", "a"], 3, labels=("a", "b", "c")).output.tolist() == [1, 0]
    assert match(["cat", "dog"], 2).output.tolist() == [0, 1]
    assert match(["10", "20", "30"], 3).output.tolist() == [0, 1, 2]
    assert match(["1", "0"], 2, labels=("zero", "1", "0")).output.tolist() == [1, 2]
