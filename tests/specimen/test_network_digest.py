"""The digest changes with a weight, a buffer, a path and a class, and with nothing else."""

import copy

import torch
from torch import nn

import microtome as mt
from microtome.specimen.network_digest import digest_axes, digest_network


class Extra(nn.Module):
    """A module with extra state."""

    def __init__(self, state: object) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> object:
        return self.state


def test_every_tensor_counts_and_memory_order_does_not() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    known = digest_network(net)
    assert (
        digest_network(copy.deepcopy(net)) == known == digest_network(copy.deepcopy(net).to(memory_format=torch.channels_last))
    )
    for name in net.state_dict():
        other = copy.deepcopy(net)
        with torch.no_grad():
            other.state_dict()[name].add_(1)
        assert digest_network(other) != known, name


def test_classes_options_and_extra_state_count() -> None:
    digests = [digest_network(nn.Sequential(part)) for part in (nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))]
    assert len(set(digests)) == 4
    assert digest_network(Extra({"a": 1})) != digest_network(Extra({"a": 2}))
    assert digest_network(Extra(object())) == digest_network(Extra(object()))  # no plain value: its type alone


def test_axes_count_only_where_there_are_tokens() -> None:
    assert digest_axes(mt.open("microtome:mini_resnet").layers) == ""
    layers = mt.open("microtome:mini_deit").layers
    assert len(digest_axes(layers)) == 16 and digest_axes(layers) != digest_axes(layers[:-5])
