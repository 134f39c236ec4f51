"""Outputs that are not finite: never an answer, and said with the layer where they begin."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.errors import SpecimenError, Unmeasurable
from microtome.specimen.finiteness import finite_rows, where_broken


class Breaks(nn.Module):
    """Gives what it takes, but `value` for images whose mean is above zero."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        bright = x.flatten(1).mean(1) > 0
        return torch.where(bright.view(-1, *[1] * (x.dim() - 1)), torch.full_like(x, self.value), x)


def network(place: int, value: float, depth: int = 3) -> nn.Module:
    torch.manual_seed(depth)
    parts: list[nn.Module] = [nn.Conv2d(3, 3, 1, bias=False) for _ in range(depth)]
    for part in parts:
        nn.init.eye_(part.weight[:, :, 0, 0].data)  # type: ignore[union-attr, index]
    parts.insert(place, Breaks(value))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.sampled_from([float("nan"), float("inf"), -float("inf")]), st.integers(1, 5))
def test_the_layer_where_they_begin_is_named(place: int, value: float, bright: int) -> None:
    net = network(place, value)
    x = torch.cat([torch.rand(bright, 3, 8, 8), -torch.rand(3, 3, 8, 8)])
    with torch.no_grad():
        assert finite_rows(net(x)).tolist() == [False] * bright + [True] * 3
    assert where_broken(net, x[:bright]) == f"they begin in layer '{place}' (Breaks)"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 6))
def test_images_without_an_answer_are_wrong_and_all_else_is_refused(bright: int) -> None:
    pixels = torch.cat([torch.full((bright, 3, 8, 8), 0.9), torch.full((6 - bright, 3, 8, 8), 0.1)])
    images = mt.Images.tensors(pixels, labels=[i % 2 for i in range(6)], classes=["a", "b"])
    net = mt.open(network(1, float("nan")), recipe={"size": 8, "crop": 1, "mean": 0.5, "std": 0.5})
    found = mt.analyses.accuracy.Accuracy()(net, images)
    x = torch.stack([net.recipe.tensor(images[i].picture) for i in range(6)])
    answers = net.run(x)
    right = [bool(torch.isfinite(row).all()) and int(row.argmax()) == i % 2 for i, row in enumerate(answers)]
    assert float(found["overall"].values[0]) == pytest.approx(sum(right) / 6)
    said = [line for line in found.caveats if "not a number" in line]
    assert len(said) == (bright > 0) and all(f"For {bright} of 6" in line and "layer '1'" in line for line in said)
    if bright:
        with pytest.raises(SpecimenError, match=rf"NaN or infinity for {bright} of 6 .* layer '1'"):
            net.logits(x)
        with pytest.raises(Unmeasurable, match="NaN or infinity .* layer '1'"):
            mt.analyses.similarity.Similarity()(net, images)


def test_arithmetic_outside_layers_and_broken_weights_are_said() -> None:
    class Outside(nn.Sequential):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * float("nan")

    assert "forward of Outside itself" in where_broken(Outside(nn.Conv2d(3, 2, 1)), torch.zeros(1, 3, 4, 4))
    net = nn.Sequential(nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        net[0].weight[0] = float("nan")  # type: ignore[index, union-attr, operator]
    assert "layer '0' (Conv2d), whose weight holds" in where_broken(net, torch.zeros(1, 3, 4, 4))
