"""Receptive fields of real networks: published numbers, NaN let loose in them, and the centres that overlays use.

Published: 435, 899, 427, 971, 1451 for the last stage of ResNet-18/34/50/101/152 (Kim et al. 2021, arXiv:2108.13576, table 1);
268 for VGG-19 and 1311 for Inception-v3 before pooling (other tools agree); the others follow from the recursion of Araujo et al.
"""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome._torchvision import timm
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import cell_positions
from microtome.instruments.receptive_fields import probe_pixels, receptive_fields
from microtome.numerics.receptive.field import ReachMode, expand_parts, field_of


def on_meta(name, layer, size, **options):
    """The field of a module of a network on the meta device: no weights are drawn, no value is computed."""
    with torch.device("meta"):
        net = timm().create_model(name, **options).eval()
        x = torch.zeros(1, 3, size, size)
    kept = []
    reach = ReachMode(x)
    net.get_submodule(layer).register_forward_hook(lambda _module, _inputs, value: kept.append((value.shape, reach.of(value))))
    with torch.no_grad(), reach:
        net(x)
    ((shape, (shade, where)),) = kept
    return field_of(expand_parts(shade, shape), shade, where, (size, size))


@pytest.mark.parametrize(
    ("name", "layer", "size", "options", "pixels", "jump"),
    [
        ("resnet18", "layer4", 64, {}, 435, 32),
        ("resnet34", "layer4", 64, {}, 899, 32),
        ("resnet50", "layer4", 64, {}, 427, 32),
        ("resnet101", "layer4", 64, {}, 971, 32),
        ("resnet152", "layer4", 64, {}, 1451, 32),
        ("vgg19", "features", 64, {}, 268, 32),
        ("inception_v3", "Mixed_7c", 128, {}, 1311, 32),
        # strides of the last two stages replaced by dilation: the same pixels, closer together
        ("resnet50", "layer4", 64, {"output_stride": 8}, 427, 8),
    ],
)
def test_published_sizes(name, layer, size, options, pixels, jump):
    found = on_meta(name, layer, size, **options)
    assert found.size == (pixels, pixels)
    assert found.jump == (jump, jump)
    assert found.exact
    assert not found.whole


def test_swin_stages_see_two_windows_more_each():
    """Stage 1: two windows of 7 tokens of 4 px; stage 2: 56 + 2 · 56; one window fills the grid of the last stage."""
    thin = {"embed_dim": 12, "depths": (2, 2, 2, 2), "num_heads": (1, 1, 1, 1)}
    net = mt.open("timm:swin_tiny_patch4_window7_224", weights=None, **thin)
    found = receptive_fields(net, "layers.0,layers.1,layers.3")
    assert [one.size[0] for one in found.values()] == [56, 168, float("inf")]
    assert found["layers.3"].whole
    # NaN says the same of a cell in the middle (the mask is arithmetic, which NaN passes, so not at the edge)
    assert probe_pixels(net, "layers.0", (27, 27))[0] == found["layers.0"].rows(27) == (84, 139)


def test_gates_are_told_and_the_map_is_counted():
    found = on_meta("seresnet50", "layer4", 64)
    assert (found.size, found.gated, found.whole) == ((427, 427), True, False)


def test_attention_sees_everything():
    found = receptive_fields(mt.open("microtome:mini_deit", weights=None), "patch_embed,blocks")
    assert found["patch_embed"].size == (8, 8)
    assert all(one.whole for name, one in found.items() if name != "patch_embed")


def interior(found):
    """A cell whose field lies within the image, or the middle one."""
    rows, cols = found.grid
    inside = [j for j in range(rows) if found.rows(j)[0] >= 0 and found.rows(j)[1] < found.row.side]
    return (inside[len(inside) // 2] if inside else rows // 2, cols // 2)


@pytest.mark.parametrize(
    ("name", "size", "layers"),
    [
        ("microtome:mini_resnet", (64, 64), "layer1,layer2,layer4"),
        ("microtome:mini_inception", (64, 48), "Mixed_6b"),
        ("microtome:mini_densenet", (64, 64), "features.denseblock1"),
        ("microtome:mini_hrnet", (64, 32), "stage2"),
        ("timm:convnext_atto", (96, 32), "stages.0,stages.1"),
        ("timm:tf_efficientnet_b0", (64, 32), "conv_stem"),
    ],
)
def test_arithmetic_agrees_with_nan(name, size, layers):
    net = mt.open(name, weights=None, recipe={"size": size})
    fields = receptive_fields(net, layers)
    assert not all(found.gated for found in fields.values())
    for layer, found in fields.items():
        if found.gated:  # NaN passes gates
            continue
        cell = interior(found)
        first, last = found.rows(cell[0])
        assert probe_pixels(net, layer, cell)[0] == (max(0, first), min(size[0] - 1, last)), layer


def test_centres_are_the_middle_of_fields_and_those_of_overlays():
    net = mt.open("microtome:mini_resnet", weights=None)
    fields = receptive_fields(net, "stages")
    assert list(fields) == ["layer1", "layer2", "layer3", "layer4"]
    for name, found in fields.items():
        assert found.center[0] == (found.row.first[0] + found.row.last[0]) / 2
        axis = cell_positions(net, [name], torch.zeros(1, 3, 64, 64))[name].row
        assert np.array_equal(axis.centres, (found.row.first + found.row.last) / 2)


def test_another_size_and_rows_apart_from_columns():
    net = mt.open("microtome:mini_vgg", weights=None)
    small, large = (receptive_fields(net, "features.6", size)["features.6"] for size in ((32, 64), (64, 32)))
    assert small.size == large.size == (8, 8)
    assert (small.grid, large.grid) == ((16, 32), (32, 16))


def test_probing_says_when_nothing_arrives(tiny):
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny()
            self.ear = nn.Identity()

        def forward(self, x):
            return self.net(self.ear(torch.nan_to_num(x)))

    net = mt.open(Deaf(), recipe={"size": 32})
    with pytest.raises(Unmeasurable, match="ear: NaN in the whole image does not reach"):
        probe_pixels(net, "ear", (3, 3))


def test_local_response_norm_looks_at_units_not_at_pixels():
    parts = [nn.Conv2d(3, 6, 3, stride=2), nn.LocalResponseNorm(5), nn.Conv2d(6, 4, 3)]
    net = mt.open(nn.Sequential(*parts).eval(), recipe={"size": 24})
    field = receptive_fields(net, "2")["2"]
    assert field.exact
    assert field.size == (7, 7)
    assert probe_pixels(net, "2", (3, 4)) == (field.rows(3), field.cols(4))
