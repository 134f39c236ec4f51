"""The network that segments: its size by hand, its strides and rates, its branches against plain convolutions."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import microtome as mt
from microtome import networks, testing
from microtome.analyses.erf.erf import Erf
from microtome.analyses.receptive_field import ReceptiveField
from microtome.edits.kernel_padding import KernelPadding
from microtome.errors import BadOption
from microtome.images.scenes import CLASSES
from microtome.training.zoo.data import scene_series
from microtome.training.zoo.judging import load_network, multiply_adds, pixel_scores
from microtome.training.zoo.recipes import RECIPES


def built(**options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return networks.build("mini_deeplab", **options).eval()


def conv(inputs: int, outputs: int, side: int) -> int:
    """Weights of a convolution without offsets, and its norm's scale and shift."""
    return inputs * outputs * side * side + 2 * outputs


def test_parameters_are_those_of_a_count_by_hand() -> None:
    blocks = [
        conv(16, 24, 3) + conv(24, 24, 3) + conv(16, 24, 1),
        conv(24, 32, 3) + conv(32, 32, 3) + conv(24, 32, 1),
        2 * conv(32, 32, 3),
        conv(32, 48, 3) + conv(48, 48, 3) + conv(32, 48, 1),
    ]
    # 1 x 1 branch, three rates, image pooling; five times 32 units projected to 32
    pyramid = conv(48, 32, 1) + 3 * conv(48, 32, 3) + conv(48, 32, 1) + conv(5 * 32, 32, 1)
    whole = conv(3, 16, 3) + sum(blocks) + pyramid + 32 * 11 + 11
    assert whole == 132_075
    assert sum(one.numel() for one in built().parameters()) == whole
    assert sum(one.numel() for one in built(pooling=False).parameters()) == whole - conv(48, 32, 1) - 32 * 32


@pytest.mark.parametrize(
    ("stride", "rates"),
    [
        (4, [1, 1, 1, 2, 2, 2, 2, 4]),  # two convolutions a block; the third has the width of the second, so its stage
        (16, [1] * 8),
        (8, [1, 1, 1, 1, 1, 1, 1, 2]),
        (2, [1, 2, 2, 4, 4, 4, 4, 8]),
    ],
)
def test_what_is_not_strided_is_dilated(stride: int, rates: list[int]) -> None:
    net = built(output_stride=stride)
    blocks = net.get_submodule("backbone.blocks")
    assert [c.dilation[0] for name, c in blocks.named_modules() if name.endswith(("conv1", "conv2"))] == rates
    with torch.no_grad():
        assert net.get_submodule("backbone")(torch.zeros(1, 3, 64, 96)).shape == (1, 48, 64 // stride, 96 // stride)
        assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 11, 64, 96)


def test_default_rates_reach_the_border_of_sixteen_places() -> None:
    # r_max = floor((16 - 1) / 2) = 7; 7/3 = 2.33, 14/3 = 4.67
    rates = [one.conv.dilation[0] for one in built().get_submodule("aspp").branches[1:]]
    assert rates == [round(7 * share) for share in (1 / 3, 2 / 3, 1)] == [2, 5, 7]


def test_each_branch_is_a_plain_convolution_norm_and_rectifier() -> None:
    pyramid = built(rates=(1, 3, 15, 16)).get_submodule("aspp")
    for number, one in enumerate(pyramid.modules()):  # norms of a trained network are not the identity
        if isinstance(one, nn.BatchNorm2d):
            draw = torch.Generator().manual_seed(number)
            for values in (one.weight, one.bias, one.running_mean, one.running_var):
                values.data = torch.rand(values.shape, generator=draw) + 0.5
    x = torch.randn(2, 48, 16, 16, generator=torch.Generator().manual_seed(1))

    def plain(branch: nn.Module, given: Tensor, rate: int) -> Tensor:
        weight = branch.conv.weight
        padding = rate * (weight.shape[-1] // 2)
        maps = functional.conv2d(given, weight, padding=padding, dilation=rate)
        bn = branch.bn
        return functional.batch_norm(maps, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-5).relu()

    with torch.no_grad():
        parts = [plain(branch, x, rate) for branch, rate in zip(pyramid.branches, (1, 1, 3, 15, 16), strict=True)]
        mean = plain(pyramid.pooling.conv, x.mean((2, 3), keepdim=True), 1)
        for part, branch in zip(parts, pyramid.branches, strict=True):
            torch.testing.assert_close(branch(x), part)
        whole = torch.cat([*parts, mean.repeat(1, 1, 16, 16)], 1)
        torch.testing.assert_close(pyramid(x), plain(pyramid.project, whole, 1))
        # a rate of 16 on 16 places reads nothing but its middle tap, one of 15 still meets the corners
        alone = functional.conv2d(x, pyramid.branches[4].conv.weight[:, :, 1:2, 1:2])
        torch.testing.assert_close(pyramid.branches[4].conv(x), alone, rtol=1e-4, atol=1e-5)
        alone = functional.conv2d(x, pyramid.branches[3].conv.weight[:, :, 1:2, 1:2])
        off = (pyramid.branches[3].conv(x) - alone).abs().amax((0, 1)) > 1e-4
        border = {0, 15}
        assert all(bool(off[row, col]) == bool({row, col} & border) for row, col in itertools.product(range(16), repeat=2))


def test_scores_are_upsampled_between_the_centres_of_places() -> None:
    net = built()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        coarse, fine = net.classifier(net.aspp(net.backbone(x))), net(x)
    # the centre of pixel row p is (p + 0.5) / 4 - 0.5 places down: 0.875 for p = 5, 1.125 for p = 6; column 0 lies before the first
    torch.testing.assert_close(fine[0, :, 5, 0], 0.125 * coarse[0, :, 0, 0] + 0.875 * coarse[0, :, 1, 0])
    torch.testing.assert_close(fine[0, :, 6, 0], 0.875 * coarse[0, :, 1, 0] + 0.125 * coarse[0, :, 2, 0])


def test_options_that_make_no_network_are_refused() -> None:
    for options in ({"rates": ()}, {"rates": (0, 2)}, {"units": ()}, {"width": 0}):
        with pytest.raises(BadOption, match="at least one rate and one block"):
            built(**options)
    with pytest.raises(BadOption, match="output_stride is 32; with 3 widths in a row it can be 2, 4, 8, 16"):
        built(output_stride=32)


def test_it_opens_by_name_as_a_network_of_maps() -> None:
    net = mt.open("microtome:mini_deeplab(rates=(3, 6, 12))", weights=None)
    assert (net.recipe.size, net.recipe.mean, net.outputs, net.family) == (networks.SIZE, networks.MEAN, None, "deeper")
    assert net.layer("aspp").shape == (32, 16, 16)
    assert net.layer("aspp.branches.3.conv").kind == "conv"
    assert mt.open("mini_deeplab", weights=None).name == "microtome:mini_deeplab"
    assert "mini_deeplab" not in networks.NAMES  # which `microtome demo` measures
    assert (*networks.NAMES, "mini_deeplab") == networks.SHIPPED


def test_the_field_of_its_answer_is_the_gradient_at_the_middle_pixel() -> None:
    images = mt.Images.scenes(2, seed=5)
    net = mt.open("microtome:mini_deeplab", weights=None)
    found = Erf(kind="segmentation", count=2)(net, images)
    slow = np.zeros((64, 64))
    for one in net.recipe.normalise(torch.from_numpy(images.pixels(net.recipe, range(2)))):
        x = one[None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(net.net(x)[0, :, 31, 31].mean(), x)  # 64 is even: upper left of the four in the middle
        slow += slope[0].double().mean(0).clamp_min(0).numpy()
    np.testing.assert_allclose(found["field"].sel(layer="answer").values, slow / slow.sum(), atol=1e-7)


def test_theory_follows_the_largest_path_through_backbone_and_branch() -> None:
    net = mt.open("microtome:mini_deeplab", weights=None)
    found = ReceptiveField(at=("backbone", "aspp.branches.0.conv", "aspp.branches.3.conv"))(net)
    # stem 3; strided 3 x 3 + 2 * 2, then 4 px apart + 8; rates 1 2, 2 2, 2 4 on cells of 4 px: + 24 + 32 + 48; rate 7: + 56
    assert found["size"].sel(axis="row").values.tolist() == [119.0, 119.0, 175.0]
    assert found["jump"].sel(axis="row").values.tolist() == [4.0, 4.0, 4.0]


def test_edits_are_trained_on_a_class_for_every_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], ...]] = []
    plain = functional.cross_entropy

    def recorded(scores: Tensor, wanted: Tensor) -> Tensor:
        seen.append((tuple(scores.shape), tuple(wanted.shape)))
        return plain(scores, wanted)

    monkeypatch.setattr(functional, "cross_entropy", recorded)
    net = mt.open("microtome:mini_deeplab", weights=None)
    testing.check_edit(KernelPadding(), net, mt.Images.scenes(3, seed=3), tmp_path, steps=1)
    assert seen == [((3, 11, 64, 64), (3, 64, 64))]


def test_the_card_agrees_with_the_weights_and_with_itself() -> None:
    card = networks.weights_card("mini_deeplab")
    net = load_network("mini_deeplab", networks.weights_file("mini_deeplab"))
    assert networks.weights_file("mini_deeplab").stat().st_size <= 2_000_000
    assert all(torch.isfinite(one).all() for one in net.state_dict().values())
    assert card["labels"] == ["background", *CLASSES]
    assert card["parameters"] == sum(one.numel() for one in net.parameters())
    assert card["macs"] == multiply_adds(net)
    assert card["recipe"] == RECIPES["mini_deeplab"].json()
    assert card["mean_iou"] == pytest.approx(np.mean(card["iou"]))
    assert card["interval"][0] < card["mean_iou"] < card["interval"][1]
    assert card["pixel_interval"][0] < card["pixel_accuracy"] < card["pixel_interval"][1]
    assert card["pixel_accuracy"] > card["background"] + 0.05  # better than never seeing an object
    assert sum(one["count"] for one in card["by_area"]) == card["judged"] >= 2_000
    assert card["scenes"]["learn_seed"] != card["scenes"]["judge_seed"]


def test_the_shipped_weights_know_unseen_scenes() -> None:
    unseen = scene_series(
        150, seed=3_000_017, masks=True
    )  # neither the seed that it learnt from nor the one its card is made on
    found, card = (
        pixel_scores(load_network("mini_deeplab", networks.weights_file("mini_deeplab")), unseen),
        networks.weights_card("mini_deeplab"),
    )
    low, high = found["interval"]  # of 150 scenes: wide
    assert low <= card["mean_iou"] <= high
    assert found["mean_iou"] > 0.5


def test_the_specimen_knows_the_background_and_the_objects() -> None:
    net = mt.open("microtome:mini_deeplab")
    assert net.trained and net.labels == ("background", *CLASSES)
    scene = mt.Images.scenes(1, seed=12, classes=("ring",))
    scores = net.run(net.recipe.normalise(torch.from_numpy(scene.pixels(net.recipe, range(1)))))
    right = (scores[0].argmax(0).numpy() == 6)[scene.masks(net.recipe, range(1))[0]]  # ring is the sixth of the objects
    assert right.mean() > 0.5
