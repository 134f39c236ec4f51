from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from microtome.errors import UnknownName, WatchError
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen, replace_values, tap, watch

SMALL = (64, 64)


class InPlace(nn.Module):
    """Convolution, norm, a reused in-place ReLU, a residual sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv1(x)))
        y = self.conv2(x)
        y += x
        return self.fc(self.relu(y).mean((2, 3)))


@pytest.fixture(scope="module")
def inplace() -> Specimen:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return open_specimen(InPlace().eval(), recipe={"size": 8, "crop": 1.0})


def batch(size: tuple[int, int] = (8, 8), seed: int = 0) -> Tensor:
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(seed))


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())


def state(net: nn.Module) -> list[tuple[Any, ...]]:
    return [
        (name, value.requires_grad, value.grad is None, value.detach().clone().sum().item())
        for name, value in net.named_parameters()
    ]


def test_values_are_seen_before_they_are_overwritten(inplace: Specimen) -> None:
    net: Any = inplace.net
    x = batch()
    with watch(inplace, ["conv1", "bn", "relu", "conv2"]) as seen, torch.no_grad():
        inplace.net(x)
    with torch.no_grad():  # the same pass, written out without in-place operations
        conv1 = net.conv1(x)
        bn = net.bn(conv1)
        first = bn.relu()
        conv2 = net.conv2(first)
    torch.testing.assert_close(seen["conv1"], conv1)
    torch.testing.assert_close(seen["bn"], bn)  # then overwritten by the ReLU
    torch.testing.assert_close(seen["conv2"], conv2)  # then added to in place
    torch.testing.assert_close(seen["relu#0"], first)
    torch.testing.assert_close(seen["relu#1"], (conv2 + first).relu())
    assert seen["bn"].min() < 0


def test_inputs_of_layers(inplace: Specimen) -> None:
    with watch(inplace, ["<conv1", "relu#0", "<conv2", "<relu#1"]) as seen, torch.no_grad():
        inplace.net(batch())
    assert torch.equal(seen["<conv1"], batch())
    assert torch.equal(seen["<conv2"], seen["relu#0"])
    assert seen["<relu#1"].min() < 0


def test_callback_gets_every_call_in_order(inplace: Specimen) -> None:
    calls: list[tuple[str, tuple[int, ...]]] = []
    with watch(inplace, "relu, fc", each=lambda name, value: calls.append((name, tuple(value.shape)))) as seen, torch.no_grad():
        for _ in range(2):
            inplace.net(batch())
    assert seen == {}
    assert calls == [("relu#0", (3, 4, 8, 8)), ("relu#1", (3, 4, 8, 8)), ("fc", (3, 3))] * 2


def test_branches(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:hrnet_w18", SMALL)
    with watch(net, ["stage4.1", "stage4[3]", "<stage4.1[2]"]) as seen, torch.no_grad():
        net.net(batch(SMALL))
    assert [seen[f"stage4.1[{branch}]"].shape[1] for branch in range(4)] == [18, 36, 72, 144]
    assert seen["stage4[3]"].shape == (3, 144, 2, 2)
    assert seen["<stage4.1[2]"].shape == (3, 72, 4, 4)


def test_hooks_go_away_however_the_block_ends(inplace: Specimen) -> None:
    before = hooks(inplace.net), state(inplace.net), inplace.digest()
    with pytest.raises(ZeroDivisionError), watch(inplace, "convs"):
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), tap(inplace, "convs"):
        _ = 1 / 0
    with pytest.raises(RuntimeError), watch(inplace, "convs"):
        inplace.net(torch.zeros(1, 5, 8, 8))
    with pytest.raises(UnknownName), watch(inplace, "conv9"):
        pass
    assert (hooks(inplace.net), state(inplace.net)) == before[:2]
    assert hooks(inplace.net) == 0
    assert torch.backends.mha.get_fastpath_enabled()


def test_values_are_replaced_and_hooks_go_away(inplace: Specimen) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    name = next(layer.name for layer in inplace.layers if layer.layout == "nchw")
    before = inplace.run(x)
    with torch.no_grad(), replace_values(inplace, name, lambda _, value: torch.zeros_like(value)):
        changed = inplace.net(x)
    with torch.no_grad(), replace_values(inplace, name, lambda _, value: value):
        same = inplace.net(x)
    assert torch.equal(same, before) and not torch.allclose(changed, before)
    with pytest.raises(KeyError), replace_values(inplace, name, lambda _, value: value):
        raise KeyError
    assert torch.equal(inplace.run(x), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in inplace.net.modules())


def test_a_layer_that_never_runs_is_an_error(inplace: Specimen) -> None:
    net: Any = inplace.net
    with pytest.raises(WatchError, match="conv2"), watch(inplace, ["conv1", "conv2"]):
        net.conv1(batch())
    with pytest.raises(WatchError, match="conv1"), tap(inplace, "conv1") as taps:
        taps.gradients(torch.zeros(1, requires_grad=True))


def test_watching_parts_of_a_network_counts_its_calls_anew(inplace: Specimen) -> None:
    net: Any = inplace.net
    with watch(inplace, "relu") as seen:
        for value in (1.0, 2.0, 3.0):
            net.relu(torch.full((1, 4, 2, 2), value))
    assert (seen["relu#0"].mean(), seen["relu#1"].mean()) == (3.0, 2.0)


def test_gradients_are_those_of_autograd(inplace: Specimen) -> None:
    # oracle: the chain rule by hand on a functional copy without in-place operations
    net: Any = inplace.net
    x = batch()
    first = net.bn(net.conv1(x)).detach().requires_grad_()
    second = net.conv2(first.relu())
    logits = net.fc((second + first.relu()).relu().mean((2, 3)))
    expected = torch.autograd.grad(logits[:, 1].sum(), [first, second])
    with tap(inplace, ["bn", "conv2"]) as taps:
        found = taps.gradients(inplace.logits(x)[:, 1])
    for name, activation, gradient in zip(("bn", "conv2"), (first, second), expected, strict=True):
        torch.testing.assert_close(found[name][0], activation.detach())
        torch.testing.assert_close(found[name][1], gradient)
    taps.check()


def test_tap_leaves_everything_as_it_was(inplace: Specimen) -> None:
    before = state(inplace.net)
    with tap(inplace, "conv1") as taps:
        assert not any(parameter.requires_grad for parameter in inplace.net.parameters())
        taps.gradients(inplace.logits(batch()).sum())
    assert state(inplace.net) == before
    assert all(parameter.grad is None for parameter in inplace.net.parameters())


def test_tap_works_on_frozen_networks_without_grad(inplace: Specimen) -> None:
    frozen = open_specimen(InPlace().eval().requires_grad_(False), recipe=8)
    with torch.no_grad(), tap(frozen, "relu#0") as taps:
        gradients = taps.gradients(frozen.logits(batch())[:, 0])
    assert gradients["relu#0"][1].any()
    assert not any(parameter.requires_grad for parameter in frozen.net.parameters())
    assert torch.is_grad_enabled()


def test_graph_is_cut_below_the_first_tapped_layer(inplace: Specimen) -> None:
    with tap(inplace, "conv2") as taps:
        logits = inplace.logits(batch())
        assert taps.activations["conv2"].is_leaf
        taps.gradients(logits[:, 0], retain=True)
        taps.gradients(logits[:, 1])
        with pytest.raises(RuntimeError, match="second time"):
            taps.gradients(logits[:, 2])


def test_gradient_by_the_input(inplace: Specimen) -> None:
    x = batch().requires_grad_()
    expected = torch.autograd.grad(inplace.logits(x)[:, 0].sum(), x)[0]
    with tap(inplace, "<conv1") as taps:
        found = taps.gradients(inplace.logits(batch())[:, 0])["<conv1"]
    torch.testing.assert_close(found[1], expected)


def test_gradients_by_branches(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:hrnet_w18", SMALL)
    with tap(net, "stage4") as taps:
        found = taps.gradients(net.logits(batch(SMALL))[:, 5])
    taps.check()
    assert {name: tuple(slope.shape[1:]) for name, (_, slope) in found.items()} == {
        "stage4[0]": (18, 16, 16),
        "stage4[1]": (36, 8, 8),
        "stage4[2]": (72, 4, 4),
        "stage4[3]": (144, 2, 2),
    }


def test_patches_have_no_gradient_after_the_last_attention_and_do_at_norm1(opened: Callable[..., Specimen]) -> None:
    # timm's DeiT reads the class token only (the reason for the alias "deep")
    net = opened("timm:deit_tiny_patch16_224")
    with tap(net, ["blocks.11.norm1", "blocks.11.norm2", "norm"]) as taps:
        found = taps.gradients(net.logits(batch((224, 224)))[:, 0])
    patches = {name: bool(slope[:, 1:].any()) for name, (_, slope) in found.items()}
    assert patches == {"blocks.11.norm1": True, "blocks.11.norm2": False, "norm": False}


def test_dead_gradients_are_told() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 2, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.mean((2, 3))) + 0 * self.conv(x).mean((2, 3))

    net = open_specimen(Blind().eval(), recipe=8)
    with tap(net, "conv") as taps:
        taps.gradients(net.logits(batch())[:, 0])
    with pytest.raises(WatchError, match="conv"):
        taps.check()
    with tap(net, "fc") as taps:
        net.net(batch())
        with pytest.raises(WatchError, match="No gradient leads"):
            taps.gradients(torch.zeros(3))


def test_transformer_layers_are_seen_despite_the_fused_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Conv2d(3, 8, 4, 4)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.encoder(self.proj(x).flatten(2).transpose(1, 2)).mean(1)

    net = open_specimen(Encoder().eval(), recipe=16)
    with watch(net, "encoder.layers.1.*") as seen, torch.no_grad():
        net.net(batch((16, 16)))
    assert {"encoder.layers.1.linear1", "encoder.layers.1.norm2", "encoder.layers.1.self_attn"} <= set(seen)
    assert [block.name for block in net.blocks] == ["encoder.layers.0", "encoder.layers.1"]
