"""Class evidence in one network: against captum, image by image, and which layers can show it."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

import microtome as mt
from microtome.errors import Unmeasurable, WatchError
from microtome.instruments.attribution import (
    VisibleLayers,
    attribution_maps,
    coarsest_layer,
    map_kind,
    place_cells,
    runner_up,
    visible_layers,
)
from microtome.numerics.receptive.geometry import Axis, Where, even_tiling
from small_vgg import vgg

GRADCAM = map_kind("gradcam")


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
    _, (found,) = attribution_maps(specimen.on("cpu"), layers, x, lambda _: [target], GRADCAM)
    for layer in layers:
        oracle = LayerGradCam(specimen.net, specimen.net.get_submodule(layer))
        wanted = oracle.attribute(x, target=target, relu_attributions=True)[:, 0].detach()
        assert found[layer].abs().max() > 0
        assert torch.allclose(found[layer].relu(), wanted, atol=1e-5 * float(found[layer].abs().max()) + 1e-9)


def test_one_pass_for_a_batch_is_the_same_as_one_for_each_image(net, pics):
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, range(4))))
    _, (batch,) = attribution_maps(net, ["blocks.1"], x, lambda scores: [scores.argmax(1)], GRADCAM)
    for i in range(4):
        _, (single,) = attribution_maps(net, ["blocks.1"], x[i : i + 1], lambda scores: [scores.argmax(1)], GRADCAM)
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
    assert GRADCAM.signed_map(activation, gradient).numpy() == pytest.approx(wanted, abs=1e-6)


def test_positions_may_be_tiled_evenly():
    where = Where(Axis(0.0, 32.0, 7), Axis(15.5, 32.0, 7))  # rows as in a ResNet, columns even
    shown = VisibleLayers(("a",), {"a": where}, {})
    assert place_cells(shown, "arithmetic", (224, 224)) is shown
    assert place_cells(shown, "even", (224, 224)).where["a"] == even_tiling((224, 224), (7, 7))


def test_the_runner_up_is_the_best_beside_the_class_asked_for():
    scores = torch.tensor([[3.0, 1.0, 2.0], [0.0, -5.0, -9.0], [4.0, 4.0, 1.0]])
    assert runner_up(scores, torch.tensor([0, 2, 0])).tolist() == [2, 0, 1]


def test_the_coarsest_layer_is_the_last_of_those_with_fewest_positions():
    where = {name: even_tiling((16, 16), counts) for name, counts in (("a", (4, 4)), ("b", (2, 2)), ("c", (1, 4)))}
    assert coarsest_layer(VisibleLayers(names=("a", "b", "c"), where=where, dropped={})) == "c"
