"""CAM: only where the mean over positions goes into a linear head, and refused elsewhere with the layer to take."""

import pytest
import torch
from torch import nn

import microtome as mt
from map_networks import flattened, noise, opened, pooled
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import attribution_maps, map_kind, visible_layers

CAM = map_kind("cam")


def test_the_layer_that_is_pooled_is_taken_and_others_are_left_out_with_it_named():
    specimen, x = opened(pooled()), noise()
    shown = visible_layers(specimen, ["0", "1", "3"], x, kind=CAM)
    assert shown.names == ("3",)
    assert shown.dropped["1"] == "its mean over positions is not what goes into the head 6: take 3 instead"
    with pytest.raises(Unmeasurable, match="CAM does not apply here. 0, 1: its mean .* head 6: take 3 instead"):
        visible_layers(specimen, ["0", "1"], x, kind=CAM)


def test_a_head_that_sees_every_position_has_no_cam():
    with pytest.raises(Unmeasurable, match="CAM does not apply here. 3: its mean .* head 5, and no layer's is"):
        visible_layers(opened(flattened(12, 12)), ["3"], noise(), kind=CAM)


def test_scores_changed_after_the_head_are_not_its_own():
    net = nn.Sequential(*pooled(), nn.Softmax(1)).eval()
    with pytest.raises(Unmeasurable, match="the class scores are not what 6 gives"):
        visible_layers(opened(net), ["3"], noise(), kind=CAM)


def test_a_network_of_maps_has_no_head():
    specimen = opened(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval())
    refused = CAM.refusals(specimen, ["0"], noise())
    assert refused == {"0": "the network has no linear head that gives class scores, whose weights CAM takes"}


def test_a_real_network_and_one_whose_features_pass_a_norm_after_the_mean():
    resnet = mt.open("timm:resnet18", weights=None, num_classes=5, recipe={"size": 64}, zero_init_last=False)
    x = noise(2, 64, 64)
    assert visible_layers(resnet, ["layer3", "layer4"], x, kind=CAM).names == ("layer4",)
    _, (maps,) = attribution_maps(resnet, ["layer4"], x, lambda _: [torch.tensor([2, 4])], CAM)
    scores = resnet.run(x)[[0, 1], [2, 4]] - resnet.net.fc.bias.detach()[[2, 4]]
    assert torch.allclose(maps["layer4"].mean((1, 2)), scores, rtol=1e-4, atol=1e-5)
    convnext = mt.open("timm:convnext_atto", weights=None, num_classes=5, recipe={"size": 64})
    with pytest.raises(Unmeasurable, match="its mean over positions is not what goes into the head"):
        visible_layers(convnext, ["stages.3"], x, kind=CAM)
