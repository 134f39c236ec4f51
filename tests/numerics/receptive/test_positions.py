"""Where the positions of a map lie in the image: arithmetic by hand, and against the support of the gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import microtome as mt
from microtome.instruments.attribution import cell_positions
from microtome.numerics.receptive.geometry import Axis, Where, tile
from microtome.numerics.receptive.positions import PositionMode


def where_of(make, size=(33, 33)) -> Where:
    x = torch.rand(1, 3, *size)
    with torch.no_grad(), PositionMode(x) as follow:
        found = follow.of(make(x))
    assert found is not None
    return found


def written(into, x, cells):
    """`into` with `x` written in place into some of its rows and columns."""
    into[:, :, cells, cells] = x
    return into


def weight(kernel, inputs=3, units=4):
    return torch.full((units, inputs, kernel, kernel), 1.0)


def written_into_zeros(x, before):
    whole = x.new_zeros(*x.shape[:2], x.shape[2] + before + 1, x.shape[3] + before + 1)
    whole[:, :, before:-1, before:-1] = x
    return whole


@pytest.mark.parametrize(
    ("make", "start", "jump"),
    [
        # start moves by ((kernel - 1) · dilation / 2 - padding) cells, the jump grows by the stride
        (lambda x: F.conv2d(x, weight(3), stride=2, padding=1), 0.0, 2.0),
        (lambda x: F.conv2d(x, weight(3), stride=2), 1.0, 2.0),
        (lambda x: F.conv2d(x, weight(3), dilation=2), 2.0, 1.0),
        (lambda x: F.conv2d(x, weight(4), stride=4), 1.5, 4.0),
        (lambda x: F.conv2d(x, weight(3), padding="same"), 0.0, 1.0),
        (lambda x: F.max_pool2d(x, 2), 0.5, 2.0),
        (lambda x: F.max_pool2d(x, 3, 2, 1), 0.0, 2.0),
        (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), 1.0, 2.0),
        (lambda x: F.avg_pool2d(F.conv2d(x, weight(3), stride=2, padding=1), 2), 1.0, 4.0),
        (lambda x: F.conv_transpose2d(x, weight(2, 4, 3), stride=2), -0.25, 0.5),
        (lambda x: F.interpolate(x, scale_factor=2), -0.25, 0.5),
        (lambda x: F.interpolate(x, size=(65, 65), mode="bilinear", align_corners=True), 0.0, 0.5),
        (lambda x: F.pad(x, (1, 2, 1, 2)), -1.0, 1.0),
        (lambda x: F.pad(x, (-1, 0, -1, 0)), 1.0, 1.0),
        (lambda x: F.pad(x, (2, 2, 2, 2), mode="reflect"), -2.0, 1.0),
        (lambda x: F.pad(x, (2, 1, 2, 1), mode="circular"), -2.0, 1.0),
        (lambda x: F.conv2d(F.pad(x[:, :, ::2, ::2], (1, 1, 1, 1), mode="circular"), weight(3), stride=2), 0.0, 4.0),
        (lambda x: written_into_zeros(x, 3), -3.0, 1.0),
        (lambda x: x[:, :, ::2, ::2], 0.0, 2.0),
        (lambda x: x[:, :, 3:, 3:], 3.0, 1.0),
        (lambda x: x.permute(0, 2, 3, 1)[:, 1::2, 1::2], 1.0, 2.0),
        (lambda x: F.adaptive_avg_pool2d(x, 11), 1.0, 3.0),
        (lambda x: F.relu_(x.clone()).flatten(2).transpose(1, 2), 0.0, 1.0),
        (lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), 0.0, 1.0),
        (lambda x: torch.cat([x, x], 1), 0.0, 1.0),
        (lambda x: F.pad(x, (2, 3, 2, 3), mode="circular"), -2.0, 1.0),
        (lambda x: F.conv2d(F.pad(F.avg_pool2d(x, 4), (4, 4, 4, 4), mode="circular"), weight(3)), 1.5 - 3 * 4, 4.0),  # 8 -> 16
        (lambda x: written(torch.zeros(1, 3, 33, 33), x[:, :, :-4, :-4], slice(4, None)), -4.0, 1.0),
        (lambda x: written(x.new_zeros(1, 3, 66, 66), x, slice(None, None, 2)), 0.0, 0.5),
        (lambda x: written(x.clone(), 0.0, slice(0, 5)), 0.0, 1.0),
    ],
)
def test_arithmetic_by_hand(make, start, jump):
    found = where_of(make)
    assert (found.row.start, found.row.jump) == (start, jump)
    assert found.row == found.col
    assert found.exact


@pytest.mark.parametrize("rows", [30, 3])
@pytest.mark.parametrize("add", [False, True])
def test_parts_that_lie_elsewhere_leave_no_one_place(rows, add):
    """Rows from 3 px further down take the place of some: the larger part says where the cells lie, and that it is not sure."""

    def make(x):
        value = x.clone()
        if add:
            value[:, :, :rows] += x[:, :, 3 : 3 + rows]
        else:
            value[:, :, :rows] = x[:, :, 3 : 3 + rows]
        return F.max_pool2d(value, 1)

    found = where_of(make)
    assert not found.exact
    assert found.row.start == 0.0
    halves = where_of(lambda x: torch.cat([written(torch.zeros(1, 3, 33, 33), x, slice(None))] * 2, 1))
    assert halves.exact


def test_rows_and_columns_are_not_mixed_up():
    found = where_of(lambda x: F.conv2d(x, torch.ones(2, 3, 3, 5), stride=(1, 2), padding=(1, 0)), size=(20, 41))
    assert found.row == Axis(0.0, 1.0, 20)
    assert found.col == Axis(2.0, 2.0, 19)


def test_joined_paths_meet_at_their_mean_and_say_how_far_they_were_apart():
    found = where_of(lambda x: F.max_pool2d(x, 2) + F.conv2d(x, weight(1, 3, 3), stride=2)[:, :, :16, :16])
    assert (found.row.start, found.row.spread) == (0.25, 0.5)
    three = where_of(lambda x: (F.conv2d(x, weight(1, 3, 3)) + x) + torch.roll(x[:, :, 3:, 3:], 1)[:, :, :1, :1])
    assert three.row.start == 0.0  # one cell broadcast over a map does not move it


def test_patch_merging_by_reshape_is_assumed_to_tile():
    merged = where_of(lambda x: F.pixel_unshuffle(F.avg_pool2d(x, 1), 4), size=(32, 32)).regrid((8, 8))
    assert merged.row == Axis(1.5, 4.0, 8)
    odd = where_of(lambda x: x, size=(32, 32)).regrid((5, 5))
    assert not odd.exact
    assert odd.row.start == pytest.approx(tile(32, 5).start)


class Positive(nn.Module):
    """A network whose gates are all open, so that the support of its gradient is its receptive field."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.abs_().add_(0.01)


def support_middle(specimen, name, cell, size):
    """Middle of the rows that reach a cell, in pixels, by the gradient's support over a few inputs."""
    rows = torch.zeros(size[0], dtype=torch.bool)
    for seed in range(4):  # a maximum passes one pixel on, so several inputs are needed to see them all
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        kept = {}
        with mt.specimen.watch(specimen, name, each=lambda _, value, kept=kept: kept.update(value=value)):
            specimen.net(x)
        (slope,) = torch.autograd.grad(kept["value"][:, :, cell].sum(), x)
        rows |= slope.abs().sum((0, 1, 3)) > 0
    seen = rows.nonzero()
    assert seen[0] > 0, "the field must not touch the border"
    assert seen[-1] < size[0] - 1
    return float(seen[0] + seen[-1]) / 2


@pytest.mark.parametrize(
    ("name", "layer", "size", "cell", "start", "jump"),
    [
        ("timm:resnet18", "layer2", (224, 32), 14, 0.0, 8.0),
        ("timm:resnet18", "layer4", (672, 32), 10, 0.0, 32.0),  # 32·j, the trap: not 32·(j + 1/2) - 1/2
        ("timm:convnext_atto", "stages.1", (224, 32), 14, 3.5, 8.0),
    ],
)
def test_centres_are_the_middle_of_the_gradients_support(name, layer, size, cell, start, jump):
    specimen = mt.open(name, weights=None, recipe={"size": size})
    Positive(specimen.net)
    found = cell_positions(specimen, [layer], torch.rand(1, 3, *size))[layer].row
    assert (found.start, found.jump) == (start, jump)
    assert support_middle(specimen, layer, cell, size) == pytest.approx(found.centres[cell], abs=0.51)


@pytest.mark.parametrize(
    ("name", "layer", "start", "jump"),
    [
        ("timm:vit_tiny_patch16_224", "blocks.1.norm1", 7.5, 16.0),  # 16·(j + 1/2) - 1/2
        ("timm:swin_tiny_patch4_window7_224", "layers.2", 7.5, 16.0),
        ("timm:tf_efficientnet_b0", "blocks.6", 31.0, 32.0),  # pads behind only: each halving moves it by half its own jump
    ],
)
def test_known_families(name, layer, start, jump):
    specimen = mt.open(name, weights=None)
    found = cell_positions(specimen, [layer], torch.rand(1, 3, 224, 224))[layer]
    assert (found.row.start, found.row.jump, found.exact) == (start, jump, True)


def test_vgg_cells_sit_between_pixels():
    pairs = ((3, 4), (4, 8), (8, 8))
    net = nn.Sequential(*(part for a, b in pairs for part in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2))))
    assert where_of(net, (64, 64)).row == Axis(3.5, 8.0, 8)
