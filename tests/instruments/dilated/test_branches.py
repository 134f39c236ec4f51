"""Parallel branches found by what they read and what joins them."""

import pytest
import torch
from torch import Tensor, nn

from microtome.instruments.dilated.branches import branch_groups, suggested_rates
from microtome.instruments.dilated.convolutions import dilated_convolutions
from microtome.instruments.dilated.star import star_gradient, star_mask
from pyramid_networks import Aspp, Joined, opened, seeded


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


def test_convolutions_in_a_row_or_of_one_rate_are_no_branches() -> None:
    row = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=r, dilation=r) for r in (2, 3, 4)))
    found = dilated_convolutions(opened(row))
    assert len(found) == 3 and branch_groups(opened(row), found) == []
    same = opened(seeded(lambda: Aspp((3, 3))))
    assert branch_groups(same, dilated_convolutions(same)) == []


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
