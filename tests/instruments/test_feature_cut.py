"""A network that ends early: nothing after the cut runs, and modules that the forward pass still names become identities."""

import copy

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.export.programs import write_program
from microtome.instruments.feature_cut import CutInfo, cut_at, pooled_map

INFO = CutInfo(("a",), (8,), (2.0,), (3.0,))


class Naming(nn.Module):
    """Looks at its later modules before it runs the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.later = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        head, later = self.head, self.later
        return head(later(self.first(x)).mean((2, 3)))


def test_modules_that_are_named_but_never_run_become_identities() -> None:
    net = mt.open(Naming().eval(), recipe={"size": 16})
    cut = copy.deepcopy(net.net)
    x = net.noise(2)
    cut_at(cut, [net.layer("first")], INFO, x)
    assert isinstance(cut.get_submodule("later"), nn.Identity)
    assert [name for name, _ in cut.named_parameters()] == ["first.weight", "first.bias"]
    with torch.no_grad():
        assert torch.equal(cut(x), net.net.get_submodule("first")(x))


def test_a_head_reads_the_mean_over_positions() -> None:
    net = mt.open("microtome:mini_resnet")
    cut, x = copy.deepcopy(net.net), net.noise(2)
    cut_at(cut, [net.layer("layer2")], INFO, x, classes=3)
    with torch.no_grad():
        maps = net.net.get_submodule("layer2")(net.net.get_submodule("layer1")(_stem(net.net, x)))
        torch.testing.assert_close(cut(x), cut.get_submodule("cut_head")(maps.mean((2, 3))))
    torch.testing.assert_close(pooled_map(net.layer("layer2"), maps), maps.mean((2, 3)))


def _stem(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = net.get_submodule("layer1").register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0].clone()))
    net(x)
    handle.remove()
    return kept[0]


def test_errors_inside_the_network_are_not_swallowed() -> None:
    net = mt.open("microtome:mini_resnet")
    cut = copy.deepcopy(net.net)
    cut_at(cut, [net.layer("layer2")], INFO, net.noise(1))
    with pytest.raises(RuntimeError):
        cut(torch.zeros(1, 5, 64, 64))


def test_info_speaks_as_timm_does() -> None:
    assert (INFO.channels(), INFO.reduction(), INFO.module_name()) == ([8], [2.0], ["a"])


def test_weights_that_attention_reads_without_calling_their_layer_stay() -> None:
    """`nn.MultiheadAttention` never calls `out_proj`; cut after the first of two encoder layers, it is that layer alone."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Transposed(), encoder).eval()
    specimen = mt.open(net, recipe={"size": 16})
    cut, x = copy.deepcopy(specimen.net), specimen.noise(2)
    cut_at(cut, [specimen.layer("3.layers.0")], INFO, x, classes=3)
    assert not any(name.startswith("3.layers.1") for name, _ in cut.named_parameters())
    with torch.no_grad():
        tokens = encoder.layers[0](net[2](net[1](net[0](x))))
        torch.testing.assert_close(cut(x), cut.get_submodule("cut_head")(tokens.mean(1)))


class Transposed(nn.Module):
    """Tokens (image, token, unit) from (image, unit, token)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


@pytest.mark.parametrize(("layers", "classes"), [(("layer2", "layer3"), 0), (("layer2",), 3)])
def test_a_cut_network_is_exported_for_any_batch(layers, classes, tmp_path) -> None:
    """The program of `torch.export`, read again, gives the very values of the cut network on another number of images."""
    net = mt.open("microtome:mini_resnet")
    cut = copy.deepcopy(net.net)
    cut_at(cut, [net.layer(name) for name in layers], INFO, net.noise(1), classes=classes)
    assert write_program(cut, net.noise(2), tmp_path / "cut.pt2") is None
    x = net.noise(3)
    with torch.no_grad():
        given, wanted = torch.export.load(tmp_path / "cut.pt2").module()(x), cut(x)
    pairs = zip(given, wanted, strict=True) if isinstance(wanted, list) else [(given, wanted)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
