"""Rates against maps: what shapes say, the star between the floor of pooling and the twin, sentences for every kind of network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.analyses.atrous import Atrous
from microtome.errors import BadOption, Unmeasurable
from microtome.instruments.dilated.branches import branch_groups
from microtome.instruments.dilated.convolutions import dilated_convolutions
from microtome.instruments.dilated.star import star_mask
from microtome.numerics.receptive.dilations import DilationMode, star_mass

PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def deeplab(**options: object) -> mt.Specimen:
    return mt.open("microtome:mini_deeplab", weights=None, **options)


def test_common_suite(tmp_path: Path) -> None:
    finding = testing.check(Atrous(count=3), deeplab(), None, tmp_path)
    assert finding["valid"].dims == finding["suggested"].dims == ("branch",)
    assert finding["field/aspp"].sizes == {"image": 1, "specimen": 2, "row": 16, "col": 16}


def test_the_mini_deeplab_is_what_the_rule_makes_it() -> None:
    """64 px at stride 4: M = 16, r_max = 7, rates 2, 5, 7; fractions by the closed forms, and 1 + 3 · 8 points about position (7, 7)."""
    found = Atrous(count=2)(deeplab())
    mine = found["group"].values == "aspp"
    assert found["rate"].values[mine].tolist() == [[2, 2], [5, 5], [7, 7]]
    assert found["suggested"].values[mine].tolist() == [2, 5, 7] and set(found["most"].values) == {7}
    rates = np.array([2, 5, 7])
    np.testing.assert_allclose(found["valid"].values[mine], ((1 + 2 * (1 - rates / 16)) / 3) ** 2)
    np.testing.assert_allclose(found["whole"].values[mine], (1 - 2 * rates / 16) ** 2)
    assert (found["side"].values == 16).all() and (found["jump"].values == 4).all()
    assert found["view_px"].values[mine].tolist() == [[20, 20], [44, 44], [60, 60]]  # (2 r + 1) · 4 px
    assert found["points"].values.tolist() == [25] and found["even"].item() == 25 / 256
    taps, star = found.key("taps on the map"), found.key("gradient on the star")
    assert (taps.value, taps.at) == (found["valid"].values[mine][2], "aspp.branches.3.conv")
    assert found.key("rate over map side").value == 7 / 16 and found.key("suggested rate").value == 7
    assert [star.value, star.baseline] == found["on_star"].values[0].tolist() and star.at == "aspp"
    assert found.headline == "aspp.branches.3.conv at rate 7 has 50.2% of its taps on the 16 x 16 map; suggested rate 7."


def test_rates_of_other_sizes() -> None:
    """DeepLab's rates at 64 px: one branch dead, one never whole; at twice the size the suggestion is twice as large."""
    small, large = (Atrous(count=1, size=size)(deeplab(rates=(6, 12, 18))) for size in (64, 128))
    names = [f"aspp.branches.{place}.conv" for place in (1, 2, 3)]
    pick = {"branch": names}
    assert small["remark"].sel(pick).values.tolist() == [
        "branch of aspp", "branch of aspp; no position has all taps on the map", "branch of aspp; dead: one tap remains",
    ]  # fmt: skip
    assert small["valid"].sel(pick).values[-1] == pytest.approx(1 / 9)
    assert small.key("convolutions with dead taps").value == 1 and small.key("dilated convolutions").value == 8
    assert small["suggested"].sel(pick).values.tolist() == [2, 5, 7] and small.headline.endswith("; suggested rate 7.")
    assert small["points"].item() == 9  # from position (7, 7) only rate 6 stays on the map
    assert large["suggested"].sel(pick).values.tolist() == [5, 10, 15] and not large["dead"].any()
    assert large["picture"].values.tolist() == [128, 128]
    tiny = Atrous(count=1, size=3)(deeplab())  # smaller than any scene: one position, which every branch reads with one tap
    assert tiny["dead"].all() and tiny["points"].item() == 1 and (tiny["suggested"].values == 1).all()


def test_the_star_stands_above_the_floor_of_the_pooling_branch() -> None:
    with_pool, without = (Atrous(count=2)(deeplab(pooling=pooling)) for pooling in (True, False))
    assert without["on_star"].values.min() == pytest.approx(1) and without["floor"].values.max() == 0
    field = without["field/aspp"].values[0]
    star = without["star/aspp"].values[0][3::6, 3::6]  # the middle of every position of the outline
    assert star.sum() == 25 and ((field > 0) == star).all()
    assert (with_pool["on_star"].values < 1).all() and (with_pool["floor"].values > 0).all()
    floor = with_pool["field/aspp"].values[0][:, ~star]
    np.testing.assert_allclose(floor, np.broadcast_to(floor[:, :1], floor.shape), rtol=1e-4)  # even: one number off the star
    np.testing.assert_allclose(floor.mean(1) * 256, with_pool["floor"].values[0], rtol=1e-4)
    rest = with_pool["above"].values + with_pool["floor"].values
    np.testing.assert_allclose(rest, 1, rtol=1e-4)  # star above the floor and floor are all there is


def test_on_large_maps_the_outline_leaves_room_for_the_field() -> None:
    """From 32 positions on, squares of 3 x 3 positions, 6 px each, around the points; those at the border are cut."""
    found = Atrous(count=1, size=128)(deeplab())  # M = 32, rates 2, 5, 7: a star within 7 positions of (15, 15)
    outline = found["star/aspp"].values[0]
    assert outline.shape == (192, 192) and found["points"].item() == 25
    rows = np.flatnonzero(outline[:, 15 * 6])
    assert (rows[0], rows[-1]) == (6 * (15 - 7 - 1), 6 * (15 + 7 + 2) - 1)
    assert found["even"].item() == 25 / 1024


class Beside(nn.Module):
    """An atrous pyramid of rates 2, 4, 6, each behind a 1 x 1 convolution or not, and a fourth dilated convolution on the same map."""

    def __init__(self, front: bool, fourth: nn.Module) -> None:
        super().__init__()
        self.stem, self.fourth, self.head = nn.Conv2d(3, 8, 4, 2, 1), fourth, nn.Linear(16, 4)
        self.aspp = Joined(front)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.cat([self.aspp(x).mean((2, 3)), self.fourth(x).mean((2, 3))], 1))


class Joined(nn.Module):
    def __init__(self, front: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*([nn.Conv2d(8, 8, 1)] if front else []), nn.Conv2d(8, 8, 3, padding=r, dilation=r))
            for r in (2, 4, 6)
        )

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch(x) for branch in self.branches)  # type: ignore[return-value]


FOURTHS = {
    "none": nn.Identity(),
    "same": nn.Conv2d(8, 8, 3, padding=3, dilation=3),
    "strided": nn.Conv2d(8, 8, 3, 2, padding=3, dilation=3),
    "without padding": nn.Conv2d(8, 8, 3, dilation=3),
    "of a rate that is there": nn.Conv2d(8, 8, 3, padding=2, dilation=2),
    "larger": nn.Conv2d(8, 8, 5, padding=6, dilation=3),
    "behind a convolution": nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=3, dilation=3)),
}


@pytest.mark.parametrize("fourth", FOURTHS)
@pytest.mark.parametrize("front", [True, False])
def test_another_reader_of_the_map_does_not_break_up_the_pyramid(front: bool, fourth: str) -> None:
    found = Atrous(count=1)(mt.open(Beside(front, FOURTHS[fourth]).eval(), recipe={"size": 48, **PLAIN}))
    assert found["group"].values.tolist()[-3:] == ["aspp"] * 3 or found["group"].values.tolist()[:3] == ["aspp"] * 3
    assert found["rate"].values[found["group"].values == "aspp"].tolist() == [[2, 2], [4, 4], [6, 6]]
    assert "field/aspp" in found.arrays  # the field of the branches together is drawn
    assert found["group"].values.tolist().count("") == (fourth != "none")


class Bare(nn.Module):
    """Two linear branches on the image itself, summed: the field is that of the two kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(3, 4, 3, padding=r, dilation=r) for r in (1 + 1, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x)


@pytest.mark.parametrize("rule", ["relu", "abs", "square"])
def test_the_field_of_linear_branches_is_their_kernels(rule) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = mt.open(Bare().eval(), recipe={"size": 13, **PLAIN})
    found = Atrous(count=2, rule=rule)(net)
    kernels = torch.zeros(3, 13, 13)
    for conv, rate in ((net.net.one, 2), (net.net.two, 5)):
        kernels[:, 6 - rate : 7 + rate : rate, 6 - rate : 7 + rate : rate] += conv.weight.detach().mean(0)
    by_hand = {"relu": kernels.clamp_min(0), "abs": kernels.abs(), "square": kernels.square()}[rule].sum(0)
    np.testing.assert_allclose(found["field/one and others"].values[0, 0], by_hand / by_hand.sum(), rtol=1e-4, atol=1e-9)


def test_a_dilated_stage_without_branches() -> None:
    found = Atrous()(mt.open("timm:resnet18", weights=None, output_stride=8, recipe={"size": 64}))
    assert "points" not in found.arrays and [panel.kind for panel in found.panels] == ["Bars", "Table"]
    assert found.key("dilated convolutions").value == 7 and found["picture"].values.tolist() == [64, 64]
    assert found.headline == "layer4.0.conv2 at rate 4 has 44.4% of its taps on the 8 x 8 map; suggested rate 3."
    assert "Rates, taps and fields of view are design: an untrained twin has the same." in found.caveats
    assert any("no parallel branches" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(
    ("name", "options", "size", "side", "count"),
    [  # counted from their blocks: all spatial kernels from the first stride that is left out on, which keeps a rate of 1 itself
        ("timm:resnet10t", {"output_stride": 16}, 96, 6, 1),
        ("timm:regnetx_002", {"output_stride": 8}, 96, 12, 10),
        ("timm:efficientnet_b0", {"output_stride": 8}, 96, 12, 10),
        ("timm:tf_efficientnet_b0", {"output_stride": 16}, 96, 6, 4),
        ("timm:densenet121", {}, 64, 0, 0),
        ("torchvision.models.segmentation:lraspp_mobilenet_v3_large(weights=None,weights_backbone=None)", {}, 96, 6, 3),
    ],
)
def test_families_with_dilated_stages(name, options, size, side, count, tmp_path) -> None:
    net = mt.open(name, weights=None, recipe={"size": size}, **options)
    if not count:
        assert Atrous().refusal(net, None) == "none of its convolutions is dilated"
        return
    found = Atrous()(net)
    assert len(found["valid"]) == count and (found["side"].values == side).all()
    assert ((found["valid"] > 0) & (found["valid"] < 1)).all() and "points" not in found.arrays
    testing.check_finding(found, tmp_path)


def test_the_pyramid_of_torchvision() -> None:
    """DeepLabV3 at 97 px and stride 16: rates 12, 24, 36 on 7 positions are all dead, so the star is its middle."""
    name = "torchvision.models.segmentation:deeplabv3_mobilenet_v3_large(weights=None,weights_backbone=None)"
    found = Atrous(count=1)(mt.open(name, weights=None, recipe={"size": 97}))
    assert found["points"].coords["part"].values.tolist() == ["classifier.0"]
    mine = found["group"].values == "classifier.0"
    assert found["rate"].values[mine, 0].tolist() == [12, 24, 36] and found["dead"].values[mine].all()
    assert found["suggested"].values[mine].tolist() == [1, 2, 3] and found["points"].item() == 1


def test_what_is_not_listed_is_counted() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, (3, 5), padding=(2, 6), dilation=(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.conv2d(self.conv(x), torch.ones(2, 4, 3, 3), dilation=2)

    found = Atrous()(mt.open(Mixed().eval(), recipe={"size": (12, 20), **PLAIN}))
    assert found.headline.startswith("conv at rate 2 x 3 has ") and "on the 12 x 20 map" in found.headline
    assert found.facts["not_listed"] == 1
    assert any(caveat.startswith("Not listed: 1 dilated convolution (called as functions") for caveat in found.caveats)


def test_no_gradient_no_star() -> None:
    net = deeplab()
    with torch.no_grad():
        net.net.aspp.project.conv.weight.zero_()
    found = Atrous(count=1)(mt.open(net.net, recipe={"size": 64, **PLAIN}))
    assert np.isnan(found["on_star"].values[0, 0]) and np.isnan(found.key("gradient on the star").value)
    assert any(caveat.startswith("No gradient reaches the map from aspp") for caveat in found.caveats)


def test_bad_input() -> None:
    plain = mt.open("microtome:mini_resnet", weights=None)
    with pytest.raises(Unmeasurable, match="none of its convolutions is dilated"):
        Atrous()(plain)
    fixed = nn.Sequential(nn.Conv2d(3, 2, 3, padding=2, dilation=2), nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(BadOption, match="does not run on 16 x 16 px"):
        Atrous(size=16)(mt.open(fixed, recipe={"size": 8, **PLAIN}))
    with pytest.raises(BadOption, match="size"):
        Atrous(size=-1)
    broken = deeplab()
    with torch.no_grad():
        broken.net.aspp.project.conv.weight[0, 0] = float("nan")
    with pytest.raises(Unmeasurable, match=r"gradient of aspp .* not finite.*mt.analyses.weights"):
        Atrous(count=1)(mt.open(broken.net, recipe={"size": 64, **PLAIN}))


def test_each_scene_is_shown_to_one_twin_in_turn() -> None:
    """Three scenes, two twins: the star of the first twin is that of its own two scenes, and the baseline is the mean of both."""
    net = deeplab()
    found = Atrous(count=3)(net, twins=2)
    scenes = mt.Images.scenes(3, seed=0, size=net.recipe.size)
    (group,) = branch_groups(net, dilated_convolutions(net, DilationMode()))
    analysis, each = Atrous(count=3), []
    for seed, places in ((1, [0, 2]), (2, [1])):
        field = analysis._star_field(net.working_twin(scenes, seed), group, scenes.take(places), mt.Pace(device="cpu"))
        each.append(star_mass(field, star_mask(group)).star)
    assert found["on_star"].values[0, 1] == pytest.approx(np.mean(each))
    ends = [found[f"twin_on_star_{end}"].item() for end in ("low", "high")]
    assert ends == pytest.approx(sorted(each))
    star = found.key("gradient on the star")
    assert (star.baseline, star.baseline_name) == (pytest.approx(np.mean(each)), "untrained twins")
