"""How many channels a network takes, found over networks that rearrange the image before they read it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.opening.opening import open as open_specimen
from microtome.specimen.input_channels import input_channels
from microtome.specimen.recipe import Recipe


class Reader(nn.Module):
    """A network that reads images of so many channels as they are, from space to depth, in patches, or channels last."""

    def __init__(self, channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.late = nn.Conv2d(7, 7, 1)  # defined first, run last
        self.norm = nn.BatchNorm2d(channels) if how == "norm" else nn.Identity()
        if how in ("patches", "last"):
            self.first: nn.Module = nn.Linear(channels * (16 if how == "patches" else 1), 7)
        else:
            self.first = nn.Conv2d(channels * (4 if how == "depth" else 1), 7, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "patches":
            x = nn.functional.unfold(x, 4, stride=4).transpose(1, 2)
            return self.late(self.first(x).transpose(1, 2)[..., None]).mean((2, 3))
        if self.how == "last":
            return self.late(self.first(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).mean((2, 3))
        x = nn.functional.pixel_unshuffle(x, 2) if self.how == "depth" else self.norm(x)
        return self.late(self.first(x)).mean((2, 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.sampled_from(["plain", "depth", "patches", "last"]))
def test_channels_are_counted_where_the_image_is_read(channels: int, how: str) -> None:
    net = Reader(channels, how).eval()
    assert input_channels(net, Recipe(size=(16, 16))) == channels
    specimen = open_specimen(net, recipe={"size": 16})
    assert specimen.recipe.channels == channels
    assert specimen.outputs == 7
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_where_it_cannot_be_found_a_number_that_runs_is_named() -> None:
    specimen = open_specimen(Reader(5, "norm").eval(), recipe={"size": 16})
    with pytest.raises(SpecimenError, match=r"it runs on 5 channels; give recipe=\{'channels': 5\}"):
        _ = specimen.layers


class Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(1, 4))

    def forward(self) -> Tensor:
        return self.table


class Ignores(Nothing):
    def forward(self, x: Tensor) -> Tensor:
        return self.table.expand(len(x), -1) * 2


class ZeroHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3)))


def test_networks_that_read_no_image_are_refused_and_those_that_lose_it_are_not() -> None:
    with pytest.raises(SpecimenError, match="its forward takes no argument, so it reads no image"):
        _ = open_specimen(Nothing().eval(), recipe={"size": 16}).layers
    with pytest.raises(SpecimenError, match="The output of Ignores is the same for every image, even for one filled with NaN"):
        _ = open_specimen(Ignores().eval(), recipe={"size": 16}).layers
    assert open_specimen(ZeroHead().eval(), recipe={"size": 16}).outputs == 3
