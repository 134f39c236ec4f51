"""Every computed weight as one plain parameter: the same outputs, and what is written there arrives in the network."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from microtome.specimen.plain_weights import copy_network, plain_copy, take_from_plain


def pruned() -> nn.Module:
    return prune.random_unstructured(nn.Linear(4, 3), "weight", amount=0.0)


WAYS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Linear(4, 3),
    "pruned": pruned,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_plain_copy_computes_the_same_and_carries_new_values_back(way: str) -> None:
    net = nn.Sequential(WAYS[way]()).eval()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    plain = plain_copy(net)
    assert [name for name, _ in plain.named_parameters() if "weight" in name] == ["0.weight"] and type(plain[0]) is nn.Linear
    before = net(x).detach()
    assert torch.allclose(F.linear(x, plain[0].weight, plain[0].bias), before, atol=1e-6)
    with torch.no_grad():
        plain[0].weight.copy_(torch.arange(12.0).reshape(3, 4) - 5)
    assert torch.equal(net(x), before)  # no memory is shared
    take_from_plain(net, plain)
    assert torch.allclose(net(x), F.linear(x, plain[0].weight, plain[0].bias), atol=1e-4)


def test_a_mask_stays_in_force() -> None:
    net = nn.Sequential(prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=5))
    plain = plain_copy(net)
    with torch.no_grad():
        plain[0].weight.fill_(1.0)
    take_from_plain(net, plain)
    net(torch.zeros(1, 4))
    assert float(net[0].weight.detach().sum()) == 7


def test_a_copy_shares_nothing_with_a_pruned_network_and_halves_become_floats() -> None:
    net = nn.Sequential(pruned())
    twin = copy_network(net)
    with torch.no_grad():
        twin[0].weight_orig.zero_()
    assert all(float(held.detach().abs().sum()) > 0 for held in (net[0].weight_orig, net[0].weight))
    assert plain_copy(nn.Linear(2, 2).half()).weight.dtype == torch.float32
