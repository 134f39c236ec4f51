"""Torch-Pruning behind one door: groups of a network made by hand, importance by hand, a sentence where it is missing."""

import importlib
import sys

import pytest
import torch
from torch import nn

from microtome.errors import MissingExtra
from microtome.instruments.pruning.dependencies import ChannelGroup, ChannelPruner, channel_groups, replay, torch_pruning


class Chain(nn.Module):
    """Two convolutions with a batch norm between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv2(self.bn(self.conv1(x)).relu()).mean((2, 3)))


@pytest.fixture
def chain() -> Chain:
    torch.manual_seed(0)
    return Chain().eval()


X = torch.zeros(1, 3, 8, 8)


def test_the_groups_of_a_chain(chain: Chain) -> None:
    groups = {group.producers: group for group in channel_groups(chain, X, [])}
    assert groups[("conv1",)] == ChannelGroup(("conv1",), ("conv2",), True)
    assert groups[("conv2",)].readers == ("fc",)


def test_the_channels_of_smallest_norm_go(chain: Chain) -> None:
    with torch.no_grad():
        for layer, axis in ((chain.conv1, 0), (chain.conv2, 1)):
            for channel, size in enumerate((0.5, 2.0, 0.1, 3.0)):
                layer.weight.select(axis, channel).fill_(size)
    wide = chain.conv1.weight.detach().clone()
    pruner = ChannelPruner(chain, X, 0.5, "magnitude", 1, ["conv2", "fc"], [])
    pruner.step()
    assert torch.equal(chain.conv1.weight, wide[[1, 3]])
    again = Chain()
    called: list[int] = []
    replay(again, X, pruner.history, [], lambda: called.append(1))
    assert again.conv1.out_channels == 2 and again.bn.num_features == 2 and called == [1]


def test_the_smallest_scales_go(chain: Chain) -> None:
    with torch.no_grad():
        chain.bn.weight.copy_(torch.tensor([0.9, -0.1, 0.2, 0.8]))
    ChannelPruner(chain, X, 0.5, "bn_scale", 1, ["conv2", "fc"], []).step()
    assert torch.equal(chain.bn.weight.detach(), torch.tensor([0.9, 0.8]))


def test_without_the_package_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingExtra) as error:
        torch_pruning()
    assert (
        str(error.value)
        == "prune_channels chooses channels with Torch-Pruning; install it with: pip install 'microtome[prune]'."
    )
    monkeypatch.undo()
    assert torch_pruning() is importlib.import_module("torch_pruning")
