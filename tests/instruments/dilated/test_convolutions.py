"""Dilated convolutions as they read their map: side, taps, dead taps, and padding told from the output."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import microtome as mt
from microtome.errors import BadOption
from microtome.instruments.dilated.branches import branch_groups, suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv, dilated_convolutions, with_image_size
from microtome.numerics.receptive.dilations import DilationMode
from pyramid_networks import Aspp, opened, seeded


def test_a_dilated_stage_as_timm_makes_it() -> None:
    """ResNet-18 at output stride 8: rates 2 and 4 on 28 cells of 8 px; the last sees 435 px, the field of ResNet-18 itself."""
    net = mt.open("timm:resnet18", weights=None, output_stride=8)
    found = dilated_convolutions(net)
    assert [(one.name, one.rate) for one in found] == [
        ("layer3.0.conv2", (2, 2)), ("layer3.1.conv1", (2, 2)), ("layer3.1.conv2", (2, 2)), ("layer4.0.conv1", (2, 2)),
        ("layer4.0.conv2", (4, 4)), ("layer4.1.conv1", (4, 4)), ("layer4.1.conv2", (4, 4)),
    ]  # fmt: skip
    assert {one.side for one in found} == {(28, 28)} and {one.jump for one in found} == {(8.0, 8.0)}
    assert found[-1].field_of_view == (435, 435) and found[-1].view == (9, 9) and found[-1].most == 13
    assert branch_groups(net, found) == []
    assert suggested_rates(found, []) == {one.name: one.main for one in found}


@pytest.mark.parametrize(("stride", "side"), [(32, 7), (16, 14), (8, 28)])
def test_the_side_follows_the_output_stride(stride, side) -> None:
    found = dilated_convolutions(mt.open("timm:resnet18", weights=None, output_stride=stride))
    assert {one.side for one in found} == (set() if stride == 32 else {(side, side)})


class Same(nn.Conv2d):
    """A convolution that pads by the size of its input, as TensorFlow does; it says that it pads nothing."""

    def forward(self, input: Tensor) -> Tensor:
        margins: list[int] = []
        for axis in (1, 0):
            side, stride = input.shape[2 + axis], self.stride[axis]
            span = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = max(0, (-(-side // stride) - 1) * stride + span - side)
            margins += [total // 2, total - total // 2]
        return super().forward(F.pad(input, margins))


@pytest.mark.parametrize(("stride", "side"), [(1, 9), (2, 10), (2, 9), (3, 11)])
def test_dynamic_padding_is_told_from_the_output(stride, side) -> None:
    """Oracle: one tap at a time on a map of ones, by the module itself."""
    (found,) = dilated_convolutions(opened(nn.Sequential(Same(3, 4, 5, stride, dilation=2)), side))
    taps = Same(1, 25, 5, stride, dilation=2, bias=False)
    with torch.no_grad():
        taps.weight.copy_(torch.eye(25).reshape(25, 1, 5, 5))
        on = taps(torch.ones(1, 1, side, side))[0]
    assert found.side == (side, side)
    assert found.valid == pytest.approx(float(on.mean()))
    assert found.whole == pytest.approx(float(on.amin(0).mean()))


def test_padding_that_cannot_be_told_is_not_guessed() -> None:
    class Cut(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input[:, :, 2:])

    (found,) = dilated_convolutions(opened(nn.Sequential(Cut(3, 4, 3, padding=2, dilation=2)), 12))
    assert found.before is None and np.isnan([found.valid, found.whole, found.alive]).all() and found.dead == ()


def test_rectangles_asymmetric_rates_and_unknown_padding() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.across = nn.Conv2d(3, 4, (1, 5), padding=(0, 6), dilation=(1, 3))
            self.both = nn.Conv2d(4, 4, 3, padding=(2, 8), dilation=(2, 8))
            self.bare = nn.Conv2d(4, 4, 3, dilation=3)
            self.same = nn.Conv2d(4, 4, 3, padding="same", dilation=2, padding_mode="circular")

        def forward(self, x: Tensor) -> Tensor:
            return self.same(self.bare(self.both(self.across(x))))

    found = {one.name: one for one in dilated_convolutions(opened(seeded(Odd), (16, 24)))}
    assert (found["across"].axes, found["across"].main, found["across"].view) == ((1,), 3, (1, 13))
    assert found["across"].most == 23 // 4 and found["across"].scaled_rates(5) == (1, 5)
    assert found["both"].ratio == pytest.approx(8 / 24) and found["both"].scaled_rates(4) == (1, 4)
    assert found["both"].most == 11  # (16 - 1) // 2 = 7 rows allow 28, (24 - 1) // 2 = 11 columns
    assert found["bare"].whole == found["bare"].valid == 1 and found["bare"].positions == (10, 18)
    assert found["same"].before == (2, 2) and found["same"].edges == "circular"


def test_dead_along_one_axis_or_both() -> None:
    def one(padding: tuple[int, int]) -> DilatedConv:
        return dilated_convolutions(opened(nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding, dilation=padding)), (8, 16)))[0]

    assert (one((8, 8)).dead, one((8, 16)).dead, one((7, 15)).dead) == ((0,), (0, 1), ())
    assert one((8, 16)).valid == pytest.approx(1 / 9)
    assert one((8, 16)).alive == pytest.approx(1 / 9) and one((7, 15)).alive == 1


def test_modules_that_run_twice_are_told_for_each_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=4, dilation=4)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.avg_pool2d(self.conv(x), 4))

    found = dilated_convolutions(opened(seeded(Twice), 32))
    assert [(one.name, one.side) for one in found] == [("conv#0", (32, 32)), ("conv#1", (8, 8))]
    assert [one.jump for one in found] == [(1.0, 1.0), (4.0, 4.0)]


def test_dilated_convolutions_that_are_no_modules_are_counted() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=2, dilation=2)

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(self.conv(x), torch.ones(2, 4, 3, 3), dilation=3)

    counted = DilationMode()
    assert len(dilated_convolutions(opened(seeded(Functional)), counted)) == 1 and counted.count == 2


def test_other_sizes() -> None:
    net = opened(seeded(Aspp))
    assert with_image_size(net, 0, "atrous") is net is with_image_size(net, 33, "atrous")
    assert dilated_convolutions(with_image_size(net, 65, "atrous"))[0].side == (33, 33)
    fixed = mt.open(nn.Sequential(nn.Conv2d(3, 2, 3, padding=2, dilation=2), nn.Flatten(), nn.Linear(2 * 64, 3)),
                    recipe={"size": 8})  # fmt: skip
    with pytest.raises(BadOption, match=r"atrous: .* does not run on 16 x 16 px; size 0 takes its own, 8 x 8"):
        with_image_size(fixed, 16, "atrous")
