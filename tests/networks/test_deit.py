"""The mini DeiT: its tokens, blocks and parameters by hand, and attention that is written out."""

import torch

from microtome import networks


def test_parameters_by_hand() -> None:
    """Patches, class token and positions, six blocks of attention and an MLP three times as wide, last norm and head."""
    block = 2 * 2 * 64 + (64 * 192 + 192) + (64 * 64 + 64) + (64 * 192 + 192) + (192 * 64 + 64)
    wanted = (3 * 64 * 64 + 64) + 64 + 65 * 64 + 6 * block + 2 * 64 + (64 * 10 + 10)
    assert sum(p.numel() for p in networks.build("mini_deit").parameters()) == wanted


def test_tokens_are_the_class_and_8_by_8_patches_and_attention_maps_can_be_watched() -> None:
    net = networks.build("mini_deit", num_classes=3).eval()
    seen = []
    for block in net.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert [tuple(one.shape) for one in seen] == [(2, 2, 65, 65)] * 6  # never with fused attention
    assert all(torch.allclose(one.sum(-1), torch.ones(2, 2, 65)) for one in seen)


def test_options_reach_timm() -> None:
    assert len(networks.build("mini_deit", depth=2).blocks) == 2
    assert networks.build("mini_deit", img_size=32).pos_embed.shape == (1, 17, 64)
