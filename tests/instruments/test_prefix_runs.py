"""The later part of a network from kept features: equal to whole passes, for every block of several kinds of network."""

import copy

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.instruments import prefix_runs
from microtome.instruments.prefix_runs import PrefixRuns, earlier_modules, recall_values
from microtome.testing import fingerprint

NETWORKS = {
    "microtome:mini_resnet": {},
    "microtome:mini_vgg": {},
    "microtome:mini_densenet": {},
    "microtome:mini_inception": {},
    "microtome:mini_hrnet": {},
    "microtome:mini_deit": {},
    "timm:swin_tiny_patch4_window7_224": {"img_size": 64},
    "timm:mobilenetv3_small_050": {},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_to_whole_passes_at_every_block(name: str) -> None:
    weights = "default" if name.startswith("microtome") else None
    net = mt.open(name, **({} if weights else {"weights": None}), recipe={"size": 64}, **NETWORKS[name])
    x = net.noise(6)
    batches = [x[:4], x[4:]]
    wanted = [net.run(each) for each in batches]
    before = fingerprint(net.net)
    runs = PrefixRuns(net, net.net, batches)
    units = net.anatomy.units
    for unit in units[:: max(1, len(units) // 6)]:
        runs.advance(unit)
        for one, two in zip(runs.runs(), wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert runs.why == ""
    assert any(runs.kept[0].values())
    assert fingerprint(net.net) == before
    assert not any("forward" in vars(module) for module in net.net.modules())


def test_nothing_before_the_block_runs_again() -> None:
    net = mt.open("microtome:mini_resnet")
    runs = PrefixRuns(net, net.net, [net.noise(3)])
    unit = next(unit for unit in net.anatomy.units if unit.path == "layer4.1")
    runs.advance(unit)
    ran: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
        for path, module in net.net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    list(runs.runs())
    for handle in handles:
        handle.remove()
    assert ran
    assert all(path.startswith(("layer4.1", "layer4.2")) for path in ran)
    assert "layer3" in earlier_modules(net.anatomy.trace, unit)


def test_a_changed_copy_gives_what_it_gives_alone() -> None:
    net = mt.open("microtome:mini_resnet")
    x = net.noise(4)
    runs = PrefixRuns(net, net.net, [x])
    runs.advance(next(unit for unit in net.anatomy.units if unit.path == "layer3.1"))
    changed = copy.deepcopy(net.net)
    changed.get_submodule("layer4.1.bn2").weight.data.zero_()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        (given,) = runs.runs(changed)
        torch.testing.assert_close(given, changed(x))
        assert not torch.allclose(given, net.net(x))


class Remembering(nn.Module):
    """A network whose second half reads, behind the modules' backs, what the first half left in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(Half(3), Half(8)), nn.Sequential(Half(8), Half(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.head((self.second(y) + self.first[1].kept).mean((2, 3)))


class Half(nn.Module):
    """Two convolutions that remember their sum."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(inputs, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.kept = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = self.two(torch.relu(self.one(x)))
        return self.kept


def test_a_network_that_does_not_run_in_parts_runs_whole() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = mt.open(Remembering().eval(), recipe={"size": 16})
    batches = [net.noise(4)[:2], net.noise(4)[2:]]
    runs = PrefixRuns(net, net.net, batches)
    runs.advance(net.anatomy.units[-1])
    for one, x in zip(runs.runs(), batches, strict=True):
        torch.testing.assert_close(one, net.run(x))


def test_recalled_values_survive_an_overwriting_reader() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    kept = torch.tensor([[-1.0, 2.0]])
    with recall_values(net, {"0": kept}):
        assert net(torch.zeros(1, 2)).tolist() == [[0.0, 2.0]]
    assert kept.tolist() == [[-1.0, 2.0]]
    assert prefix_runs.TOLERANCE < 1e-4
