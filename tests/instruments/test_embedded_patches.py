"""What patches are embedded as before positions are added, against what the network's own projection gives."""

import pytest
import torch
from torch import Tensor, nn

from microtome.instruments.embedded_patches import embedded_patches


class Vision(nn.Module):
    """Patches of 4 px, with or without a class token, positions scaled or added elsewhere, laid out as tokens or maps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.project = nn.Conv2d(3, 6, 4, 4)
        self.token = nn.Parameter(torch.full((1, 1, 6), 9.0))
        shape = {"rows last": (1, 2, 3, 6), "units first": (1, 6, 2, 3), "token": (1, 7, 6)}.get(kind, (1, 6, 6))
        self.positions = nn.Parameter(torch.randn(*shape))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.project(x)
        tokens = maps.flatten(2).transpose(1, 2)
        if self.kind == "rows last":
            return maps.permute(0, 2, 3, 1) + self.positions
        if self.kind == "units first":
            return maps + self.positions
        if self.kind == "token":
            return torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        if self.kind == "scaled":
            return (tokens * 2 + 1) + self.positions * 0.5
        if self.kind == "in place":
            tokens = tokens.contiguous()
            tokens += self.positions
            return tokens
        return tokens * self.positions if self.kind == "times" else tokens


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["plain sum", "token", "rows last", "units first", "in place", "scaled"])
def test_the_embeddings_right_before_the_sum(kind: str, x: Tensor) -> None:
    net = Vision(kind)
    if kind == "plain sum":
        net.forward = lambda x: net.project(x).flatten(2).transpose(1, 2) + net.positions  # type: ignore[method-assign]
    found = embedded_patches(net, net.positions, x, 6, 6)
    wanted = net.project(x).flatten(2).transpose(1, 2).detach()
    assert found is not None
    assert torch.equal(found, wanted * 2 + 1 if kind == "scaled" else wanted)


@pytest.mark.parametrize("kind", ["times", "never"])
def test_positions_that_are_not_added_are_none(kind: str, x: Tensor) -> None:
    net = Vision(kind)
    assert embedded_patches(net, net.positions, x, 6, 6) is None


def test_a_sum_of_another_shape_is_none(x: Tensor) -> None:
    net = Vision("token")
    assert embedded_patches(net, net.positions, x, 8, 6) is None  # more patches than tokens
    assert embedded_patches(net, net.positions, x, 6, 5) is None
