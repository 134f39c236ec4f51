"""The mini DenseNet: units after each layer by arithmetic, and a last transition that keeps its places."""

import torch

from microtome import networks


def test_units_grow_by_twelve_and_are_halved_in_transitions() -> None:
    net, x, shapes = networks.build("mini_densenet").eval(), torch.zeros(1, 3, 64, 64), {}
    for name, part in net.features.named_children():
        x = part(x)
        shapes[name] = tuple(x.shape[1:])
    after = 2 * 12 + 4 * 12
    assert shapes["denseblock1"] == (after, 16, 16)
    assert shapes["transition1"] == (after // 2, 8, 8)
    after = after // 2 + 6 * 12
    assert shapes["denseblock2"] == (after, 8, 8)
    assert shapes["transition2"] == (after // 2, 8, 8)  # no pool
    assert shapes["denseblock3"] == (after // 2 + 6 * 12, 8, 8)
    assert networks.build("mini_densenet", growth_rate=4).features.denseblock1.denselayer1.conv2.out_channels == 4


def test_the_bottleneck_of_every_layer_is_twice_the_growth() -> None:
    blocks = [getattr(networks.build("mini_densenet").features, f"denseblock{n}") for n in (1, 2, 3)]
    layers = [layer for block in blocks for layer in block.values()]
    assert [layer.conv1.out_channels for layer in layers] == [24] * 16
