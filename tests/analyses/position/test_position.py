"""Positions: planted attention and positions with answers by hand, windows, the twin, and what does not fit."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import microtome as mt
from microtome import testing
from microtome.analyses.position import Position
from microtome.errors import BadOption, Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=8, device="cpu")


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(12, seed=3, size=32)


@pytest.fixture
def vit() -> mt.Specimen:
    """Two blocks of three heads over 4 x 4 patches of 8 px and a class token."""
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    recipe: dict[str, Any] = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}
    return mt.open("timm:vit_tiny_patch16_224", weights=None, recipe=recipe, **options)


@pytest.fixture(scope="module")
def swin() -> mt.Specimen:
    return mt.open(
        "timm:swin_tiny_patch4_window7_224", weights=None, recipe={"size": 32}, img_size=32, window_size=4, embed_dim=12,
        depths=(2, 2), num_heads=(2, 3),
    )  # fmt: skip


def test_without_queries_attention_is_uniform(vit: mt.Specimen, pics: mt.Images) -> None:
    attn = cast(Any, vit.net).blocks[1].attn
    with torch.no_grad():
        attn.qkv.weight[:24] = 0
        attn.qkv.bias[:24] = 0
    found = Position(count=5)(vit, pics, PACE)
    side = np.arange(4)
    apart = [math.hypot(r - s, c - d) for r in side for c in side for s in side for d in side]
    wanted = 8 * float(np.mean(apart))
    assert found.arrays["attention_distance"].sel(layer="blocks.1.attn").values == pytest.approx([wanted] * 3, rel=1e-5)
    assert found.arrays["uniform_distance"].values == pytest.approx([wanted] * 2, rel=1e-6)
    assert float(found.arrays["to_the_grid"].sel(layer="blocks.1.attn")) == pytest.approx(16 / 17, rel=1e-5)


def test_tokens_that_attend_to_themselves_have_no_distance(pics: mt.Images) -> None:
    """Positions in 17 directions of their own, queries and keys that read just these: every token attends to itself."""
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 51, "depth": 2, "num_heads": 3}
    specimen = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 32}, **options)
    net = cast(Any, specimen.net)
    with torch.no_grad():
        net.pos_embed.copy_(1e4 * torch.eye(17, 51))
        net.blocks[0].norm1.weight.fill_(10)
        net.blocks[0].attn.qkv.weight[:102] = torch.eye(17, 51).repeat(6, 1)
    found = Position(count=3)(specimen, pics, PACE)
    assert found.arrays["attention_distance"].sel(layer="blocks.0.attn").values == pytest.approx([0.0] * 3, abs=1e-3)
    assert found.key("attention distance").at == "blocks.0.attn"
    assert found.key("attention distance").value == pytest.approx(0, abs=1e-3)


def test_positional_power_by_hand(vit: mt.Specimen, pics: mt.Images) -> None:
    net = cast(Any, vit.net)
    with torch.no_grad():
        net.pos_embed.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
        net.patch_embed.proj.bias.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    found = Position(scales=(0.5, 1.0, 4.0), count=12)(vit, pics, PACE).arrays["share"]
    x = vit.recipe.normalise(torch.from_numpy(pics.pixels(vit.recipe)))
    kernel, bias = net.patch_embed.proj.weight.detach().double(), net.patch_embed.proj.bias.detach().double()
    patches = x.double().unfold(2, 8, 8).unfold(3, 8, 8)  # image, rgb, row, col, row in patch, col in patch
    linear = torch.einsum("icrxhw,uchw->irxu", patches, kernel)
    position = float(net.pos_embed.detach().double()[0, 1:].square().sum(1).mean())
    for scale in (0.5, 1.0, 4.0):
        content = float((scale * linear + bias).square().sum(-1).mean())
        assert float(found.sel(scale=scale)) == pytest.approx(position / (position + content), rel=1e-5)


def test_positional_power_without_a_bias_follows_one_number(vit: mt.Specimen, pics: mt.Images) -> None:
    """With no bias the content's power goes with the square of the scale, so 1 / fraction - 1 does."""
    with torch.no_grad():
        cast(Any, vit.net).patch_embed.proj.bias.zero_()
    found = Position(scales=(0.25, 1.0, 8.0), count=6)(vit, pics, PACE).arrays["share"].values
    odds = 1 / found - 1
    assert odds / odds[1] == pytest.approx([0.25**2, 1, 64], rel=1e-5)


def test_norm_before_the_positions_keeps_the_positional_power(pics: mt.Images) -> None:
    specimen = mt.open(
        "timm:vit_tiny_patch16_224", weights=None, recipe={"size": 32}, img_size=32, patch_size=8, embed_dim=24, depth=1,
        num_heads=3, embed_norm_layer=torch.nn.LayerNorm,
    )  # fmt: skip
    with torch.no_grad():
        cast(Any, specimen.net).patch_embed.proj.weight.mul_(100)  # so that the norm's epsilon is nothing
        cast(Any, specimen.net).patch_embed.proj.bias.zero_()
    found = Position(count=4)(specimen, pics, PACE).arrays["share"].values
    assert found == pytest.approx([found[2]] * 7, rel=1e-3)


class Held(torch.nn.Module):
    """A transformer whose `patch_embed` only holds a convolution and a norm; class token first, or positions on the map itself."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj, self.patch_embed.norm = torch.nn.Conv2d(3, 12, 8, 8), torch.nn.LayerNorm(12)
        self.pos_embed = torch.nn.Parameter(0.5 * torch.randn(1, 17 if kind == "class token first" else 16, 12))
        self.token = torch.nn.Parameter(torch.full((1, 1, 12), 9.0))
        self.attn, self.head = torch.nn.MultiheadAttention(12, 2, batch_first=True), torch.nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed.proj(x)  # type: ignore[operator, union-attr]
        if self.kind == "on the map":
            x = (x + self.pos_embed.transpose(1, 2).reshape(1, 12, 4, 4)).flatten(2).transpose(1, 2)
        elif self.kind == "multiplied":
            x = x.flatten(2).transpose(1, 2) * self.pos_embed
        else:
            x = self.patch_embed.norm(x.flatten(2).transpose(1, 2))  # type: ignore[operator, union-attr]
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) if self.kind == "class token first" else x
            x = x + self.pos_embed
        return self.head(self.attn(x, x, x)[0].mean(1))


@pytest.mark.parametrize("kind", ["norm", "class token first", "on the map"])
def test_patches_are_taken_where_positions_are_added(kind: str, pics: mt.Images) -> None:
    """By hand: after the norm where there is one, which makes every patch of power 12; the class token is no patch."""
    torch.manual_seed(0)
    net = Held(kind).eval()
    specimen = mt.open(net, recipe={"size": 32, "mean": 0.5, "std": 0.25, "crop": 1})
    found = Position(scales=(1.0, 4.0), count=6)(specimen, pics.take([0, 2, 4, 7, 9, 11]), PACE).arrays["share"]
    position = float(net.pos_embed[0, -16:].detach().double().square().sum(1).mean())
    x = specimen.recipe.normalise(torch.from_numpy(pics.take([0, 2, 4, 7, 9, 11]).pixels(specimen.recipe)))
    for scale in (1.0, 4.0):
        with torch.no_grad():
            maps = net.patch_embed.proj(scale * x).flatten(2).transpose(1, 2)  # type: ignore[operator, union-attr]
            patches = maps if kind == "on the map" else net.patch_embed.norm(maps)  # type: ignore[operator, union-attr]
        content = float(patches.double().square().sum(2).mean())
        assert float(found.sel(scale=scale)) == pytest.approx(position / (position + content), rel=1e-5)


def test_positions_that_are_not_added_are_named(pics: mt.Images) -> None:
    specimen = mt.open(Held("multiplied").eval(), recipe={"size": 32, "mean": 0.5, "std": 0.25, "crop": 1})
    found = Position(count=2)(specimen, pics, PACE)
    assert "share" not in found.arrays
    assert any(text.startswith("No sum of pos_embed with the embedded patches was seen") for text in found.caveats)
    assert np.isfinite(found.arrays["mean_distance"].values).all()  # distances rest on nothing of that


def test_each_power_has_the_twin_of_its_own_contrast_beside_it(vit: mt.Specimen, pics: mt.Images) -> None:
    with torch.no_grad():
        cast(Any, vit.net).pos_embed.normal_(0, 3.0)
    found = Position(scales=(1.0, 16.0), count=2)(vit, pics, PACE)
    for name, scale in (("positional power", 1.0), ("positional power, highest contrast", 16.0)):
        number = found.key(name)
        assert number.value == float(found.arrays["share"].sel(scale=scale))
        assert number.baseline == float(found.arrays["twin_share"].sel(scale=scale))
        assert number.at == f"scale {scale:g}"


def test_windows_masks_and_a_planted_hill(swin: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    found = Position(count=4)(swin, pics, PACE).arrays
    even = found["uniform_distance"]
    plain, shifted = (float(even.sel(layer=f"layers.0.blocks.{place}.attn")) for place in (0, 1))
    apart = np.array([[math.hypot(a // 4 - b // 4, a % 4 - b % 4) for b in range(16)] for a in range(16)])
    assert plain == pytest.approx(4 * apart.mean(), rel=1e-6)
    # shifted by two positions of eight: a quarter of the windows is whole, half are two halves, a quarter four quarters
    token = np.arange(16)
    half, upper = token % 4 < 2, token < 8
    same_half = half[:, None] == half[None]
    quarter = same_half & (upper[:, None] == upper[None])
    means = [float(((apart * mask).sum(1) / mask.sum(1)).mean()) for mask in (apart >= 0, same_half, quarter)]
    assert shifted == pytest.approx(4 * (means[0] + 2 * means[1] + means[2]) / 4, rel=1e-6)
    assert float(found["bias_r2_by_head"].max()) < 0.5  # random numbers of 49 offsets are no hill

    net = cast(Any, mt.open(swin.net, recipe=swin.recipe.json()).net)
    table = net.layers[0].blocks[0].attn.relative_position_bias_table
    before = table.detach().clone()
    rows, cols = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-3.0, 4), indexing="ij")
    with torch.no_grad():
        table.copy_(3 * torch.exp(-(rows**2 + cols**2) / (2 * 1.5**2)).flatten()[:, None] + 2)
    finding = testing.check(Position(count=6), swin, pics, tmp_path)
    with torch.no_grad():
        table.copy_(before)
    assert finding.arrays["bias_sigma"].values[0] == pytest.approx(1.5, rel=1e-3)
    assert finding.arrays["bias_height"].values[0] == pytest.approx(3.0, rel=1e-3)
    heads = finding.key("heads with a Gaussian bias")
    assert (heads.value, heads.baseline) == (0.2, 0)  # 2 of 10
    assert any("window" in one for one in finding.caveats)


def test_the_trained_mini_attends_more_locally_than_its_twin(tmp_path: Path) -> None:
    specimen = mt.open("microtome:mini_deit")
    finding = testing.check(Position(count=8), specimen, mt.Images.scenes(8, seed=5, size=64), tmp_path)
    own, twin, even = (finding.arrays[name].values for name in ("mean_distance", "twin_mean_distance", "uniform_distance"))
    assert (own < even).all() and own.min() < 0.6 * even[0] and twin == pytest.approx(even, rel=0.03)
    assert float(finding.arrays["share"].sel(scale=1.0)) > 10 * float(finding.arrays["twin_share"].sel(scale=1.0))
    assert {panel.title for panel in finding.panels} >= {"Positional power by contrast"}
    assert finding.arrays["attention_distance"].dims == ("layer", "head")


def test_what_does_not_fit_says_why(net: mt.Specimen, vit: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(Unmeasurable, match="it has no attention over positions"):
        Position()(net, pics)
    with pytest.raises(Unmeasurable, match="it needs images"):
        Position()(vit, None)
    with pytest.raises(BadOption, match="numbers above 0"):
        Position(scales=(0.0, 1.0))(vit, pics)
    with torch.no_grad():
        cast(Any, vit.net).blocks[1].attn.qkv.weight.fill_(float("nan"))
    with pytest.raises(Unmeasurable, match="attention of blocks.1.attn is not finite"):
        Position(count=2)(vit, pics, PACE)
