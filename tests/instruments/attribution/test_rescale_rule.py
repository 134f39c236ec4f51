"""The rescale rule against layers worked through by hand, wherever a non-linearity is called, and where captum is right."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from map_networks import noise, opened, seeded
from microtome.instruments.attribution import map_kind, target_maps
from microtome.instruments.attribution.captum_methods import isolated_call
from microtome.instruments.attribution.rescale_rule import RescaleRule
from microtome.specimen import Specimen

KIND = map_kind("deeplift")


def of_captum(net, x, classes):
    """captum's map with signs and channels (image, rgb, row, col)."""
    captum = pytest.importorskip("captum.attr")
    with isolated_call(0):
        return captum.DeepLift(net).attribute(x.clone(), target=classes).detach()


def deeplift(net, x, classes):
    """The maps and the completeness gaps (image,)."""
    made = target_maps(
        opened(net), ["input"], x, Specimen.logits, lambda scores: [scores.gather(1, classes[:, None])[:, 0]], KIND
    )
    return made.maps[0]["input"], made.gaps[0]


class Written(nn.Module):
    """Convolution, rectifier, maximum pooling and a head, the rectifier written in one of many ways."""

    def __init__(self, rectify, pool) -> None:
        super().__init__()
        self.rectify, self.pool = rectify, pool
        self.conv, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.LazyLinear(4)
        self(torch.zeros(1, 3, 12, 12))
        seeded(self)

    def forward(self, x):
        return self.head(self.pool(self.rectify(self.conv(x))).flatten(1))


RECTIFIERS = [
    nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, torch.relu_, lambda x: x.relu(), lambda x: x.relu_(), lambda x: x.clamp(min=0),
    lambda x: F.relu(x, inplace=True),
]  # fmt: skip
POOLS = [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 1, dilation=2)]


def by_hand(net, x, classes):
    """Multipliers from the head down to the pixels, one window after the other (float64)."""
    with torch.no_grad():
        net, x = net.double(), x.double()
        both = [net.conv(x), net.conv(0 * x)]
        up = [value.relu() for value in both]
        size = net.pool.kernel_size, net.pool.stride, net.pool.padding, net.pool.dilation, net.pool.ceil_mode
        (out, place), (other, other_place) = (F.max_pool2d(value, *size, return_indices=True) for value in up)
        weights = net.head.weight[classes].view_as(out)
        parts = torch.zeros_like(up[0]).flatten(2)
        for image, unit, row, col in torch.cartesian_prod(*[torch.arange(side) for side in out.shape]).tolist():
            at = image, unit, row, col
            if out[at] > other[at]:
                parts[image, unit, place[at]] += weights[at] * (out[at] - other[at])
            else:
                parts[image, unit, other_place[at]] += weights[at] * (out[at] - other[at])
        change, given = both[0] - both[1], up[0] - up[1]
        multiplier = (parts.view_as(given) / given).where(given != 0, 0.0) * (given / change).where(change != 0, 0.0)
        maps = (x * F.conv_transpose2d(multiplier, net.conv.weight, padding=1)).sum(1)
        net.float()
    return maps.float()


@pytest.mark.parametrize("pool", POOLS)
def test_equals_the_rule_by_hand_and_sums_to_the_difference(pool):
    net, x, classes = Written(nn.ReLU(), pool), noise(3), torch.tensor([1, 3, 0])
    maps, gaps = deeplift(net, x, classes)
    wanted = by_hand(net, x, classes)
    assert torch.allclose(maps, wanted, atol=1e-5 * float(wanted.abs().max()))
    assert float(gaps.max()) < 1e-3


@pytest.mark.parametrize("rectify", RECTIFIERS)
def test_however_the_rectifier_is_written(rectify):
    x, classes = noise(3), torch.tensor([1, 3, 0])
    wanted, _ = deeplift(Written(nn.ReLU(), POOLS[1]), x, classes)
    given, gaps = deeplift(Written(rectify, POOLS[1]), x, classes)
    assert torch.equal(given, wanted)
    assert float(gaps.max()) < 1e-4


ACTIVATIONS = [
    nn.ELU(),
    nn.LeakyReLU(0.2),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Softplus(),
    nn.GELU(),
    nn.SiLU(inplace=True),
    nn.Hardswish(),
    nn.ReLU6(),
]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_smooth_functions_are_complete_and_equal_captum_where_it_has_a_rule(act):
    net = seeded(nn.Sequential(nn.Conv2d(3, 5, 3, 2), act, nn.Conv2d(5, 6, 3), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(6, 4)))
    x, classes = noise(3), torch.tensor([1, 3, 0])
    maps, gaps = deeplift(net, x, classes)
    assert float(gaps.max()) < 1e-3
    if isinstance(act, nn.ELU | nn.LeakyReLU | nn.Sigmoid | nn.Tanh | nn.Softplus):
        wanted = of_captum(net, x, classes).sum(1)
        assert torch.allclose(maps, wanted, atol=1e-5 * float(wanted.abs().max()))


def test_a_pool_beside_no_other_rule_equals_captum():
    """Of two rules one after the other, captum's first one gets the plain gradient of the second."""
    net = seeded(
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    )
    x, classes = noise(3), torch.tensor([1, 3, 0])
    wanted = of_captum(net, x, classes).sum(1)
    assert torch.allclose(deeplift(net, x, classes)[0], wanted, atol=1e-5 * float(wanted.abs().max()))


def test_captum_loses_evidence_where_a_padded_pool_follows_a_rectifier():
    """Why the rule is ours: two convolutions and pools, and captum's map no longer sums to the difference."""
    net = seeded(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(72, 4),
        )
    )  # fmt: skip
    x, classes = noise(3), torch.tensor([1, 3, 0])
    rows = torch.arange(3)
    difference = (net(x) - net(0 * x))[rows, classes].detach()
    theirs = of_captum(net, x, classes).sum((1, 2, 3))
    assert float(((theirs - difference) / difference).abs().max()) > 0.02
    assert float(deeplift(net, x, classes)[1].max()) < 1e-4


def test_values_of_another_number_of_rows_pass_the_plain_gradient():
    x = noise(3, 4, 4).requires_grad_()
    with RescaleRule(2):
        (slope,) = torch.autograd.grad(x.relu().sum(), x)
    assert torch.equal(slope, (x > 0).float())


def test_what_it_cannot_complete_is_measured():
    """A product of two values has no rule."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

        def forward(self, x):
            x = self.conv(x)
            return self.head((x * x).mean((2, 3)))

    _, gaps = deeplift(seeded(Product()), noise(3), torch.tensor([1, 3, 0]))
    assert float(gaps.min()) > 0.05
