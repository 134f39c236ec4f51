"""What a pruning keeps: by hand, against the wide network with zeros, and the reasons where nothing can be removed."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.errors import Uneditable
from microtome.instruments.pruning.choice import PruningPlan, choose_widths
from microtome.specimen.copying import copy_network


@pytest.mark.parametrize("name", ["mini_resnet", "mini_seresnet", "mini_densenet", "mini_hrnet", "mini_vgg", "mini_deit"])
def test_a_narrow_network_answers_as_the_wide_one_with_zeros(name: str) -> None:
    specimen = mt.open(f"microtome:{name}")
    before = specimen.digest()
    widths = choose_widths(specimen, PruningPlan(0.4, steps=2))
    assert specimen.digest() == before
    narrow, masked = copy_network(specimen.net), copy_network(specimen.net)
    widths.apply(narrow)
    widths.mask(masked)
    x = specimen.noise(4)
    with torch.no_grad():
        found, wanted = narrow(x), masked(x)
        assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.std())
        assert float((found - specimen.net(x)).abs().max()) > 0.01
    removed, total, _ = widths.removed_units(specimen.net)
    assert 0.35 < removed / total < 0.5


def test_taylor_follows_the_gradient() -> None:
    """By hand: a channel whose weights nothing reads has no gradient, however large it is, so Taylor removes it first."""

    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.last(self.conv(x).relu()).mean((2, 3)))

    torch.manual_seed(3)
    net = Chain().eval()
    with torch.no_grad():
        net.conv.bias.fill_(0.5)
        net.conv.weight[2] *= 100
        net.last.weight[:, 2] = 0
    specimen = mt.open(net, recipe={"size": 16})
    x = torch.randn(6, 3, 16, 16)
    taylor = PruningPlan(0.25, "taylor", batches=(x[:4], x[4:]), targets=torch.tensor([0, 1, 0, 1, 1, 1]))
    assert choose_widths(specimen, taylor).tensors["conv.weight"][0] == (0, 1, 3)
    assert 2 in choose_widths(specimen, PruningPlan(0.25)).tensors["conv.weight"][0]


def test_reasons() -> None:
    vgg = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 32}, img_size=32, depth=1)
    with pytest.raises(Uneditable, match="none of its channels has the scale of a batch norm; take criterion=magnitude"):
        choose_widths(vgg, PruningPlan(0.3, "bn_scale", heads=False))
    head = mt.open(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), recipe={"size": 8})
    with pytest.raises(Uneditable, match="a ratio of 0.3 removes none of its channels"):
        choose_widths(head, PruningPlan(0.3))


def test_what_does_not_run_is_refused_with_the_reason() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3)
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.conv(x).reshape(len(x), 8, -1).reshape(len(x), 8, *x.shape[2:])  # 8 is written into the code
            return self.fc(self.last(maps).mean((2, 3)))

    net = mt.open(Fixed(), recipe={"size": 16})
    before = net.digest()
    with pytest.raises(Uneditable, match=r"the narrower network does not run \(Fixed: "):
        choose_widths(net, PruningPlan(0.3))
    assert net.digest() == before
