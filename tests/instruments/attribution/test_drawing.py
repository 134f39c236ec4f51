"""Maps on the image: the shift of plain upsampling, positive parts, and maps of several layers as one."""

import pytest
import torch

from microtome.instruments.attribution import VisibleLayers
from microtome.instruments.attribution.drawing import (
    bilinear_shift,
    draw_map,
    fuse_maps,
    positive_part,
    resample_map,
    resample_positive,
)
from microtome.numerics.receptive.geometry import Axis, Where, even_tiling, interpolate, resample_area

SIZE = (32, 48)
WHERE = {"a": Where(Axis(0.0, 8.0, 4), Axis(0.0, 8.0, 6)), "b": even_tiling(SIZE, (8, 12))}
PLAIN = VisibleLayers(("a", "b"), WHERE, {})
SMOOTH = VisibleLayers(("a", "b"), WHERE, {}, {"a": (4.0, 4.0), "b": (2.0, 2.0)})


def signed(name: str, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, *WHERE[name].counts, generator=torch.Generator().manual_seed(seed))


def test_plain_upsampling_shifts_a_strided_map_down_and_right():
    assert bilinear_shift(WHERE["a"], SIZE) == pytest.approx((3.5, 3.5))
    assert bilinear_shift(WHERE["b"], SIZE) == pytest.approx((0.0, 0.0))
    assert bilinear_shift(Where(Axis(0.0, 32.0, 7), Axis(15.5, 32.0, 7)), (224, 224)) == pytest.approx((15.5, 0.0))


def test_without_gaussians_positions_are_the_nearest_ones():
    heat = signed("a")
    assert torch.equal(resample_positive(PLAIN, "a", heat, SIZE, (7, 7)), resample_area(heat.relu(), WHERE["a"], SIZE, (7, 7)))
    assert torch.equal(resample_map(PLAIN, "a", heat, SIZE, (7, 7)), resample_area(heat, WHERE["a"], SIZE, (7, 7)))
    assert torch.equal(draw_map(PLAIN, "a", heat, SIZE, (9, 9)), interpolate(heat, WHERE["a"], SIZE, (9, 9)))
    assert torch.equal(positive_part(PLAIN, "a", heat), heat.relu())


def test_with_gaussians_evidence_against_counts_before_the_positive_part_is_taken():
    heat = signed("a")
    assert torch.equal(positive_part(SMOOTH, "a", heat), heat)
    positive = resample_positive(SMOOTH, "a", heat, SIZE, SIZE)
    assert float(positive.min()) == 0.0
    assert torch.allclose(positive, resample_map(SMOOTH, "a", heat, SIZE, SIZE).relu())
    assert float((positive - resample_map(SMOOTH, "a", heat.relu(), SIZE, SIZE)).abs().max()) > 0.01
    for function in (resample_positive, resample_map, draw_map):
        flat = function(SMOOTH, "b", torch.full((1, 8, 12), 3.0), SIZE, (5, 7))
        assert torch.allclose(flat, torch.full_like(flat, 3.0))


@pytest.mark.parametrize("shown", [PLAIN, SMOOTH])
def test_joined_layers_have_equal_say_and_an_empty_one_has_none(shown):
    maps = {"a": signed("a"), "b": 1000 * signed("b", 1)}
    joined = fuse_maps(shown, maps, ("a", "b"), SIZE, (8, 12))
    assert joined.shape == (2, 8, 12)
    parts = [draw_map(shown, name, maps[name], SIZE, (8, 12)) for name in ("a", "b")]
    wanted = sum(part / part.abs().mean((1, 2), keepdim=True) for part in parts) / 2
    assert torch.allclose(joined.double(), wanted, atol=1e-5)
    empty = fuse_maps(shown, {"a": maps["a"], "b": torch.zeros(2, 8, 12)}, ("a", "b"), SIZE, (8, 12))
    assert torch.allclose(empty.double(), parts[0] / parts[0].abs().mean((1, 2), keepdim=True) / 2, atol=1e-5)
