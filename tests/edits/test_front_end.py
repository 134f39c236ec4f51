"""Another kernel and stride in front: the law of edits, kernels by hand, and grids that follow."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable

FrontEnd = mt.edits.front_end.FrontEnd


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(6)


@pytest.fixture(scope="module")
def mini() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")  # 3 x 3 / 2 in front


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({"kernel": 7}, "exactly"),
        ({"kernel": 1}, "no"),
        ({"stride": 1}, "no"),
        ({"kernel": 5, "stride": 4}, "no"),
        ({"kernel": 5, "weights": "resample"}, "no"),
    ],
    ids=str,
)
def test_the_law_of_edits(options: dict[str, Any], how: str, mini: mt.Specimen, pics: mt.Images, tmp_path: Any) -> None:
    edited = testing.check_edit(FrontEnd(**options), mini, pics, tmp_path)
    assert edited.edits[-1].preserves == how
    conv = edited.net.get_submodule("conv1.0")
    assert conv.kernel_size == (options.get("kernel", 3),) * 2
    assert conv.stride == (options.get("stride", 2),) * 2
    assert conv.weight.shape[2:] == conv.kernel_size
    before, after = (net.layer("conv1.0").grid for net in (mini, edited))
    assert before is not None
    assert after == tuple(side * 2 // options.get("stride", 2) for side in before)


def test_kernels_by_hand() -> None:
    old = nn.Conv2d(3, 2, 5, 2, 2)
    net = mt.open(nn.Sequential(old, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)), recipe={"size": 32})
    larger, smaller = (FrontEnd(kernel=side)(net).net[0].weight.detach() for side in (9, 3))  # type: ignore[index]
    assert torch.equal(smaller, old.weight[:, :, 1:4, 1:4])
    assert torch.equal(larger[:, :, 2:7, 2:7], old.weight)
    assert larger.count_nonzero() == old.weight.count_nonzero()
    assert [FrontEnd(kernel=side)(net).net[0].padding for side in (9, 3)] == [(4, 4), (1, 1)]  # type: ignore[index]


def test_a_resampled_kernel_answers_an_even_picture_as_before() -> None:
    """An even kernel of ones: what it gives of an even image is its sum, which resampling keeps."""
    old = nn.Conv2d(3, 1, 5, 2, bias=False)
    with torch.no_grad():
        old.weight.fill_(1.0)
    net = mt.open(nn.Sequential(old, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3)), recipe={"size": 32})
    for side in (3, 9, 11):
        weight = FrontEnd(kernel=side, weights="resample")(net).net[0].weight.detach()  # type: ignore[index]
        np.testing.assert_allclose(weight.sum().item(), 75, rtol=1e-5)


def test_cells_stay_centred_on_their_pixels() -> None:
    """A kernel that copies one pixel: the middle of a larger or smaller kernel copies the same one."""
    old = nn.Conv2d(3, 1, 7, 2, 3, bias=False)
    with torch.no_grad():
        old.weight.zero_()
        old.weight[0, 0, 3, 3] = 1.0
    net = mt.open(nn.Sequential(old, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3)), recipe={"size": 32})
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for side in (1, 3, 11):
        maps = FrontEnd(kernel=side)(net).net[0](x)  # type: ignore[index]
        assert torch.equal(maps[0, 0], x[0, 0, ::2, ::2])


def test_padding_that_wraps_grows_too(pics: mt.Images, tmp_path: Any) -> None:
    first = nn.Conv2d(3, 4, 3, 1, 1, padding_mode="circular")
    net = mt.open(
        nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval(), recipe={"size": 16}
    )
    edited = FrontEnd(kernel=7)(net)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(edited.run(x), net.run(x))


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "torchvision:squeezenet1_1", "timm:tf_efficientnet_b0"])
def test_on_other_networks(name: str) -> None:
    """Same padding computed as it runs (tf_), convolutions without padding, norms behind: all are preserved by zeros around."""
    net = mt.open(name, weights=None, recipe={"size": 64})
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if name.startswith("torchvision"):  # no padding to begin with, so the map would lose its rim: padding makes up for it
        assert FrontEnd(kernel=5)(net).net.features[0].padding == (1, 1)  # type: ignore[index, union-attr]
    torch.testing.assert_close(FrontEnd(kernel=5)(net).run(x), net.run(x))


def test_from_eleven_to_seven_as_in_the_paper(tmp_path: Any) -> None:
    net = mt.open("microtome:alexnet_zf(size=64,width=.1,hidden=8,num_classes=4)", weights=None)
    edited = FrontEnd(kernel=7)(net)
    assert edited.net.features.conv1.weight.shape == (10, 3, 7, 7)  # type: ignore[union-attr]
    with pytest.raises(Uneditable, match="leaves a network that does not run"):
        FrontEnd(kernel=7, stride=2)(net)  # fc6 counts places
    testing.check_edit(FrontEnd(kernel=7, stride=2, after="remake"), net, mt.Images.scenes(4), tmp_path)
    remade = FrontEnd(kernel=7, stride=2, after="remake")(net)
    # 64 px: conv1 29, pool1 14, conv2 14, pool2 7 (ceil), pool5 3; 26 units: 234 inputs, where 11 x 11 / 4 left 26 · 1
    assert remade.net.classifier.fc6.in_features == 26 * 3 * 3  # type: ignore[union-attr]
    assert "made classifier.fc6 anew" in remade.edits[-1].line and remade.edits[-1].preserves == "no"
    back = FrontEnd(kernel=11, stride=4, after="remake")(mt.open("microtome:zfnet(size=96,width=.1,hidden=8)", weights=None))
    assert back.net.features.conv1.stride == (4, 4)  # type: ignore[union-attr]


def test_what_is_refused(mini: mt.Specimen) -> None:
    for options, said in (
        ({}, "conv1.0 is 3 x 3 / 2 already; name another kernel or stride"),
        ({"kernel": 4}, "a kernel of 4 has its middle elsewhere than one of 3; take 3 or 5"),
    ):
        with pytest.raises(Uneditable, match=said):
            FrontEnd(**options)(mini)
    flat = mt.open(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), recipe={"size": 8})
    with pytest.raises(Uneditable, match="no convolution"):
        FrontEnd(kernel=3)(flat)
    wide = mt.open(
        nn.Sequential(nn.Conv2d(3, 4, (3, 5)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), recipe={"size": 16}
    )
    with pytest.raises(Uneditable, match="not square"):
        FrontEnd(kernel=3)(wide)
