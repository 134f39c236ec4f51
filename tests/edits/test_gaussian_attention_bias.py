"""Gaussian attention bias: the law of edits, the hill by hand, softmax' answers, windows and tables, and what does not fit."""

import importlib
import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable
from microtome.instruments.attention import watch_attention
from microtome.networks.attention_bias import GaussianBias
from microtome.numerics.graph.attention import attention_distances, cell_distances

GaussianAttentionBias = mt.edits.gaussian_attention_bias.GaussianAttentionBias
SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 10}
SWIN: dict[str, Any] = {
    "img_size": 32,
    "window_size": 4,
    "embed_dim": 12,
    "depths": (2, 2),
    "num_heads": (2, 3),
    "num_classes": 10,
}
RECIPE: dict[str, Any] = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def opened(name: str, **options: Any) -> mt.Specimen:
    return mt.open(f"timm:{name}", weights=None, recipe=RECIPE, **options)


def networks(kind: str) -> mt.Specimen:
    if kind == "swin":
        return opened("swin_tiny_patch4_window7_224", **SWIN)
    if kind == "relpos":
        return opened("vit_relpos_small_patch16_224", **SMALL)
    if kind == "no class token":
        return opened("vit_tiny_patch16_224", **SMALL, class_token=False, global_pool="avg")
    return opened("vit_tiny_patch16_224", **SMALL)


KINDS = ("class token", "no class token", "swin", "relpos")


@pytest.mark.parametrize("kind", KINDS)
def test_the_law_of_edits(kind: str, tmp_path: Any) -> None:
    specimen = networks(kind)
    edited = testing.check_edit(GaussianAttentionBias(), specimen, mt.Images.scenes(4), tmp_path)
    change = edited.edits[-1]
    layers = {"swin": 4, "class token": 1}.get(kind, 2)  # patches of the last block are not read where the class token is
    assert change.parameters[1] - change.parameters[0] == 2 * layers  # one A and one σ for each layer
    assert change.preserves == "no" and f"put {layers} Gaussian bias{'es' if layers > 1 else ''} into" in change.line


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_hill_changes_nothing_and_the_plain_form_can_be_trained_from_it(kind: str, tmp_path: Any) -> None:
    specimen = networks(kind)
    edited = testing.check_edit(GaussianAttentionBias(amplitude=0, form="plain"), specimen, mt.Images.scenes(4), tmp_path)
    assert edited.edits[-1].preserves == "exactly"
    squared = GaussianAttentionBias(amplitude=0)(specimen)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(squared.run(x), specimen.run(x), atol=1e-5)
    assert "take form=plain" in squared.edits[-1].line


def test_the_hill_by_hand() -> None:
    bias = GaussianBias((2, 3), 1, 1.5, 0.8, "squared")().detach()
    assert bias.shape == (7, 7) and not bias[0].any() and not bias[:, 0].any()
    for one in range(6):
        for other in range(6):
            squared = (one // 3 - other // 3) ** 2 + (one % 3 - other % 3) ** 2
            assert float(bias[one + 1, other + 1]) == pytest.approx(1.5**2 * math.exp(-squared / (2 * 0.8**2)), rel=1e-5)
    assert float(GaussianBias((2, 2), 0, -1.5, 1.0, "plain")().detach()[0, 0]) == pytest.approx(-1.5)


def test_attention_without_queries_is_the_softmax_of_the_hill_alone() -> None:
    """On 14 x 14 patches with A = 2, σ = 5 the middle attends itself by 0.020, its neighbour by 0.019, a corner by 0.0007."""
    attention = GaussianBias((14, 14), 0, 2.0, 5.0, "squared")().detach().softmax(-1)
    middle = attention[6 * 14 + 6].reshape(14, 14)
    told = [float(middle[6, 6]), float(middle[6, 7]), float(middle[13, 13])]
    assert told == pytest.approx([0.020, 0.019, 0.0007], abs=6e-4)
    apart = cell_distances((14, 14))
    distances = {
        sigma: float(
            attention_distances(GaussianBias((14, 14), 0, 2.0, sigma, "squared")().detach().softmax(-1)[None, None], apart)
        )
        for sigma in (3.0, 5.0, 8.0)
    }
    even = float(apart.mean())
    assert distances[3.0] < distances[5.0] < distances[8.0] < even


@pytest.mark.parametrize("kind", KINDS)
def test_logits_differ_by_the_hill_and_nothing_else(kind: str) -> None:
    """log attention after minus log attention before, up to a constant for each query, is the hill of each layer's grid."""
    specimen = networks(kind)
    edited = GaussianAttentionBias(amplitude=1.5, sigma=1.2)(specimen)
    first = "layers.0.blocks.1.attn" if kind == "swin" else "blocks.0.attn"
    inner = first if kind == "relpos" else f"{first}.attn"
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    if kind == "swin":  # the layer before must not have changed yet
        with torch.no_grad():
            cast(Any, edited.net).layers[0].blocks[0].attn.bias.amplitude.zero_()
    seen: list[Tensor] = []
    for one, path in ((specimen, first), (edited, inner)):
        with watch_attention(one.net, [path], lambda _, maps: seen.append(maps.clone())):
            one.run(x)
    prefix = seen[0].shape[-1] - 16
    apart = cell_distances((4, 4)).square()
    hill = nn.functional.pad(1.5**2 * torch.exp(-apart / (2 * 1.2**2)), (prefix, 0, prefix, 0)).float()
    wanted = (seen[0].log() + hill).softmax(-1)
    assert torch.allclose(seen[1], wanted, atol=1e-5)
    assert not torch.allclose(seen[1], seen[0], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_amplitude_and_sigma_do_not_decay(kind: str) -> None:
    edited = GaussianAttentionBias()(networks(kind))
    decayed = next(group for group in mt.param_groups(edited.net, 0.05, policy="timm") if group["weight_decay"] > 0)
    held = {id(parameter) for parameter in decayed["params"]}
    new = [p for name, p in edited.net.named_parameters() if name.endswith(("bias.amplitude", "bias.sigma"))]
    assert new and not any(id(parameter) in held for parameter in new)
    rule: Any = importlib.import_module("timm.optim").param_groups_weight_decay
    theirs = next(group for group in rule(edited.net, 0.05) if group["weight_decay"] > 0)
    assert not {id(parameter) for parameter in theirs["params"]} & {id(parameter) for parameter in new}


def test_position_sees_the_hill() -> None:
    pics = mt.Images.scenes(4, size=32)
    for kind in KINDS:
        specimen = networks(kind)
        before, after = (
            mt.analyses.position.Position(count=2)(one, pics).arrays["mean_distance"].values
            for one in (specimen, GaussianAttentionBias(amplitude=2, sigma=1)(specimen))
        )
        changed = slice(None, 1 if kind == "class token" else None)
        assert len(before) == len(after) and (after < before)[changed].all()


def test_what_does_not_fit_says_why(net: mt.Specimen) -> None:
    with pytest.raises(Uneditable, match="it has no attention over positions"):
        GaussianAttentionBias()(net)
    with pytest.raises(Uneditable, match="dynamic_img_size"):
        GaussianAttentionBias()(opened("vit_tiny_patch16_224", **SMALL, dynamic_img_size=True))
