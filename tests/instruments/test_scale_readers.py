"""Which weights read what a batch norm scales: known counts, the slow twin in double precision, and moving scales by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.scale_invariance import scale_invariance
from microtome.instruments.scale_readers import move_scales, scale_readers


def gammas(net: nn.Module) -> dict[str, Tensor]:
    return {path: part.weight.detach() for path, part in net.named_modules() if isinstance(part, nn.BatchNorm2d)}


@pytest.mark.parametrize(
    ("name", "internal", "moved", "norms"),
    [("resnet18", 8, 8, 20), ("resnet50", 33, 33, 53), ("resnetv2_50", 28, 49, 49)],
)
def test_all_internal_scales_can_be_moved(name: str, internal: int, moved: int, norms: int) -> None:
    """Internal: 8 of 20, 33 of 53, 28 of 49. A pre-activation network's other norms are read by weights alone, too."""
    net = mt.open(f"timm:{name}", weights=None, recipe={"size": 64})
    found, told = scale_readers(net), scale_invariance(net.net, net.recipe)
    assert (len(told.scales), len(found), len(gammas(net.net))) == (internal, moved, norms)
    assert set(told.scales) <= set(found)
    if name == "resnet50":  # its stem is read by the first branch and by the projection beside it
        assert found["bn1"] == ("layer1.0.conv1", "layer1.0.downsample.0")


def test_the_slow_twin_agrees() -> None:
    """Each unit's scale and shift times a number of its own, the readers divided by it, in double precision: nothing changes; with one
    reader forgotten, it does."""
    net = mt.open("microtome:mini_resnet")
    found = scale_readers(net)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert len(found) > 5 and all(found.values())
    for path, readers in found.items():
        for forgotten in (None, readers[0]):
            trial = copy.deepcopy(net.net).double()
            drawn = torch.rand(len(trial.get_submodule(path).weight), generator=torch.Generator().manual_seed(1))
            factor = 0.5 + drawn.double()
            with torch.no_grad():
                trial.get_submodule(path).weight.mul_(factor)
                trial.get_submodule(path).bias.mul_(factor)
                for reader in readers:
                    if reader != forgotten:
                        trial.get_submodule(reader).weight.div_(factor[:, None, None])
                gap = float((trial(x) - net.net.double()(x)).abs().max())
            assert (gap < 1e-9) == (forgotten is None)
    net.net.float()


def test_scales_move_into_plain_grouped_and_flattened_readers() -> None:
    """γ = (2, -3, 0, 1): the first two move, with their signs kept; the outputs stay what they were."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(64, 2),
    ).eval()
    with torch.no_grad():
        for place in (1, 4):
            net[place].weight.copy_(torch.tensor([2.0, -3.0, 0.0, 1.0]))
            net[place].bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    specimen = mt.open(net, recipe={"size": 8})
    readers = scale_readers(specimen)
    assert readers == {"1": ("3",), "4": ("6",)}
    trial, x = copy.deepcopy(net), torch.randn(3, 3, 8, 8)
    assert move_scales(trial, readers) == 4
    assert trial[1].weight.tolist() == [1.0, -1.0, 0.0, 1.0]
    assert trial[1].bias.tolist() == pytest.approx([0.5, 2 / 3, 3.0, 4.0])
    assert trial[3].weight[0, 0].tolist() == (2 * net[3].weight[0, 0]).tolist()
    assert torch.allclose(trial(x), net(x), atol=1e-5)


@pytest.mark.parametrize(
    ("act", "passes"), [(nn.ReLU(), True), (nn.ReLU6(), False), (nn.GELU(), False), (nn.LeakyReLU(0.1), True)]
)
def test_factors_pass_through_rectifiers_only(act: nn.Module, passes: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), act, nn.MaxPool2d(2), nn.Conv2d(4, 5, 3)).eval()
    assert scale_readers(mt.open(net, recipe={"size": 16})) == ({"1": ("4",)} if passes else {})
