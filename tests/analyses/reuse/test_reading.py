"""Which channels every weight layer reads, by hand on a dense block, and the scales of norms in between."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.analyses.reuse.reading import network_inputs
from microtome.errors import SpecimenError

RECIPE = {"size": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Dense(nn.Module):
    """Two layers that read all before them, a norm in between, and one convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(6, 2, 1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(8, 2)
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.0, -2, 3, -4, 5, -6]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.one(x)], 1)
        x = torch.cat([self.two(torch.relu(self.norm(x))), x], 1)
        return self.head(x.mean((2, 3)))


def test_runs_of_channels_by_hand() -> None:
    found = network_inputs(mt.open(Dense().eval(), recipe=RECIPE))
    calls = {call.name: call for call in found.calls}
    assert list(calls) == ["stem", "one", "two", "head"]
    number = {name: call.source for name, call in calls.items()}

    def read(name: str) -> list[tuple[str, int, int]]:
        return [(found.makers[run.source], run.start, run.width) for run in calls[name].runs]

    assert read("stem") == [("image", 0, 3)]
    assert read("one") == [("stem", 0, 4)]
    assert read("two") == [("stem", 0, 4), ("one", 0, 2)]
    assert read("head") == [("two", 0, 2), ("stem", 0, 4), ("one", 0, 2)]
    assert calls["two"].gain.tolist() == [1, 2, 3, 4, 5, 6] and calls["head"].gain.tolist() == [1] * 8
    assert found.parents[number["two"]] == {number["stem"], number["one"]}


def test_calls_of_one_layer_are_numbered_and_hooks_are_gone() -> None:
    net = nn.Sequential(conv := nn.Conv2d(3, 3, 1), nn.ReLU(), conv).eval()
    specimen = mt.open(net, recipe=RECIPE)
    found = network_inputs(specimen)
    assert [(call.name, call.path) for call in found.calls] == [("0", "0"), ("0#1", "0")]
    assert network_inputs(specimen) is found
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in net.modules())
    with pytest.raises(SpecimenError, match="does not run on an image of 16 x 16 px"):
        network_inputs(mt.open(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(5, 2)).eval(), recipe=RECIPE))
