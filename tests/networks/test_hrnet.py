"""The mini HRNet: places and units of its branches, and its head against torch's own interpolation and mixing."""

import pytest
import torch
from torch.nn import functional

from microtome import networks


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return networks.build("mini_hrnet").eval()


def test_three_branches_keep_their_places_to_the_end(net) -> None:
    kept = []
    handle = net.stage3[2].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    maps = net.forward_features(torch.randn(2, 3, 64, 64))
    handle.remove()
    assert [tuple(one.shape[1:]) for one in kept[0]] == [(16, 16, 16), (24, 8, 8), (32, 4, 4)]
    assert maps.shape == (2, 64, 16, 16)


def test_the_head_mixes_all_branches_on_the_finest_grid(net) -> None:
    """The means over positions of the mixed maps, by a matrix product over the stacked branches."""
    kept, x = [], torch.randn(2, 3, 64, 64)
    handle = net.stage3[2].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = net(x)
    handle.remove()
    fine, *coarse = kept[0]
    stacked = torch.cat(
        [fine, *(functional.interpolate(one, scale_factor=16 // one.shape[-1], mode="bilinear") for one in coarse)], 1
    )
    conv, norm = net.final_layer[0], net.final_layer[1]
    mixed = torch.einsum("ou,iurc->iorc", conv.weight[:, :, 0, 0], stacked)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    mixed = (mixed - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    assert torch.allclose(logits, net.classifier(mixed.relu().mean((2, 3))), atol=1e-5)


def test_widths_and_classes_are_options() -> None:
    other = networks.build("mini_hrnet", widths=(4, 6, 8), num_classes=3).eval()
    assert other.final_layer[0].in_channels == 18
    assert other(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
