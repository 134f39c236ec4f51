"""Projections against a literal deconvnet, against captum, and against plain gradients; and what they refuse."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.errors import Unmeasurable
from microtome.instruments.projection import project_units
from microtome.specimen import tap

POOLS = {"2 × 2": {"kernel_size": 2}, "3 × 3, overlapping": {"kernel_size": 3, "stride": 2}}


def plain(pool: dict[str, int], norm: bool = False, inplace: bool = False) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts: list[nn.Module] = []
        for inputs, units, stride in ((3, 8, 2), (8, 6, 1), (6, 5, 1)):
            parts += [nn.Conv2d(inputs, units, 3, padding=1, stride=stride), nn.BatchNorm2d(units) if norm else nn.Identity()]
            parts += [nn.ReLU(inplace), nn.MaxPool2d(**pool)]
        net = nn.Sequential(*parts[:-1]).eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)  # some negative: they turn the signal over before the next rectifier
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net


def slots(net: nn.Module, size: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Four images, in turn the strongest and the second unit of each, and the cell where it is strongest."""
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        maps = net(x).flatten(2)
    unit = maps.amax(2).argsort(1, descending=True)[torch.arange(4), torch.tensor([0, 1, 0, 1])]
    return x, unit, maps[torch.arange(4), unit].argmax(1)


def literal(net: nn.Sequential, x: Tensor, unit: Tensor, cell: Tensor) -> Tensor:
    """Unpool, rectify, filter with the transposed filters, layer by layer: no autograd, values of overlapping windows added up."""
    kept: list[Any] = []
    with torch.no_grad():
        for module in net:
            before = x
            if isinstance(module, nn.MaxPool2d):
                x, switches = F.max_pool2d(x, module.kernel_size, module.stride, return_indices=True)
                kept.append((module, before.shape, switches))
            else:
                x = module(x)
                kept.append((module, before.shape, None))
        signal = torch.zeros_like(x)
        slot = torch.arange(len(x))
        signal.flatten(2)[slot, unit, cell] = x.flatten(2)[slot, unit, cell]
        for module, shape, switches in reversed(kept):
            if isinstance(module, nn.MaxPool2d):
                flat = torch.zeros(*shape[:2], shape[2] * shape[3])
                signal = flat.scatter_add_(2, switches.flatten(2), signal.flatten(2)).view(shape)
            elif isinstance(module, nn.ReLU):
                signal = signal.relu()
            elif isinstance(module, nn.Conv2d):
                fit = shape[2] - ((signal.shape[2] - 1) * module.stride[0] - 2 * module.padding[0] + 3)
                signal = F.conv_transpose2d(
                    signal, module.weight, stride=module.stride, padding=module.padding, output_padding=fit
                )
            elif isinstance(module, nn.BatchNorm2d):
                signal = signal * (module.weight / (module.running_var + module.eps).sqrt()).view(1, -1, 1, 1)
    return signal


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("pool", POOLS)
def test_same_as_unpooling_rectifying_and_transposing(pool: str, norm: bool) -> None:
    net = plain(POOLS[pool], norm)
    x, unit, cell = slots(net)
    found = project_units(mt.open(net, recipe={"size": 40}), "10", x, unit, cell, "deconvnet")
    expected = literal(net, x, unit, cell)
    assert expected.abs().max() > 0
    assert (found.pixels - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert found.passage.rectifiers == 3


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("rule", "captum"), [("guided", NeuronGuidedBackprop), ("deconvnet", NeuronDeconvolution)])
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")
def test_same_as_captum(rule: Any, captum: Any, inplace: bool) -> None:
    """captum starts with 1, we with the activation."""
    net = plain(POOLS["3 × 3, overlapping"], norm=True, inplace=inplace)
    x, unit, cell = slots(net)
    found = project_units(mt.open(net, recipe={"size": 40}), "10", x, unit, cell, rule, even=True).pixels
    twin = plain(POOLS["3 × 3, overlapping"], norm=True)  # captum counts on modules that are not in place
    peer = captum(twin, twin[10])
    across = twin(x).shape[3]
    for slot in range(4):
        at = (int(unit[slot]), int(cell[slot]) // across, int(cell[slot]) % across)
        expected = peer.attribute(x[slot : slot + 1].clone().requires_grad_(), at).detach()
        assert expected.abs().max() > 0
        torch.testing.assert_close(found[slot : slot + 1], expected, rtol=1e-5, atol=1e-7)


NETWORKS = ("microtome:mini_densenet", "microtome:mini_hrnet", "microtome:mini_seresnet", "microtome:mini_deit")


@pytest.mark.parametrize("name", NETWORKS)
def test_rule_gradient_is_the_gradient_times_the_activation(name: str) -> None:
    specimen = mt.open(name)
    layer = specimen.find("deep")[-1]
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    unit, cell = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    found = project_units(specimen, layer, x, unit, cell, "gradient", rival=True)
    leaf = x.clone().requires_grad_()
    with tap(specimen, [layer]) as taps:
        specimen.net(leaf)
        maps = specimen.layer(layer).maps(taps.activations[layer]).flatten(2)
    slot = torch.arange(3)
    value = maps[slot, unit, cell]
    (slope,) = torch.autograd.grad(value, leaf, value.detach().abs(), retain_graph=True)
    assert torch.equal(found.pixels, slope)
    rest = maps[slot, :, cell].detach().scatter(1, unit[:, None], -torch.inf).argmax(1)
    value = maps[slot, rest, cell]
    (slope,) = torch.autograd.grad(value, leaf, value.detach().abs())
    assert found.other is not None
    assert torch.equal(found.other, slope)


def test_an_activation_below_zero_starts_with_its_size() -> None:
    """By transposed filters: the signal is +|v|. With v the gradient would turn over, but the rectifying rule gives another image."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
    net = nn.Sequential(first, nn.ReLU(), last).eval()
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = net(x).flatten(2)
    unit, cell = (int(one) for one in divmod(int(maps[0].argmin()), 64))
    value = float(maps[0, unit, cell])
    assert value < 0

    def back(start: float, rectified: bool) -> Tensor:
        signal = torch.zeros(1, 2, 64)
        signal[0, unit, cell] = start
        with torch.no_grad():
            signal = F.conv_transpose2d(signal.view(1, 2, 8, 8), last.weight, padding=1)
            signal = F.relu(signal) if rectified else signal * (first(x) > 0)
            return F.conv_transpose2d(signal, first.weight, padding=1)

    opened = mt.open(net, recipe={"size": 8, "crop": 1.0})
    slot = (torch.tensor([unit]), torch.tensor([cell]))
    for rule, rectified in (("deconvnet", True), ("gradient", False)):
        found = project_units(opened, "2", x, *slot, rule).pixels  # type: ignore[arg-type]
        torch.testing.assert_close(found, back(abs(value), rectified), atol=1e-5, rtol=1e-4)
        assert torch.allclose(found, -back(value, rectified), atol=1e-5) == (rule == "gradient")


def test_more_pictures_than_fit_in_one_pass() -> None:
    net = plain(POOLS["2 × 2"])
    x, unit, cell = slots(net)
    specimen = mt.open(net, recipe={"size": 40})
    many = project_units(specimen, "10", x.repeat(5, 1, 1, 1), unit.repeat(5), cell.repeat(5), "guided").pixels
    torch.testing.assert_close(many, project_units(specimen, "10", x, unit, cell, "guided").pixels.repeat(5, 1, 1, 1))


def test_what_the_signal_goes_through_is_counted() -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    unit, cell = torch.tensor([0, 1]), torch.tensor([3, 4])
    gated = mt.open("microtome:mini_seresnet")
    assert project_units(gated, gated.find("deep")[-1], x, unit, cell, "deconvnet").passage.gates == 7
    tokens = mt.open("microtome:mini_deit")
    passage = project_units(tokens, "blocks.1", x, unit, cell, "deconvnet").passage
    assert passage.rectifiers == 0
    assert dict(passage.curved) == {"GELU": 2, "softmax": 2, "layer norm": 4}


class Hidden(torch.autograd.Function):
    """Somebody's own rectifier."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(context: Any, g: Tensor) -> Tensor:
        return g * (context.saved_tensors[0] > 0)


class Wrapped(nn.Module):
    def __init__(self, inside: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x)


def test_functions_of_others_are_told() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Wrapped(Hidden.apply), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    x, unit, cell = slots(net[:1])
    passage = project_units(mt.open(net, recipe={"size": 40}), "3", x, unit, cell * 0, "deconvnet").passage
    assert passage.rectifiers == 1
    assert dict(passage.curved) == {"Hidden": 1}


def test_rectifiers_that_hide_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = plain(POOLS["2 × 2"])
    x, unit, cell = slots(net)
    specimen = mt.open(net, recipe={"size": 40})

    class CompiledFunction(Hidden):
        pass

    compiled = mt.open(nn.Sequential(net, Wrapped(CompiledFunction.apply)).eval(), recipe={"size": 40})
    with pytest.raises(Unmeasurable, match="CompiledFunction hides what is in it"):
        project_units(compiled, "1", x, unit, cell, "deconvnet")
    monkeypatch.setattr("microtome.numerics.graph.rectifiers.ZERO", 1.0)  # as if a new torch named its thresholds otherwise
    with pytest.raises(Unmeasurable, match="Of 3 rectifiers before 10 of Sequential the backward pass showed 0"):
        project_units(specimen, "10", x, unit, cell, "deconvnet")


def test_the_specimen_is_as_before() -> None:
    net = plain(POOLS["2 × 2"], inplace=True)
    x, unit, cell = slots(net)
    specimen = mt.open(net, recipe={"size": 40})
    before = testing.fingerprint(specimen.net)
    project_units(specimen, "10", x, unit, cell, "rectgrad", rival=True)
    assert testing.fingerprint(specimen.net) == before
    assert not x.requires_grad
