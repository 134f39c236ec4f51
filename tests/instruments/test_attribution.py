"""Class evidence in one network: against captum, image by image, and which layers can show it."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from scipy.stats import spearmanr
from torch import nn

import microtome as mt
from microtome.errors import Unmeasurable, WatchError
from microtome.instruments.attribution import (
    VisibleLayers,
    attribution_maps,
    mean_rank_correlation,
    offset_px,
    place_cells,
    signed_grad_cam,
    visible_layers,
)
from microtome.numerics.receptive.geometry import Axis, Where, even_tiling


def vgg():
    """VGG11's features at an eighth of its width, every rectifier in place: the pools are the layers."""
    parts, units = [], 3
    for wanted in (8, 16, 32):
        parts += [nn.Conv2d(units, wanted, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        units = wanted
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * units, 7))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net


@pytest.mark.parametrize(
    ("name", "layers", "options"),
    [
        ("timm:resnet18", ["layer2", "layer4"], {}),
        (vgg, ["2", "8"], {}),
        ("timm:convnext_atto", ["stages.1", "stages.3"], {}),
    ],
)
def test_equals_captum(name, layers, options):
    specimen = mt.open(name(), recipe={"size": 96}) if callable(name) else mt.open(name, weights=None, num_classes=7, **options)
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([3, 5])
    _, (found,) = attribution_maps(specimen.on("cpu"), layers, x, lambda _: [target], signed_grad_cam)
    for layer in layers:
        oracle = LayerGradCam(specimen.net, specimen.net.get_submodule(layer))
        wanted = oracle.attribute(x, target=target, relu_attributions=True)[:, 0].detach()
        assert found[layer].abs().max() > 0
        assert torch.allclose(found[layer].relu(), wanted, atol=1e-5 * float(found[layer].abs().max()) + 1e-9)


def test_one_pass_for_a_batch_is_the_same_as_one_for_each_image(net, pics):
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, range(4))))
    _, (batch,) = attribution_maps(net, ["blocks.1"], x, lambda scores: [scores.argmax(1)], signed_grad_cam)
    for i in range(4):
        _, (single,) = attribution_maps(net, ["blocks.1"], x[i : i + 1], lambda scores: [scores.argmax(1)], signed_grad_cam)
        assert torch.allclose(batch["blocks.1"][i], single["blocks.1"][0], atol=1e-6)


def test_cells_of_a_strided_net_are_told_where_they_lie():
    specimen = mt.open("timm:resnet18", weights=None, num_classes=5)
    x = torch.randn(1, 3, 224, 224)
    where = visible_layers(specimen, ["layer4"], x).where["layer4"]
    assert where.row.centres.tolist() == [32.0 * j for j in range(7)]
    assert where.extent((224, 224))[0] == pytest.approx(-15.5 / 224)


class Silent(nn.Module):
    """The class scores read the stem and `read`; nothing reads what `ignored` gives."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.read, self.ignored, self.head = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.read(x).mean((2, 3))) + 0 * self.ignored(x).mean()


def test_layers_without_a_gradient_are_left_out_and_the_one_to_take_is_named():
    specimen, x = mt.open(Silent().eval(), recipe={"size": 8}), torch.randn(2, 3, 8, 8)
    shown = visible_layers(specimen, ["stem", "ignored", "head"], x)
    assert (shown.names, list(shown.dropped)) == (("stem",), ["head", "ignored"])
    assert shown.dropped["head"] == "it has no rows and columns"
    assert shown.dropped["ignored"].endswith(": take read instead")
    with pytest.raises(WatchError, match="^ignored: the class gradient is zero everywhere, .*: take read instead.$"):
        visible_layers(specimen, ["ignored"], x)
    with pytest.raises(Unmeasurable, match="None of head has rows and columns. List layers that do: specimen.layers"):
        visible_layers(specimen, ["head"], x)


def test_signed_evidence_is_the_weighted_sum_of_maps():
    """Grad-CAM's weights are the gradient's means over positions; the ReLU is left out."""
    drawn = torch.Generator().manual_seed(0)
    activation, gradient = (torch.randn(2, 3, 4, 5, generator=drawn) for _ in range(2))
    wanted = np.einsum("iurc,iu->irc", activation.numpy(), gradient.numpy().mean((2, 3)))
    assert signed_grad_cam(activation, gradient).numpy() == pytest.approx(wanted, abs=1e-6)


def test_rank_correlation_of_maps_is_spearmans():
    drawn = torch.Generator().manual_seed(1)
    one, two = ({"a": torch.randn(3, 6, 6, generator=drawn)} for _ in range(2))
    shown = VisibleLayers(("a",), {"a": even_tiling((12, 12), (6, 6))}, {})
    pairs = zip(one["a"].flatten(1).numpy(), two["a"].flatten(1).numpy(), strict=True)
    wanted = np.mean([spearmanr(*pair).statistic for pair in pairs])
    assert mean_rank_correlation(one, two, shown, (12, 12), 6) == pytest.approx([wanted], abs=1e-6)
    assert mean_rank_correlation(one, two["a"], shown, (12, 12), 6) == pytest.approx([wanted], abs=1e-6)
    constant = {"a": torch.cat([one["a"][:1], torch.ones(1, 6, 6)])}
    assert mean_rank_correlation(constant, one | {"a": one["a"][:2]}, shown, (12, 12), 6) == pytest.approx([1.0])


def test_an_offset_is_the_mean_distance_to_an_even_tiling():
    where = Where(Axis(0.0, 32.0, 7), Axis(15.5, 32.0, 7))  # rows as in a ResNet, columns even
    assert offset_px(where, (224, 224)) == pytest.approx(15.5)
    shown = VisibleLayers(("a",), {"a": where}, {})
    assert place_cells(shown, "arithmetic", (224, 224)) is shown
    assert place_cells(shown, "even", (224, 224)).where["a"] == even_tiling((224, 224), (7, 7))
