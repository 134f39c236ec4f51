"""Who reads the channels that a layer adds: by hand on a network of two dense layers, in both ways of writing it."""

import pytest
import torch
from torch import nn

from microtome.errors import Uneditable
from microtome.instruments.dense_channels import added_channels, narrow_readers, unreadable_reason


class Stacking(nn.Module):
    """Gives the stack of what it got and three new channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.relu(self.conv(x)), x], 1)


class Dense(nn.Module):
    """A stem of 4 channels, two layers that add 3, a head of 10."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 4, 1), Stacking(4), Stacking(7)
        self.norm, self.head = nn.BatchNorm2d(10), nn.Linear(10, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.two(self.one(self.stem(x)))).mean((2, 3)))


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Dense().eval()


def test_readers_by_hand(net: nn.Module) -> None:
    added = added_channels(net, torch.randn(2, 3, 8, 8), ["one", "two", "stem"])
    assert set(added) == {"one", "two"}  # what the stem gives is read alone
    assert added["one"].way == "stack"
    assert added["one"].readers == {"two.conv": [0, 1, 2], "norm": [3, 4, 5], "head": [3, 4, 5]}
    assert added["two"].readers == {"norm": [0, 1, 2], "head": [0, 1, 2]}


def test_narrower_readers_keep_their_other_weights(net: nn.Module) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    narrow_readers(net, {"two.conv": [0, 1, 2], "norm": [3, 4, 5], "head": [3, 4, 5]})
    kept = [0, 1, 2, 6, 7, 8, 9]
    assert torch.equal(net.state_dict()["two.conv.weight"], before["two.conv.weight"][:, 3:])
    assert torch.equal(net.state_dict()["norm.running_var"], before["norm.running_var"][kept])
    assert torch.equal(net.state_dict()["head.weight"], before["head.weight"][:, kept])
    assert net.get_submodule("norm").num_features == net.get_submodule("head").in_features == 7


def test_what_cannot_be_narrower(net: nn.Module) -> None:
    net.norm = nn.GroupNorm(2, 10)
    assert "'norm' (GroupNorm) reads these channels" in unreadable_reason(net, ["two.conv", "norm"])
    assert unreadable_reason(net, ["two.conv"]) == ""
    with pytest.raises(Uneditable, match="nothing left to read"):
        narrow_readers(net, {"stem": [0, 1, 2]})
