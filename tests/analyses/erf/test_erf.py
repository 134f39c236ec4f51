"""Effective receptive fields: exact for one convolution, against a loop over single images, within theory, and on bad input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.erf.erf import Erf
from microtome.errors import BadOption, Unmeasurable, WatchError
from microtome.instruments.receptive_fields import receptive_fields
from microtome.scan import Pace

PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def opened(net: nn.Module, size: int | tuple[int, int] = 32) -> mt.Specimen:
    return mt.open(net, recipe={"size": size, **PLAIN})


class Maps(nn.Module):
    """One convolution, and nothing else: the smallest segmentation network."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.conv = nn.Conv2d(3, units, 5, stride=2, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Scores(Maps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.conv(x)).mean((2, 3))  # the ReLU overwrites what was watched


def kernel(net: Maps, rule: str) -> np.ndarray:
    """What the field of one linear convolution must be: its kernel, averaged over units and colours, at position (7, 7) of 16 x 16."""
    mean = net.conv.weight.detach().double().mean((0, 1))
    part = {"relu": mean.clamp_min(0), "abs": mean.abs(), "square": mean**2, "signed": mean}[rule]
    placed = torch.zeros(32, 32, dtype=torch.float64)
    placed[12:17, 12:17] = part  # 2 · 7 - 2 to 2 · 7 + 2
    return (placed / placed.abs().sum()).numpy()


@pytest.mark.parametrize("rule", ["relu", "abs", "square", "signed"])
def test_field_of_one_convolution_is_its_kernel(rule: str, pics: mt.Images) -> None:
    found = Erf(at=("conv",), rule=rule, count=3)(opened(Scores()), pics)  # type: ignore[arg-type]
    np.testing.assert_allclose(found["field"].sel(layer="conv").values, kernel(Scores(), rule), atol=1e-7)
    assert found["center"].values.tolist() == [[14.0, 14.0]]
    assert found["theory"].values.tolist() == [[5.0, 5.0]]


class Spiked(nn.Module):
    """One position reads a pixel by 40 and all others of the 32 x 32 by 1: a spike on a plain."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 63, padding=31)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.weight[:, :, 31, 31] = 40.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


def test_a_spike_on_a_plain_is_no_gaussian(pics: mt.Images) -> None:
    """40 of 1,063 of the mass lie on the spike, so no Gaussian of few px describes the field, however much variance it explains."""
    found = Erf(at=("conv",), count=2)(opened(Spiked()), pics)
    assert found["r2"].item() < 0.5
    assert found.headline.startswith("Effective receptive field of conv is not Gaussian: R² ")
    assert any("of the mass lies within 3 σ, at conv, so σ does not describe the field there" in text for text in found.caveats)
    assert "offset" not in found.arrays
    lifted = Erf(at=("conv",), count=2, offset=True)(opened(Spiked()), pics)
    assert lifted["r2"].item() == pytest.approx(1.0, abs=0.01)
    assert lifted["offset"].item() == pytest.approx(1 / 40, abs=2e-3)
    assert lifted["inside"].item() == pytest.approx(40 / 1063, abs=0.01)
    assert lifted.headline.startswith("Effective receptive field of conv is not Gaussian: R² ")
    assert lifted.headline.endswith("of the mass within 3 σ.")


def test_segmentation_and_logit_targets(pics: mt.Images) -> None:
    found = Erf(kind="segmentation", count=2)(opened(Maps()), pics)
    np.testing.assert_allclose(found["field"].sel(layer="answer").values, kernel(Maps(), "relu"), atol=1e-7)
    with pytest.raises(Unmeasurable, match="gives one score per class, not maps; try kind='logit'"):
        Erf(kind="segmentation")(opened(Scores()), pics)
    with pytest.raises(Unmeasurable, match="gives maps, not one score per class; try kind='segmentation'"):
        Erf(kind="logit")(opened(Maps()), pics)
    logit = Erf(kind="logit", count=2, rule="abs")(opened(Scores()), pics)
    assert np.isinf(logit["theory"].values).all()
    assert logit["used"].item() > 0.5  # a mean over positions depends on all of them


def naive(net: mt.Specimen, layer: str, cell: tuple[int, int], x: torch.Tensor) -> np.ndarray:
    """Kim et al., algorithm 1, image by image."""
    total = torch.zeros(x.shape[2:], dtype=torch.float64)
    for one in x.split(1):
        one = one.clone().requires_grad_()
        kept = {}
        handle = net.net.get_submodule(layer).register_forward_hook(lambda _m, _i, value, kept=kept: kept.update(value=value))
        net.net(one)
        handle.remove()
        (slope,) = torch.autograd.grad(kept["value"][0, :, cell[0], cell[1]].mean(), one)
        total += slope[0].double().mean(0).clamp_min(0)
    return (total / total.sum()).numpy()


def test_agrees_with_a_loop_over_single_images(net: mt.Specimen, pics: mt.Images) -> None:
    five = pics.take(range(5))
    found = Erf(at=("blocks.0", "blocks.2"), cell=(5, 9), count=5)(net, five, Pace(batch=4, device="cpu"))
    x = net.recipe.normalise(torch.from_numpy(five.pixels(net.recipe)))
    for layer in ("blocks.0", "blocks.2"):
        np.testing.assert_allclose(found["field"].sel(layer=layer).values, naive(net, layer, (5, 9), x), atol=2e-6)


def test_zero_outside_theory_and_the_same_for_repeated_images(pics: mt.Images) -> None:
    net = mt.open("microtome:mini_vgg", weights=None)
    names = ("features.2", "features.6", "features.13")
    found = Erf(at=names, count=4, rule="abs")(net, pics)
    theories = receptive_fields(net, names)
    assert tuple(theories) == names
    for name, theory in theories.items():
        cell = [(side - 1) // 2 for side in theory.grid]
        (top, bottom), (left, right) = theory.rows(cell[0]), theory.cols(cell[1])
        field = found["field"].sel(layer=name).values.copy()
        assert field[top, left : right + 1].any(), "the support reaches the edge of what theory allows"
        field[top : bottom + 1, left : right + 1] = 0
        assert not field.any()
    one = pics.take([3])
    thrice = mt.Images.tensors(torch.from_numpy(one.pixels(net.recipe)).permute(0, 3, 1, 2).repeat(3, 1, 1, 1))
    once = mt.Images.tensors(torch.from_numpy(one.pixels(net.recipe)).permute(0, 3, 1, 2))
    both = [Erf(at=names[-1:])(net, images)["field"].values for images in (once, thrice)]
    np.testing.assert_allclose(*both, atol=1e-8)


def test_target_times_three_is_three_times_the_field(pics: mt.Images) -> None:
    single, triple = Scores(), Scores()
    with torch.no_grad():
        triple.conv.weight.mul_(3)
    totals = [Erf(at=("conv",), count=2)(opened(one), pics)["total"].item() for one in (single, triple)]
    assert totals[1] == pytest.approx(3 * totals[0])


def test_centre_of_mass_follows_the_computed_centre_in_a_random_network() -> None:
    """Three strided 3 x 3 convolutions: position 7 of 16 is centred on pixel 8 · 7 = 56, not on 8 · 7.5 - 0.5 = 59.5."""
    torch.manual_seed(0)
    layers = [part for a, b in ((3, 32), (32, 32), (32, 32)) for part in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())]
    net = opened(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)), 128)
    noise = mt.Images.tensors(
        torch.randint(0, 256, (40, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    )
    found = Erf(at=("4",), rule="square", count=40)(net, noise)
    assert found["center"].values.tolist() == [[56.0, 56.0]]
    np.testing.assert_allclose(found["center_mass"].values, 56.0, atol=0.8)
    half = (
        Erf(at=("4",), rule="relu", count=40)(net, noise)["total"] / Erf(at=("4",), rule="abs", count=40)(net, noise)["total"]
    )
    assert half.item() == pytest.approx(0.5, abs=0.05)  # gradients of random networks have no preferred sign


@pytest.mark.parametrize(
    ("name", "options", "size", "layers"),
    [
        (
            "timm:swin_tiny_patch4_window7_224",
            {"img_size": 64, "embed_dim": 12, "depths": (2, 2, 2, 2)},
            (64, 64),
            ("layers.0", "layers.1"),
        ),
        ("microtome:mini_hrnet", {}, (64, 32), ("stage3",)),
        ("microtome:mini_deit", {}, (64, 64), ("blocks.3",)),
        ("torchvision:lraspp_mobilenet_v3_large", {"weights_backbone": None}, (64, 96), ("backbone.6",)),
    ],
)
def test_every_kind_of_network(
    name: str, options: dict, size: tuple[int, int], layers: tuple[str, ...], pics: mt.Images
) -> None:
    net = mt.open(name, weights=None, recipe={"size": size}, **options)
    found = Erf(at=layers, count=2, rule="abs")(net, pics)
    assert found["field"].shape[1:] == size
    assert found["field"].values.sum((1, 2)) == pytest.approx(1.0, abs=1e-4)
    if name.startswith("torchvision"):
        assert Erf(kind="segmentation", count=2)(net, pics)["field"].shape == (1, *size)


def test_bad_input(net: mt.Specimen, pics: mt.Images, tiny: Callable[..., nn.Module]) -> None:
    with pytest.raises(BadOption, match=r"cell is 40,1; blocks.2 has 16 rows and 16 columns.*cell=.8, 8.[.]?"):
        Erf(at=("blocks.2",), cell=(40, 1))(net, pics)
    with pytest.raises(BadOption, match="channels 99; blocks.2 has units 0 to 7"):
        Erf(at=("blocks.2",), channels=(99,))(net, pics)
    broken = tiny()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(Unmeasurable, match=r"not finite.*mt.analyses.weights"):
        Erf(at=("stem",))(mt.open(broken, recipe={"size": 32, **PLAIN}), pics)
    dead = tiny()
    with torch.no_grad():
        dead.stem.weight.zero_()
    with pytest.raises(WatchError, match="the gradient of blocks.2 is zero everywhere in all 12 images"):
        Erf(at=("blocks.2",))(mt.open(dead, recipe={"size": 32, **PLAIN}), pics)


def test_mean_of_a_layer_norm_is_constant_and_left_out(pics: mt.Images) -> None:
    net = mt.open("microtome:mini_deit", weights=None)
    with pytest.raises(WatchError, match="zero everywhere"):
        Erf(at=("blocks.2.norm1",), count=2)(net, pics)
    found = Erf(at=("blocks.2", "blocks.2.norm1"), count=2)(net, pics)
    assert found["field"].coords["layer"].values.tolist() == ["blocks.2"]
    assert found.facts["without_gradient"] == ["blocks.2.norm1"]
    assert any("blocks.2.norm1" in text and "LayerNorm" in text for text in found.caveats)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Erf(at=("blocks",), count=9), net, pics, tmp_path)
    assert finding["field"].dims == ("layer", "row", "col")
    assert finding["sigma"].dims == ("layer", "axis")
    rows, columns = (finding.key(f"Gaussian σ, {axis}") for axis in ("rows", "columns"))
    last = {"layer": finding["field"].coords["layer"].values[-1]}
    assert [rows.value, columns.value] == finding["sigma"].sel(last).values.tolist()
    assert [rows.baseline, columns.baseline] == finding["twin_sigma"].sel(last).values.tolist()
    assert rows.at == last["layer"] == "blocks.2"
    assert finding.facts["images"] == 9


def test_published_widths_are_compared_with_the_measured_ones() -> None:
    """The table of Kim et al. 2021; untrained weights differ, and that is said. At another size nothing is said."""
    from microtome.analyses.erf.published_fields import PUBLISHED, has_published_weights, published_row

    net = mt.open("torchvision:resnet18", weights=None)
    found = Erf(at=("layer4",), count=1)(net, mt.Images.scenes(1, seed=1, size=224))
    assert found["published"].values.tolist() == [73.7, 76.5]
    (said,) = [one for one in found.caveats if "Published" in one]
    assert said.startswith("Published σ of layer4 of resnet18 ")
    here = found["sigma"].values[0]
    assert f"73.7 x 76.5 px; here {here[0]:.1f} x {here[1]:.1f} px: those were ImageNet weights, not these" in said
    small = mt.open("torchvision:resnet18", weights=None, recipe={"size": 64})
    assert "published" not in Erf(at=("layer4",), count=1)(small, mt.Images.scenes(1, seed=1, size=64)).arrays
    row = published_row("timm:resnet50.tv_in1k")
    assert (
        row is not None
        and row[0] == "resnet50"
        and published_row("timm:resnet50d") is None
        and published_row("resnet50") is None
    )
    assert has_published_weights("torchvision:resnet50", "pretrained IMAGENET1K_V1") and has_published_weights(
        "timm:resnet50.tv_in1k", "pretrained tv_in1k"
    )
    assert not has_published_weights("torchvision:resnet50", "pretrained IMAGENET1K_V2")
    assert not has_published_weights("timm:resnet50.a1_in1k", "pretrained a1_in1k")
    grouped = mt.open("torchvision:resnext50_32x4d", weights=None, recipe={"size": 64})
    assert (
        max(receptive_fields(grouped, ["layer4"])["layer4"].size) == PUBLISHED["resnext50_32x4d"].theory
    )  # the others: tests/test_receptive.py
