"""Score-CAM against a plain loop over masked images, and maps without a place."""

import pytest
import torch

from map_networks import flattened, noise, opened
from microtome.instruments.attribution import attribution_maps, cell_positions, map_kind
from microtome.instruments.attribution.kinds.scorecam import unit_masks
from microtome.numerics.receptive.geometry import even_tiling


@pytest.mark.parametrize("layer", ["1", "3"])
def test_equals_whole_passes_over_masked_images(layer):
    specimen, x, classes = opened(flattened(9, 13), 9, 13), noise(2, 9, 13), torch.tensor([0, 2])
    net = specimen.net
    _, (maps,) = attribution_maps(specimen, [layer], x, lambda _: [classes], map_kind("scorecam"))
    where = cell_positions(specimen, [layer], x)[layer]
    with torch.no_grad():
        activation = net[: int(layer) + 1](x)
        wanted = []
        for image, maps_of_image, wanted_class in zip(x, activation, classes, strict=True):
            scores = []
            for unit in maps_of_image:
                mask = unit_masks(unit[None], where, (9, 13)).float()
                scores.append(net(image[None] * mask[:, None])[0, wanted_class] - net(0 * image[None])[0, wanted_class])
            weights = torch.stack(scores).softmax(0)
            wanted.append((weights[:, None, None] * maps_of_image).sum(0))
    wanted = torch.stack(wanted)
    assert torch.allclose(maps[layer], wanted, atol=1e-5 * float(wanted.abs().max()))


def test_masks_reach_from_0_to_1_and_are_zero_where_a_map_is_constant():
    heat = torch.tensor([[[0.0, 2.0], [4.0, 1.0]], [[3.0, 3.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = unit_masks(heat, even_tiling((8, 8), (2, 2)), (8, 8))
    assert (float(masks[0].min()), float(masks[0].max())) == (0.0, 1.0)
    assert float(masks[0, 7, 0]) == 1.0
    assert not bool(masks[1:].any())
    plain = torch.nn.functional.interpolate(heat[:1, None].double(), size=(8, 8), mode="bilinear")[:, 0]
    assert torch.allclose(masks[:1], (plain - plain.min()) / (plain.max() - plain.min()))
