"""Heads found by rule: their number by name, tensors by shape, numbers that change."""

import torch
from torch import Tensor, nn

from microtome.instruments.pruning.dependencies import channel_groups
from microtome.instruments.pruning.heads import Heads, find_heads, head_tensors, keep_heads, set_head_numbers


class Attention(nn.Module):
    """Attention with a bias for each head, under names that no list holds."""

    def __init__(self) -> None:
        super().__init__()
        self.my_heads, self.head_dim, self.whole_width, self.attn_width = 3, 4, 12, 12
        self.q, self.k, self.v, self.out = (nn.Linear(12, 12) for _ in range(4))
        self.bias = nn.Parameter(torch.randn(5, 3))
        self.shift = nn.Parameter(torch.randn(12))
        self.mix = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each(x).unflatten(2, (self.my_heads, self.head_dim)).transpose(1, 2) for each in (self.q, self.k, self.v))
        return self.out((torch.softmax(q @ k.transpose(2, 3), 3) @ v).transpose(1, 2).flatten(2))


class Net(nn.Module):
    """One attention layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.fc = Attention(), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.inside(x).mean(1))


GIVERS = ("inside.q", "inside.k", "inside.v")


def test_heads_are_found_where_attention_is() -> None:
    net = Net()
    groups = channel_groups(net, torch.randn(2, 5, 12), [])
    (heads,) = find_heads(net, groups, ["inside"])
    assert (heads.path, heads.count, set(heads.givers), heads.reader) == ("inside", 3, set(GIVERS), "inside.out")
    assert find_heads(net, groups, []) == []


def test_tensors_and_numbers_by_hand() -> None:
    net = Net()
    heads = Heads("inside", 3, GIVERS, "inside.out")
    tensors = head_tensors(net, heads, 12)
    assert tensors == {
        "inside.bias": (1, 1),
        "inside.shift": (0, 4),
        "inside.mix.weight": (0, 1),
        "inside.mix.bias": (0, 1),
    }
    before = net.inside.shift.detach().clone()
    keep_heads(net, tensors, (0, 2))
    assert torch.equal(net.inside.shift, before[[0, 1, 2, 3, 8, 9, 10, 11]])
    assert tuple(net.inside.bias.shape) == (5, 2) and net.inside.mix.out_features == 2
    set_head_numbers(net, heads, 2, 12, wide=False)
    assert (net.inside.my_heads, net.inside.head_dim, net.inside.whole_width, net.inside.attn_width) == (2, 4, 12, 8)
    net.inside.my_heads = 3
    set_head_numbers(net, heads, 2, 12, wide=True)
    assert net.inside.whole_width == 8
