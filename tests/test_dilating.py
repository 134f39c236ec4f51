"""Dilated convolutions as they read their map, parallel branches found by what they read, the star that gradients draw."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import microtome as mt
from microtome.errors import BadOption
from microtome.instruments.dilated.branches import branch_groups, suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv, dilated_convolutions, with_image_size
from microtome.instruments.dilated.star import star_gradient, star_mask
from microtome.numerics.receptive.dilations import DilationMode

PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Aspp(nn.Module):
    """A stem of stride `step`, branches of 3 x 3 at several rates, a 1 x 1 and a pooling branch, joined and projected."""

    def __init__(self, rates: tuple[int, ...] = (2, 4, 7), step: int = 2, pooling: bool = True, wrapped: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, step, 1)
        self.aspp = Joined(rates, pooling, wrapped)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.aspp(torch.relu(self.stem(x))))


class Joined(nn.Module):
    """The branches; `wrapped` puts a rectifier and padding of their own before each convolution."""

    def __init__(self, rates: tuple[int, ...], pooling: bool, wrapped: bool) -> None:
        super().__init__()
        self.point, self.pool = nn.Conv2d(6, 5, 1), nn.Conv2d(6, 5, 1) if pooling else None
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(), nn.ZeroPad2d(r), nn.Conv2d(6, 5, 3, dilation=r))
            if wrapped else nn.Sequential(nn.Conv2d(6, 5, 3, padding=r, dilation=r), nn.LeakyReLU())
            for r in rates
        )  # fmt: skip
        self.project = nn.Conv2d(5 * (1 + len(rates) + pooling), 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = [self.point(x), *(branch(x) for branch in self.branches)]
        if self.pool is not None:
            made.append(self.pool(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:]))
        return self.project(torch.cat(made, 1))


def opened(net: nn.Module, size: int | tuple[int, int] = 33) -> mt.Specimen:
    return mt.open(net.eval(), recipe={"size": size, **PLAIN})


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


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


@pytest.mark.parametrize("wrapped", [False, True])
def test_branches_of_a_pyramid_and_what_they_see(wrapped) -> None:
    """Padding of its own before a convolution is no map: side and taps are the same as with padding by the convolution."""
    net = opened(seeded(lambda: Aspp(wrapped=wrapped)))
    found = dilated_convolutions(net)
    (group,) = branch_groups(net, found)
    assert group.members == tuple(found) and group.holder == group.title == "aspp"
    assert [one.side for one in found] == [(17, 17)] * 3
    assert [one.valid for one in found] == pytest.approx([((1 + 2 * (1 - r / 17)) / 3) ** 2 for r in (2, 4, 7)])
    assert [one.whole for one in found] == pytest.approx([(1 - 2 * r / 17) ** 2 for r in (2, 4, 7)])
    assert [one.field_of_view[0] for one in found] == [
        2 * 2 * r + 3 for r in (2, 4, 7)
    ]  # 2 r cells of 2 px behind a stem of 3 px
    assert suggested_rates(found, [group]) == dict(zip([one.name for one in found], (3, 5, 8), strict=True))


@pytest.mark.parametrize(("kernel", "joined"), [(1, True), (3, False)])
def test_a_branch_may_begin_with_a_pointwise_convolution(kernel, joined) -> None:
    """Each cell by itself leaves the star of the taps as it is; a 3 x 3 kernel in front would blur it."""

    class Reduced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(
                nn.Sequential(nn.Conv2d(3, 2, kernel, padding="same"), nn.ReLU(), nn.Conv2d(2, 4, 3, padding=r, dilation=r))
                for r in (2, 4)
            )

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([branch(x) for branch in self.branches], 1)

    net = opened(seeded(Reduced), 17)
    found = dilated_convolutions(net)
    groups = branch_groups(net, found)
    assert [[one.name for one in group.members] for group in groups] == ([["branches.0.2", "branches.1.2"]] if joined else [])
    if joined:
        slope = star_gradient(net, groups[0], torch.randn(2, 3, 17, 17)).abs().sum(0).sum(0)
        assert torch.equal(slope > 0, torch.from_numpy(star_mask(groups[0])))
        assert int(star_mask(groups[0]).sum()) == 17  # the middle, and eight points for each rate


def test_the_star_behind_pointwise_convolutions_of_unlike_widths_lies_on_the_map_they_share() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.aspp = nn.ModuleList(
                nn.Sequential(nn.Conv2d(3, units, 1, bias=False), nn.Conv2d(units, 4, 3, padding=r, dilation=r))
                for units, r in ((4, 2), (6, 5))
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.aspp[0](x) + self.aspp[1](x)

    net = opened(seeded(Held), 13)
    (group,) = branch_groups(net, dilated_convolutions(net))
    assert (group.title, group.begins) == ("aspp", ("aspp.0", "aspp.1"))
    slope = star_gradient(net, group, torch.randn(1, 3, 13, 13, generator=torch.Generator().manual_seed(0)))[0]
    points = [branch[0].weight[:, :, 0, 0] for branch in net.net.aspp]  # type: ignore[union-attr]
    taps = [branch[1].weight.mean(0) for branch in net.net.aspp]  # type: ignore[union-attr]
    corner = [points[i].T @ taps[i][:, 0, 2] for i in (0, 1)]  # by hand: the tap up and to the right, through the 1 x 1
    assert torch.allclose(slope[:, 4, 8], corner[0], atol=1e-6) and torch.allclose(slope[:, 1, 11], corner[1], atol=1e-6)


class Narrow(nn.Module):
    """A 1 x 1 convolution and a dilated one; takes one map or a list of maps."""

    def __init__(self, inputs: int, rate: int) -> None:
        super().__init__()
        self.point, self.conv = nn.Conv2d(inputs, 4, 1), nn.Conv2d(4, 4, 3, padding=rate, dilation=rate)

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        return self.conv(self.point(torch.cat(x, 1) if isinstance(x, list) else x))


class Dense(nn.Module):
    """Layers that read all maps before them: one behind the other, though all get the first map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Narrow(3 + 4 * place, rate) for place, rate in enumerate((2, 4, 6)))

    def forward(self, x: Tensor) -> Tensor:
        made = [x]
        for layer in self.layers:
            made.append(layer(made))
        return torch.cat(made, 1)


class Beside(nn.Module):
    """A bottleneck of a backbone and a head on the same map, which nothing joins."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.head = Narrow(3, 2), Narrow(3, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.block(x), self.head(x)


@pytest.mark.parametrize("make", [Dense, Beside])
def test_what_is_dense_or_lies_in_different_parts_is_no_pyramid(make) -> None:
    net = opened(seeded(make), 17)
    found = dilated_convolutions(net)
    assert len(found) > 1 and branch_groups(net, found) == []


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


def test_convolutions_in_a_row_or_of_one_rate_are_no_branches() -> None:
    row = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=r, dilation=r) for r in (2, 3, 4)))
    found = dilated_convolutions(opened(row))
    assert len(found) == 3 and branch_groups(opened(row), found) == []
    same = opened(seeded(lambda: Aspp((3, 3))))
    assert branch_groups(same, dilated_convolutions(same)) == []


def test_branches_without_a_module_around_them() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv2d(3, 4, 3, padding=r, dilation=r) for r in (2, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x)

    net = opened(seeded(Bare), 13)
    (group,) = branch_groups(net, dilated_convolutions(net))
    assert (group.holder, group.title) == ("", "one and others")
    slope = star_gradient(net, group, torch.randn(2, 3, 13, 13, generator=torch.Generator().manual_seed(0)))
    expected = torch.zeros(13, 13, dtype=torch.bool)  # the two kernels laid on the middle cell (6, 6)
    for rate in (2, 5):
        for row in (-rate, 0, rate):
            expected[6 + row, [6 - rate, 6, 6 + rate]] = True
    assert ((slope != 0).any((0, 1)) == expected).all()
    assert (star_mask(group) == expected.numpy()).all() and expected.sum() == 17
    weights = net.net.one.weight.mean(0), net.net.two.weight.mean(0)  # type: ignore[union-attr]
    assert torch.allclose(slope[0, :, 6, 6], weights[0][:, 1, 1] + weights[1][:, 1, 1])
    assert torch.allclose(slope[1, :, 4, 8], weights[0][:, 0, 2])


def test_a_module_that_changes_the_map_first_is_not_taken_for_what_joins_the_branches() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.aspp = nn.Conv2d(3, 6, 3, padding=1), Joined((2, 5), False, False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.before(x)
            return self.aspp.project(torch.cat([self.aspp.point(x), *(branch(x) for branch in self.aspp.branches)], 1))

    net = opened(nn.Sequential(seeded(Head)), 13)
    (group,) = branch_groups(net, dilated_convolutions(net))
    assert (group.holder, group.title) == ("", "0.aspp.branches")


@pytest.mark.parametrize(
    ("side", "rates", "points"),
    [(65, (6, 12, 18), 25), (65, (12, 24, 36), 17), (33, (6, 12, 18), 17), (33, (5, 11, 16), 25)],  # of the methods
)
def test_the_star_is_the_support_of_the_gradient(side, rates, points) -> None:
    net = opened(seeded(lambda: Aspp(rates, 1, pooling=False)), side)
    (group,) = branch_groups(net, dilated_convolutions(net))
    slope = star_gradient(net, group, torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    found = (slope != 0).any((0, 1)).numpy()
    assert found.sum() == points and (found == star_mask(group)).all()


def test_a_pooling_branch_is_an_even_floor() -> None:
    net = opened(seeded(Aspp))
    (group,) = branch_groups(net, dilated_convolutions(net))
    slope = star_gradient(net, group, torch.randn(1, 3, 33, 33, generator=torch.Generator().manual_seed(0)))[0]
    off = slope[:, torch.from_numpy(~star_mask(group))]
    assert float(off.abs().max()) > 0
    np.testing.assert_allclose(off, off[:, :1].expand_as(off), rtol=1e-5)


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


def test_looking_changes_nothing() -> None:
    net = opened(seeded(Aspp))
    before = replace(net).digest()
    (group,) = branch_groups(net, dilated_convolutions(net))
    star_gradient(net, group, torch.zeros(1, 3, 33, 33))
    assert replace(net).digest() == before
    assert all(p.requires_grad and p.grad is None for p in net.net.parameters())
    assert not any(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.net.modules())
