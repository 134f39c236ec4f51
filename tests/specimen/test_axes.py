"""Axes of generated networks, held against what the network would give with its tokens row by row and its images in front.

The layouts are those of the wild: sequence first, units first, windows folded into the batch before or after the images, maps whose sides
equal their channels, class tokens, and tokens in any order.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.errors import SpecimenError
from microtome.specimen import tap, watch

SIDE = 4  # positions
PLAIN = {"size": 8 * SIDE, "crop": 1.0}
To = Callable[[Tensor], Tensor]


def windows(x: Tensor) -> Tensor:
    """(image, window, token, unit) of tokens row by row, windows of 2 x 2."""
    half = SIDE // 2
    parts = x.unflatten(1, (half, 2, half, 2)).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(len(x), half * half, 4, -1)


def whole(x: Tensor) -> Tensor:
    """The inverse of `windows`."""
    half = SIDE // 2
    return x.reshape(len(x), half, half, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(len(x), SIDE * SIDE, -1)


def square(x: Tensor) -> Tensor:
    return x.unflatten(1, (SIDE, SIDE))


# raw from tokens row by row, and back, given the number of images
WAYS: dict[str, tuple[To, Callable[[Tensor, int], Tensor]]] = {
    "batch first": (lambda x: x, lambda x, n: x),
    "sequence first": (lambda x: x.transpose(0, 1), lambda x, n: x.transpose(0, 1)),
    "units first": (lambda x: x.mT, lambda x, n: x.mT),
    "units before tokens before images": (lambda x: x.permute(2, 1, 0), lambda x, n: x.permute(2, 1, 0)),
    "windows": (lambda x: windows(x).flatten(0, 1), lambda x, n: whole(x.unflatten(0, (n, -1)))),
    "windows before images": (
        lambda x: windows(x).transpose(0, 1).flatten(0, 1),
        lambda x, n: whole(x.unflatten(0, (-1, n)).transpose(0, 1)),
    ),
    "window axis": (windows, lambda x, n: whole(x)),
    "windows of maps": (
        lambda x: windows(x).flatten(0, 1).unflatten(1, (2, 2)),
        lambda x, n: whole(x.flatten(1, 2).unflatten(0, (n, -1))),
    ),
    "map": (lambda x: square(x).permute(0, 3, 1, 2), lambda x, n: x.permute(0, 2, 3, 1).flatten(1, 2)),
    "map, units last": (square, lambda x, n: x.flatten(1, 2)),
    "map, units in the middle": (lambda x: square(x).permute(0, 1, 3, 2), lambda x, n: x.permute(0, 1, 3, 2).flatten(1, 2)),
    "map, images last": (lambda x: square(x).permute(3, 1, 2, 0), lambda x, n: x.permute(3, 1, 2, 0).flatten(1, 2)),
}
TOKENS = ("batch first", "sequence first", "units first", "units before tokens before images")


class Block(nn.Module):
    """Works on tokens and mixes them all, while what goes in and out lies as it likes."""

    def __init__(self, units: int, way: str) -> None:
        super().__init__()
        self.linear, self.mixed, self.way = nn.Linear(units, units), nn.Linear(units, units), way

    def plain(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(x)) + self.mixed(x).mean(1, keepdim=True)

    def forward(self, x: Tensor, images: int) -> Tensor:
        to, back = WAYS[self.way]
        return to(self.plain(back(x, images)))


class Net(nn.Module):
    def __init__(self, units: int, way: str, order: list[int], prefix: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, units, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, prefix, units))
        self.entry, self.order, self.way = Block(units, way), order, way
        self.blocks = nn.ModuleList([Block(units, way) for _ in range(2)])
        self.fc = nn.Linear(units, 3)

    def tokens(self, x: Tensor, order: list[int]) -> Tensor:
        x = self.embed(x).flatten(2).mT[:, order]
        return torch.cat([self.extra.expand(len(x), -1, -1), x], 1)

    def forward(self, x: Tensor) -> Tensor:
        to, back = WAYS[self.way]
        images = len(x)
        x = to(self.tokens(x, self.order))
        for block in (self.entry, *self.blocks):
            x = block(x, images)
        return self.fc(back(x, images).mean(1))

    def expected(self, x: Tensor) -> dict[str, Tensor]:
        """Maps of the blocks, without the prefix, computed row by row."""
        x = self.tokens(x, list(range(SIDE * SIDE)))
        maps: dict[str, Tensor] = {}
        named: list[tuple[str, Any]] = [("entry", self.entry), ("blocks.0", self.blocks[0]), ("blocks.1", self.blocks[1])]
        for name, block in named:
            x = block.plain(x)
            maps[name] = x[:, self.extra.shape[1] :].mT.unflatten(2, (SIDE, SIDE))
        return maps


def column_by_column() -> list[int]:
    return torch.arange(SIDE * SIDE).reshape(SIDE, SIDE).T.flatten().tolist()


ORDERS = st.one_of(
    st.just(list(range(SIDE * SIDE))), st.just(column_by_column()), st.permutations(list(range(SIDE * SIDE))).map(list)
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WAYS)), st.sampled_from([SIDE, 8, 16]), ORDERS, st.integers(0, 2), st.integers(1, 3))
def test_what_is_watched_lies_as_in_the_image(way: str, units: int, order: list[int], prefix: int, images: int) -> None:
    assume(way in TOKENS or (prefix == 0 and order == sorted(order)))
    torch.manual_seed(units)
    inner: Any = Net(units, way, order, prefix).eval()
    net = mt.open(inner, recipe=PLAIN)
    x = net.noise(images)
    with torch.no_grad():
        expected = inner.expected(x)
    with watch(net, list(expected)) as seen:
        net.run(x)
    for name, maps in expected.items():
        layer = net.layer(name)
        assert layer.grid == (SIDE, SIDE), (name, layer)
        assert (layer.prefix, layer.units) == (prefix, units)
        assert seen[name].shape == (images, *layer.shape)
        torch.testing.assert_close(layer.maps(seen[name]), maps, rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WAYS)), ORDERS)
def test_gradients_lie_as_in_the_image(way: str, order: list[int]) -> None:
    assume(way in TOKENS or order == sorted(order))
    torch.manual_seed(0)
    inner: Any = Net(8, way, order, 0).eval()
    net = mt.open(inner, recipe=PLAIN)
    x = net.noise(2)
    with tap(net, ["blocks.0"]) as taps:
        pair = taps.gradients(net.logits(x)[:, 0])["blocks.0"]
    plain = inner.expected(x)["blocks.0"].detach().requires_grad_()
    score = inner.fc(inner.blocks[1].plain(plain.flatten(2).mT).mean(1))[:, 0].sum()
    slope = torch.autograd.grad(score, plain)[0]
    torch.testing.assert_close(net.layer("blocks.0").maps(pair[1]), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_places_are_followed_through_mixing_that_leaves_none(order: tuple[int, ...]) -> None:
    """As in LeViT: attention makes all tokens alike, then every second row and column is taken."""

    class Called(nn.Module):
        def __init__(self, work: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.work = work

        def forward(self, x: Tensor) -> Tensor:
            return self.work(x)

    class Thinned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 3)
            self.start, self.mixed = Called(lambda x: x * 2), Called(lambda x: x.mean(1, keepdim=True).expand_as(x) * 1)
            self.thin = Called(lambda x: square(x)[:, ::2, ::2].flatten(1, 2)[:, list(order)])

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.thin(self.mixed(self.start(self.embed(x).flatten(2).mT))).mean(1))

    net = mt.open(Thinned().eval(), recipe=PLAIN)
    assert net.layer("mixed").grid == (SIDE, SIDE)
    layer = net.layer("thin")
    assert layer.grid == (2, 2)
    with watch(net, ["thin"]) as seen:
        raw = torch.arange(4.0)[list(order)][None, :, None].expand(1, 4, 8)
        assert layer.maps(raw if layer.arrangement is None else layer.arrangement.arrange(raw))[0, 0].flatten().tolist() == [
            0,
            1,
            2,
            3,
        ]
        net.run(net.noise(1))
    assert seen["thin"].shape == (1, 4, 8)


def test_tokens_that_cannot_be_placed_are_refused_with_a_sentence() -> None:
    class Mixed(nn.Module):
        """Every token is the same mixture of all patches, so none has a place."""

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True) + torch.zeros(1, 9, 1)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mixed, self.fc = nn.Conv2d(3, 8, 8, 8), Mixed(), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.mixed(self.embed(x).flatten(2).mT).mean(1))

    net = mt.open(Pooled().eval(), recipe=PLAIN)
    assert net.layer("mixed").grid is None
    with pytest.raises(SpecimenError, match="cannot be"):
        net.layer("mixed").maps(torch.zeros(1, *net.layer("mixed").shape))


def test_a_plain_convolutional_network_is_passed_once() -> None:
    passes: list[int] = []
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    ).eval()  # fmt: skip
    net.register_forward_hook(lambda _module, inputs, _output: passes.append(len(inputs[0])))
    assert mt.open(net, recipe=PLAIN).layers
    assert passes == [2]
