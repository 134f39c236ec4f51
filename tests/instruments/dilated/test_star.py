"""The star that gradients of parallel dilated branches draw, against its points by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from microtome.instruments.dilated.branches import branch_groups
from microtome.instruments.dilated.convolutions import dilated_convolutions
from microtome.instruments.dilated.star import star_gradient, star_mask
from pyramid_networks import Aspp, opened, seeded


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


def test_looking_changes_nothing() -> None:
    net = opened(seeded(Aspp))
    before = replace(net).digest()
    (group,) = branch_groups(net, dilated_convolutions(net))
    star_gradient(net, group, torch.zeros(1, 3, 33, 33))
    assert replace(net).digest() == before
    assert all(p.requires_grad and p.grad is None for p in net.net.parameters())
    assert not any(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.net.modules())
