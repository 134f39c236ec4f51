"""The mini Inception: branches stacked in their order, and places by arithmetic."""

import torch

from microtome import networks


def test_places_and_units_block_by_block() -> None:
    net, x, shapes = networks.build("mini_inception").eval(), torch.zeros(1, 3, 64, 64), {}
    for name, part in net.named_children():
        if name.startswith(("Conv2d", "Mixed")):
            x = part(x)
            shapes[name] = tuple(x.shape[1:])
    assert shapes == {
        "Conv2d_1a_3x3": (16, 32, 32), "Conv2d_2a_3x3": (16, 32, 32), "Mixed_5a": (32, 16, 16), "Mixed_5b": (32, 16, 16),
        "Mixed_6a": (64, 8, 8), "Mixed_6b": (64, 8, 8), "Mixed_7a": (64, 8, 8), "Mixed_7b": (64, 8, 8), "Mixed_7c": (64, 8, 8),
    }  # fmt: skip
    assert networks.build("mini_inception", width=8).fc.in_features == 32


def test_a_block_stacks_its_four_branches_in_their_order() -> None:
    torch.manual_seed(0)
    block, x = networks.build("mini_inception").eval().Mixed_7b, torch.randn(2, 64, 8, 8)
    found = block(x)
    wanted = [
        block.branch1x1(x),
        block.branch5x5_2(block.branch5x5_1(x)),
        block.branch3x3dbl_3(block.branch3x3dbl_2(block.branch3x3dbl_1(x))),
        block.branch_pool(torch.nn.functional.avg_pool2d(x, 3, 1, 1)),
    ]
    assert torch.equal(found, torch.cat(wanted, 1))
    assert [tuple(one.shape[1:]) for one in wanted] == [(16, 8, 8)] * 4
