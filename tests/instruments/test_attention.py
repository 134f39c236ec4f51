"""Attention maps against the network's own arithmetic; positions and grids; nothing is left behind."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.attention import attention_paths, position_embedding, relative_bias, token_grid, watch_attention

SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def vit(**options: Any) -> mt.Specimen:
    return mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 32}, **(SMALL | options))


def seen(specimen: mt.Specimen) -> tuple[dict[str, Tensor], Tensor]:
    """The maps of two images of noise, and the scores meanwhile."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, *specimen.recipe.size, generator=draw)
    maps: dict[str, Tensor] = {}
    with watch_attention(specimen.net, attention_paths(specimen.net), lambda path, one: maps.update({path: one.clone()})):
        return maps, specimen.run(x)


def test_a_fused_kernel_is_opened_for_the_while_and_its_map_is_the_softmax_of_scaled_products() -> None:
    specimen = vit()
    first = cast(Any, specimen.net).blocks[0]
    assert first.attn.fused_attn  # otherwise this test shows nothing
    kept: list[Tensor] = []
    handle = first.attn.qkv.register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
    maps, _ = seen(specimen)
    handle.remove()
    query, key, _ = kept[0].reshape(2, 17, 3, 3, 8).permute(2, 0, 3, 1, 4).unbind(0)
    assert torch.allclose(maps["blocks.0.attn"], (query @ key.transpose(-2, -1) / 8**0.5).softmax(-1), atol=1e-6)
    assert first.attn.fused_attn and not first.attn.attn_drop._forward_pre_hooks
    assert torch.allclose(maps["blocks.1.attn"].sum(-1), torch.ones(()), atol=1e-5)


def test_the_switch_goes_back_when_looking_fails() -> None:
    specimen = vit()

    def fail(path: str, maps: Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), watch_attention(specimen.net, ["blocks.0.attn"], fail):
        specimen.run(torch.zeros(1, 3, 32, 32))
    attn = cast(Any, specimen.net).blocks[0].attn
    assert attn.fused_attn and not attn.attn_drop._forward_pre_hooks


def test_torchs_own_attention_gives_the_same_answers_while_it_is_watched() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 8, 8)
            self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            return self.head(self.attn(tokens, tokens, tokens, None, False)[0].mean(1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Encoder().eval()
    specimen = mt.open(net, recipe={"size": 32})
    maps, scores = seen(specimen)
    draw = torch.Generator().manual_seed(0)
    assert torch.allclose(scores, net(torch.rand(2, 3, 32, 32, generator=draw)), atol=1e-6)
    assert maps["attn"].shape == (2, 2, 16, 16)
    found = token_grid(specimen, "attn", 16)
    assert found is not None and found.grid == (4, 4) and found.cell == (8.0, 8.0) and found.prefix == 0
    assert token_grid(specimen, "attn", 15) is None


@pytest.mark.parametrize(
    ("options", "prefix"), [({}, 1), ({"class_token": False, "global_pool": "avg"}, 0), ({"reg_tokens": 3}, 4)]
)
def test_grid_prefix_and_positions_of_a_vision_transformer(options: dict[str, Any], prefix: int) -> None:
    specimen = vit(**options)
    found = token_grid(specimen, "blocks.0.attn", 16 + prefix)
    assert found is not None and (found.grid, found.prefix, found.windows) == ((4, 4), prefix, False)
    place = position_embedding(specimen)
    assert place is not None and place.tensor is specimen.net.pos_embed
    assert torch.equal(place.values, cast(Any, specimen.net).pos_embed[0, -16:])


def test_windows_have_the_stage_cells_and_the_tables_bias() -> None:
    specimen = mt.open(
        "timm:swin_tiny_patch4_window7_224", weights=None, recipe={"size": 32}, img_size=32, window_size=4, embed_dim=12,
        depths=(2, 2), num_heads=(2, 3),
    )  # fmt: skip
    assert position_embedding(specimen) is None
    found = token_grid(specimen, "layers.0.blocks.1.attn", 16)
    assert found is not None and (found.grid, found.cell, found.windows) == ((4, 4), (4.0, 4.0), True)
    last = token_grid(specimen, "layers.1.blocks.0.attn", 16)
    assert last is not None and (last.cell, last.windows) == ((8.0, 8.0), False)
    module = cast(Any, specimen.net).layers[0].blocks[0].attn
    made = relative_bias(module)
    assert made is not None and made[1] == (4, 4) and made[0].shape == (2, 16, 16)
    # token 0 is one row above token 4 and one column left of token 5: offset (-1, -1), the table's row (-1 + 3) * 7 + (-1 + 3)
    assert torch.equal(made[0][:, 0, 5], module.relative_position_bias_table[16])
    assert relative_bias(cast(Any, vit().net).blocks[0].attn) is None
