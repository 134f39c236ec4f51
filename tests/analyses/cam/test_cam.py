"""Grad-CAM by hand, against captum, on every kind of layout, and the doubts that are measured with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.cam import Cam
from microtome.errors import BadOption, UnknownName, Unmeasurable, WatchError
from microtome.scan import Pace

PLAIN = {"size": (6, 6), "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class Hand(nn.Module):
    """Two maps (red, green - 0.5), their mean, two classes: everything can be written down."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.act = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]])[:, :, None, None])
            self.conv.bias.copy_(torch.tensor([0.0, -0.5]))
            self.head.weight.copy_(torch.tensor([[3.0, -2], [-1, 4]]))

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def colours(rows=6, cols=6, count=2):
    return torch.randint(0, 256, (count, 3, rows, cols), generator=torch.Generator().manual_seed(3)) / 255


@pytest.mark.parametrize(("rows", "cols"), [(6, 6), (4, 10)])
def test_by_hand(rows, cols):
    """dy_c/dA_k = w_ck / cells everywhere, so the map is relu(sum_k w_ck A_k) / cells."""
    specimen = mt.open(Hand(), recipe=PLAIN | {"size": (rows, cols)}, labels=["left", "right"])
    x = colours(rows, cols)
    found = Cam(at="conv,act", count=2, classes="right")(specimen, mt.Images.tensors(x))
    maps = torch.stack([x[:, 0], x[:, 1] - 0.5], 1)
    for layer, activation in (("conv", maps), ("act", maps.relu())):
        weights = torch.tensor([-1.0, 4]) / (rows * cols)
        if layer == "conv":  # the gradient passes the rectifier only where it is open, then its mean is taken
            weights = weights * (maps > 0).float().mean((2, 3))
            wanted = (weights[:, :, None, None] * activation).sum(1).relu()
        else:
            wanted = (weights[None, :, None, None] * activation).sum(1).relu()
        assert np.allclose(found[f"heat/{layer}"].values, wanted.numpy(), atol=1e-6)
    assert found["target"].values.tolist() == ["right", "right"]
    assert found["heat"].shape == (2, 2, 7, 7)
    scores = specimen.net(x).double().softmax(1)[:, 1]
    assert np.allclose(found["probability"].values, scores.detach().numpy(), atol=1e-6)


def test_an_activation_overwritten_in_place_is_the_one_before():
    x = colours()
    heats = [
        Cam(at="conv", count=2)(mt.open(Hand(inplace), recipe=PLAIN), mt.Images.tensors(x))["heat/conv"].values
        for inplace in (False, True)
    ]
    assert np.array_equal(*heats)


def test_frozen_parameters_make_no_difference():
    net = Hand()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    frozen = Cam(at="act", count=2)(mt.open(net, recipe=PLAIN), mt.Images.tensors(colours()))
    free = Cam(at="act", count=2)(mt.open(Hand(), recipe=PLAIN), mt.Images.tensors(colours()))
    assert np.array_equal(frozen["heat"].values, free["heat"].values)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_vit_after_the_last_attention_fails_loudly_and_names_the_layer_to_take():
    specimen = mt.open("timm:vit_tiny_patch16_224", weights=None, num_classes=5, depth=2, img_size=64, recipe={"size": 64})
    images = mt.Images.scenes(4, size=64)
    with pytest.raises(WatchError, match=r"blocks\.1: .* take blocks\.1\.norm1 instead"):
        Cam(at="blocks.1", count=2)(specimen, images)
    found = Cam(at="blocks.0,blocks.1,blocks.1.norm1", count=2)(specimen, images)
    assert found["heat"].coords["layer"].values.tolist() == ["blocks.0", "blocks.1.norm1"]
    assert found["heat/blocks.1.norm1"].shape == (2, 4, 4)  # 64 / 16, the class token left out
    assert "zero" in found.facts["dropped"]["blocks.1"]


@pytest.mark.parametrize(
    ("name", "at", "grids", "options"),
    [
        ("timm:swin_tiny_patch4_window7_224", "layers.0,layers.3", [(16, 16), (2, 2)], {"img_size": 64, "window_size": 2}),
        ("timm:hrnet_w18_small", "stage3", [(16, 16), (8, 8), (4, 4)], {}),
    ],
)
def test_channels_last_maps_and_branches(name, at, grids, options):
    specimen = mt.open(name, weights=None, num_classes=5, recipe={"size": 64}, **options)
    found = Cam(at=at, count=2)(specimen, mt.Images.scenes(4, size=64))
    layers = found["heat"].coords["layer"].values.tolist()
    assert [found[f"heat/{layer}"].shape[1:] for layer in layers] == grids
    assert all(found[f"heat/{layer}"].values.max() > 0 for layer in layers)


def test_cells_may_be_tiled_evenly_and_a_shift_is_said():
    specimen = mt.open("timm:resnet18", weights=None, num_classes=5, recipe={"size": 96})
    images = mt.Images.scenes(4, size=96)
    shifted, even = (Cam(at="layer3", count=2, place=place)(specimen, images) for place in ("arithmetic", "even"))
    assert even["extent/layer3"].values[0] == pytest.approx([0, 1, 0, 1])
    assert shifted["extent/layer3"].values[0, 0] == pytest.approx(-7.5 / 96)  # stride 16: pixel 0 is the first cell's centre
    assert np.array_equal(even["heat/layer3"].values, shifted["heat/layer3"].values)
    assert "7.50 px off an even tiling" in shifted.facts["placing"]["layer3"]
    assert even.facts["placing"] == {}


def test_maps_stay_raw_and_empty_ones_are_said():
    net = Hand()
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor([[-3.0, -2], [-4, -5]]))  # nothing speaks for either class
    found = Cam(at="act", count=2)(mt.open(net, recipe=PLAIN), mt.Images.tensors(colours()))
    assert found["heat/act"].values.max() == 0
    assert found["empty"].values.all()
    assert any("2 of 2 maps are empty" in one for one in found.caveats)
    assert np.isnan(found["coverage50"].values).all()


def test_runner_up_and_twin_are_compared_by_rank():
    net = Hand()
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor([[3.0, 2], [-3, -2]]))  # the second class' signed map is the first one's, negated
    found = Cam(at="act", count=2)(mt.open(net, recipe=PLAIN), mt.Images.tensors(colours()))
    assert found["class_correlation"].values == pytest.approx([-1.0])
    assert found["class_sensitivity"].values == pytest.approx([2.0])
    assert abs(float(found["twin_correlation"][0])) <= 1


def test_images_are_chosen_over_size_and_clutter_and_always_the_same(net, pics):
    found = Cam(count=6, at="deep")(net, pics)
    again = Cam(count=6, at="deep")(net, pics)
    assert found["image"].coords["image"].values.tolist() == again["image"].coords["image"].values.tolist()
    areas = found["area"].values
    thirds = np.quantile(pics.masks(net.recipe).mean((1, 2)), [1 / 3, 2 / 3])
    assert np.bincount(np.searchsorted(thirds, areas), minlength=3).tolist() == [2, 2, 2]


def test_images_and_classes_by_name(net, pics):
    specimen = mt.open(net.net, recipe=net.recipe, labels=[f"thing {i}, item{i}" for i in range(10)])
    found = Cam(only=("3", pics.names[5]), classes=("item2", "7"), at="blocks.0")(specimen, pics)
    assert found["target"].values.tolist() == ["thing 2", "thing 7"] * 2
    assert found["image"].sizes["image"] == 4
    with pytest.raises(UnknownName, match=r"no class 'thing  2x'\. Did you mean 'thing"):
        Cam(classes="thing  2x")(specimen, pics)
    with pytest.raises(UnknownName, match="there is no image"):
        Cam(only="nowhere")(specimen, pics)


def test_target_label_needs_labels(net, pics):
    found = Cam(target="label", at="blocks.0", count=3)(mt.open(net.net, recipe=net.recipe, labels=list(pics.classes)), pics)
    assert found["target"].values.tolist() == found["label"].values.tolist()
    bare = mt.Images.tensors(torch.rand(3, 3, 32, 32), labels=[-1, -1, 0], classes=list(pics.classes))
    with pytest.raises(BadOption, match="target is label"):
        Cam(target="label", at="blocks.0")(mt.open(net.net, recipe=net.recipe, labels=list(pics.classes)), bare)


def test_what_has_no_class_scores_is_refused():
    trunk = mt.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), recipe=PLAIN)
    with pytest.raises(Unmeasurable, match="no head"):
        Cam()(trunk, mt.Images.tensors(colours()))
    dense = mt.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), recipe=PLAIN)  # features: scores would not be rectified
    with pytest.raises(Unmeasurable, match="no single score"):
        Cam()(dense, mt.Images.tensors(colours()))


def test_law(net, pics, tmp_path):
    found = testing.check(Cam(at="deep,blocks.0", count=5), net, pics, tmp_path)
    assert found["image"].dtype == np.uint8
    small = Cam(at="deep,blocks.0", count=5)(net, pics, Pace(batch=4))
    assert small["heat"].values == pytest.approx(found["heat"].values, abs=1e-6)


def test_maps_of_the_twin_without_positive_evidence_are_put_in_words(net, pics):
    """Random weights may speak against the class in every image: then no fraction is known, and no "nan" stands in the sentence."""
    found = Cam(count=4)(net, pics)
    emptied = dict(found.arrays)
    for name in ("twin_energy", "twin_correlation"):
        emptied[name] = emptied[name] * np.nan
    bare = replace(found, arrays=emptied)
    again = replace(bare, key_numbers=tuple(Cam().key_numbers(bare)))
    assert again.key("energy-based pointing game").baseline_text == ""
    assert again.key("rank correlation with random weights").text == "unknown"
    assert Cam().headline(again).endswith("(random weights: empty maps).")


def test_key_numbers_are_those_of_the_deepest_layer(net, pics):
    found = Cam(count=4)(net, pics)
    deep = found["heat"].coords["layer"].values[-1]
    inside = found.key("energy-based pointing game")
    assert (inside.value, inside.at) == (float(found["energy"].sel(layer=deep)), deep)
    assert inside.baseline == float(found["twin_energy"].sel(layer=deep))
    assert found.key("object area").value == float(found["mean_area"].sel(layer=deep))
    assert found.key("area of half the evidence").value == float(np.median(found["coverage50"].sel(layer=deep)))
    assert found.key("maps").value == 4


@pytest.mark.parametrize("options", [{"classes": "3"}, {"target": "embedding", "reference": ("0", "1", "2")}])
def test_each_image_is_shown_to_one_twin_in_turn(net, pics, options):
    """Two twins, three images, batches of two: the energy of each twin is that of its own finding, over images 0 and 2, or over 1."""
    cam, pace = Cam(at="deep", only=("3", "5", "6"), **options), Pace(batch=2, device="cpu")
    found = cam(net, pics, pace, twins=2)
    alone = [cam(net.working_twin(pics, seed), pics, pace, twins=2)["energy_in_mask"].values[:, 0] for seed in (1, 2)]
    each = [np.nanmean(alone[0][[0, 2]]), alone[1][1]]
    assert float(found["twin_energy"][0]) == pytest.approx(np.mean(each), abs=1e-6)
    ends = [float(found[f"twin_energy_{end}"][0]) for end in ("low", "high")]
    assert ends == pytest.approx(sorted(each), abs=1e-6)
    assert found.facts["twins"] == 2 and found.key("energy-based pointing game").baseline_name == "untrained twins"
