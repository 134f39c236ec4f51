"""One logit answers between two classes: it gives what two logits of the same difference give, in every analysis that reads scores."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.errors import Unmeasurable
from microtome.finding import Finding
from microtome.specimen.one_logit import is_sigmoid, two_scores

RECIPE = {"size": 16, "mean": 0.5, "std": 0.5, "crop": 1.0}


class Small(nn.Module):
    """A convolution, a mean over positions, and a head of one logit, its sigmoid, or two logits that differ by it."""

    def __init__(self, head: str, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.act, self.fc, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Linear(8, 1), head
        if head == "two":
            weight, bias = self.fc.weight.detach(), self.fc.bias.detach()
            self.fc = nn.Linear(8, 2)
            self.fc.weight.data, self.fc.bias.data = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2

    def forward(self, x: Tensor) -> Tensor:
        score = self.fc(self.act(self.conv(x)).mean((2, 3)))
        return score.sigmoid().squeeze(1) if self.head == "sigmoid" else score


def open_small(head: str, seed: int = 0) -> mt.Specimen:
    return mt.open(Small(head, seed).eval(), recipe=RECIPE)


def images(classes: int = 2) -> mt.Images:
    pixels = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return mt.Images.tensors(pixels, labels=[place % classes for place in range(12)], classes=[f"c{k}" for k in range(classes)])


@settings(deadline=None)
@given(st.floats(-8, 8))
def test_softmax_of_the_two_scores_is_the_sigmoid(value: float) -> None:
    output = torch.tensor([[value]], dtype=torch.float64)
    expected = torch.cat([1 - output.sigmoid(), output.sigmoid()], 1)
    for scores in (two_scores(output, False), two_scores(output.sigmoid(), True)):
        torch.testing.assert_close(scores.softmax(1), expected)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["one", "sigmoid"]))
def test_scores_are_those_of_two_logits(seed: int, head: str) -> None:
    one, two = open_small(head, seed), open_small("two", seed)
    x = one.noise(3)
    assert (one.outputs, one.classes, two.classes) == (1, 2, 2)
    torch.testing.assert_close(one.logits(x), two.logits(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", ["one", "sigmoid"])
def test_analyses_give_what_two_logits_give(head: str) -> None:
    one, two = open_small(head, 3), open_small("two", 3)
    for analysis in (mt.analyses.accuracy.Accuracy(), mt.analyses.cam.Cam(at=("act",), count=4)):
        own, other = analysis(one, images(), twins=2), analysis(two, images(), twins=2)
        numbers = [
            [(n.name, n.value) for n in finding.key_numbers if "random weights" not in n.name] for finding in (own, other)
        ]
        assert [name for name, _ in numbers[0]] == [name for name, _ in numbers[1]]
        assert [value for _, value in numbers[0]] == pytest.approx([value for _, value in numbers[1]], abs=1e-3, nan_ok=True)
    caveats = " ".join(mt.analyses.accuracy.Accuracy()(one, images()).caveats)
    assert "it has one output, which above 0 (a probability above 50%) is 'c1'" in caveats
    assert isinstance(mt.analyses.supervision.Supervision()(one, images()), Finding)


def test_more_than_two_classes_are_refused() -> None:
    for analysis in (mt.analyses.accuracy.Accuracy(), mt.analyses.cam.Cam()):
        with pytest.raises(
            Unmeasurable, match="one output, which answers yes or no between two classes, and the images have 3 classes"
        ):
            analysis(open_small("one"), images(3))


def test_a_sigmoid_is_seen_through_changes_of_shape_only() -> None:
    x = torch.randn(4, 1, requires_grad=True)
    assert is_sigmoid(x.sigmoid().squeeze(1)) and is_sigmoid(x.sigmoid())
    assert not is_sigmoid(x) and not is_sigmoid(x.sigmoid() * 2) and not is_sigmoid(x.tanh())


def test_features_without_a_head_have_no_probabilities() -> None:
    class Embedding(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.conv(x)).mean((2, 3))

    net = mt.open(Embedding("one").eval(), recipe=RECIPE)
    finding = mt.analyses.invariance.Invariance(at=("act",), count=2, warps=("flip",))(net, images())
    assert not any("probability" in number.name or "consistency" in number.name for number in finding.key_numbers)


@pytest.mark.parametrize("place", ["output", "layer"])
def test_invariance_refuses_values_that_are_not_finite(place: str) -> None:
    class Broken(Small):
        def forward(self, x: Tensor) -> Tensor:
            factor = torch.where(x.mean((1, 2, 3), keepdim=True) > 0, torch.nan, 1.0)
            if place == "layer":
                return self.fc(torch.nan_to_num(self.act(self.conv(x) * factor)).mean((2, 3)))
            return self.fc((self.act(self.conv(x)) * factor).mean((2, 3)))

    net = mt.open(Broken("two").eval(), recipe=RECIPE)
    wanted = "gives NaN or infinity for .* images at once; they begin" if place == "output" else "act holds NaN or infinity"
    with pytest.raises(Unmeasurable, match=wanted):
        mt.analyses.invariance.Invariance(at=("act",), warps=("flip",))(net, images())
