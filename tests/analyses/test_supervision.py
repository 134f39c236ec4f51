"""Implicit deep supervision: path lengths by hand on networks, gradients against autograd, identities, and bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.analyses.supervision import Supervision
from microtome.errors import SpecimenError, Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=8, device="cpu")


def test_gradients_against_autograd(net: mt.Specimen, pics: mt.Images) -> None:
    """‖∂L/∂h‖·‖h‖ of the last convolution, one image after the other."""
    few = pics.take(range(6))
    found = Supervision()(net, few, PACE)
    x = net.recipe.normalise(torch.from_numpy(few.pixels(net.recipe)))
    strengths: list[float] = []
    steep: list[float] = []
    assert few.labels is not None
    for image, label in zip(x, few.labels, strict=True):
        value = torch.relu(net.net.stem(image[None]))
        value = net.net.blocks[:2](value)
        inner = net.net.blocks[2].conv2(torch.relu(net.net.blocks[2].conv1(value))).detach().requires_grad_()
        loss = F.cross_entropy(net.net.head((value.detach() + inner).mean((2, 3))), torch.tensor([label]))
        (slope,) = torch.autograd.grad(loss, inner)
        strengths.append(float((slope.norm() * inner.norm()).detach()))
        steep.append(float(slope.norm()))
    assert found["strength"].sel(layer="blocks.2.conv2").item() == pytest.approx(np.mean(strengths), rel=1e-4)
    assert found["gradient"].sel(layer="blocks.2.conv2").item() == pytest.approx(np.mean(steep), rel=1e-4)
    assert found.facts["target"] == "at the true class" and found.key("images").value == 6


def test_lengths_of_a_residual_network(net: mt.Specimen, pics: mt.Images) -> None:
    """The stem reaches the head through three shortcuts; the first convolution of a block passes the second one as well."""
    found = Supervision()(net, pics.take(range(4)), PACE)
    assert dict(zip(found["shortest"].layer.values, found["shortest"].values, strict=True)) == {
        "stem": 1, "blocks.0.conv1": 2, "blocks.0.conv2": 1, "blocks.1.conv1": 2, "blocks.1.conv2": 1,
        "blocks.2.conv1": 2, "blocks.2.conv2": 1, "head": 0,
    }  # fmt: skip
    assert found["mean_length"].sel(layer="stem").item() == 4.0  # each block adds 0 or 2 with equal chances, and the head 1
    assert 10 ** found["paths"].sel(layer="stem").item() == pytest.approx(8)


@pytest.mark.parametrize(("name", "furthest"), [("mini_vgg", 7), ("mini_resnet", 7), ("mini_densenet", 4), ("mini_deit", 2)])
def test_the_mini_networks_by_hand(name: str, furthest: int) -> None:
    """VGG: 8 weight layers in a row. ResNet: two of the stem, a shortcut of 1×1 in each of four stages, the head.

    DenseNet: the 3×3 after a bottleneck, two transitions, the classifier. DeiT: the second layer of a branch and the head.
    """
    net = mt.open(f"microtome:{name}", weights=None, **({"zero_init_last": False} if name == "mini_resnet" else {}))
    found = Supervision(count=4)(net, mt.Images.scenes(4), PACE)
    assert found["shortest"].max().item() == furthest
    assert found.key("largest distance from the loss").value == furthest
    assert f"further than {furthest} weight layers" in found.headline
    assert any(line.startswith("These weights are untrained") for line in found.caveats)


class Chain(nn.Module):
    """Layers of one unit in a row, none with a bias, and a head of two outputs."""

    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 1, bias=False)
        self.rest = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(depth))
        self.head = nn.Linear(1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean((2, 3))
        for layer in self.rest:
            x = layer(x)
        return self.head(x)


def chain(weight: float = 0.5) -> mt.Specimen:
    net = Chain().eval()
    for parameter in net.parameters():
        nn.init.constant_(parameter, weight)
    net.head.weight.data = torch.tensor([[1.0], [-1.0]])
    return mt.open(net, recipe={"size": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0})


def coloured(labels: bool = True) -> mt.Images:
    x = 0.2 + 0.6 * torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return mt.Images.tensors(x, labels=np.array([0, 1, 0, 1, 1, 0]) if labels else None, classes=["a", "b"] if labels else None)


def test_a_chain_of_single_units_is_exactly_level() -> None:
    """There ‖∂L/∂h‖·‖h‖ = |h·∂L/∂h|, which no linear layer changes, although the plain gradient shrinks by the weight each time."""
    found = Supervision()(chain(), coloured(), PACE)
    inner = [name for name in found["strength"].layer.values if name.startswith("rest")]
    strength, steep = (found[name].sel(layer=inner).values for name in ("strength", "gradient"))
    np.testing.assert_allclose(strength, strength[0], rtol=1e-5)
    np.testing.assert_allclose(steep[:-1] / steep[1:], 0.5, rtol=1e-5)
    assert abs(found["decades"].sel(source="network").item()) < 0.7  # the stem's map and the head's outputs are wider
    assert found["shortest"].values.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    change = found.key("gradient, first third over last third")
    assert change.value == pytest.approx(10 ** found["decades"].sel(source="network").item())
    assert found.key("median distance from the loss").value == 3.5


def test_rescaling_a_layer_changes_nothing(net: mt.Specimen, pics: mt.Images) -> None:
    """Twice the weights before a ReLU and half of those after it is the same function, and the same profile."""
    few = pics.take(range(4))
    before = Supervision()(net, few, PACE)
    other = mt.open(type(net.net)(), recipe=net.recipe)
    other.net.load_state_dict(net.net.state_dict())
    block = other.net.blocks[1]
    for parameter in block.conv1.parameters():
        parameter.data *= 2
    block.conv2.weight.data /= 2
    after = Supervision()(other, few, PACE)
    np.testing.assert_allclose(after["strength"].values, before["strength"].values, rtol=1e-4)
    assert after["gradient"].sel(layer="blocks.1.conv1").item() == pytest.approx(
        before["gradient"].sel(layer="blocks.1.conv1").item() / 2, rel=1e-4
    )


def test_what_the_loss_asks_for() -> None:
    free = Supervision()(chain(), coloured(labels=False), PACE)
    assert "predicts, since the images have no labels" in free.facts["target"]
    assert any("predicts" in one for one in free.caveats)
    strange = mt.Images.scenes(4, size=32)  # ten shapes; the network has two outputs
    assert "are not its own" in Supervision()(chain(), strange, PACE).facts["target"]


def test_broken_weights() -> None:
    net = chain()
    net.net.rest[2].weight.data.fill_(float("nan"))
    with pytest.raises((Unmeasurable, SpecimenError), match="gives NaN or infinity"):
        Supervision()(net, coloured(), PACE)
    zero = Supervision()(chain(0.0), coloured(), PACE)  # the paths are there, and nothing flows along them
    assert np.isnan(zero.key("gradient, first third over last third").value)
    assert any("it is zero" in line for line in zero.caveats)
    assert zero.key("largest distance from the loss").value == zero["shortest"].max().item() == 7


def test_too_shallow_or_without_scores() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).eval()
    assert "fewer than two layers" in Supervision().refusal(mt.open(flat, recipe={"size": 8}), coloured())
    maps = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)).eval()
    assert "no single score" in Supervision().refusal(mt.open(maps, recipe={"size": 8}), coloured())


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    before = [parameter.requires_grad for parameter in net.net.parameters()]
    finding = testing.check(Supervision(count=16), net, pics, tmp_path)
    assert finding["shortest"].dims == ("layer",)
    assert [parameter.requires_grad for parameter in net.net.parameters()] == before
