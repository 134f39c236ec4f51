"""Order of removal: exactly the fraction asked for on constant and sparse maps, ties at random, patches in part; areas by hand."""

import numpy as np
import pytest
import torch

from microtome.numerics.maps.removal import area_under, first_pixels, removal_order

SIZE = (23, 17)


def heats() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    sparse = torch.zeros(2, *SIZE)
    sparse[:, 3:5, 4:9] = torch.rand(2, 2, 5, generator=draw)  # 97% zeros
    return {
        "constant": torch.full((2, *SIZE), 0.3),
        "zero": torch.zeros(2, *SIZE),
        "sparse": sparse,
        "dense": torch.rand(2, *SIZE),
    }


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("patch", [1, 4])
@pytest.mark.parametrize("name", ["constant", "zero", "sparse", "dense"])
def test_exactly_the_fraction_asked_for_is_removed(name: str, patch: int, fraction: float) -> None:
    order = removal_order(heats()[name], patch)
    count = round(fraction * SIZE[0] * SIZE[1])
    assert first_pixels(order, fraction, SIZE).sum((1, 2)).tolist() == [count, count]
    assert first_pixels(order.flip(1), fraction, SIZE).sum((1, 2)).tolist() == [count, count]
    assert torch.equal(order.sort(1).values, torch.arange(SIZE[0] * SIZE[1]).expand(2, -1))  # every pixel once


def test_the_hottest_pixels_go_first() -> None:
    heat = heats()["dense"]
    order = removal_order(heat, 1)
    values = heat.flatten(1).gather(1, order)
    assert bool((values.diff(dim=1) <= 1e-6).all())
    sparse = heats()["sparse"]
    assert bool((first_pixels(removal_order(sparse, 1), 10 / 391, SIZE) == (sparse > 0)).all())


def test_ties_are_at_random_and_the_same_for_all_maps() -> None:
    order = removal_order(heats()["constant"], 1)
    assert torch.equal(order, removal_order(heats()["zero"] - 5.0, 1)) and torch.equal(order[0], order[1])
    halves = first_pixels(order, 0.5, SIZE)[0].float()
    assert abs(float(halves[:11].mean() - halves[12:].mean())) < 0.15  # not from the top down
    assert not torch.equal(order, removal_order(heats()["constant"], 1, seed=1))


def test_rounding_decides_no_order() -> None:
    constant = heats()["constant"].double()
    noise = 1e-8 * torch.rand(constant.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(removal_order(constant, 4), removal_order(constant + noise, 4))


def test_patches_go_as_a_whole_and_windows_at_the_edge_count_by_their_mean() -> None:
    heat = torch.zeros(1, 5, 5)
    heat[0, 4, 4] = 2.0  # alone in the last patch, whose mean is 2
    heat[0, :2, :2] = 1.0
    removed = first_pixels(removal_order(heat, 2), 5 / 25, (5, 5))[0]
    assert removed.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [4, 4]]
    part = first_pixels(removal_order(heat, 2), 3 / 25, (5, 5))[0]
    assert part.nonzero().tolist() == [[0, 0], [0, 1], [4, 4]]


def test_area_by_hand() -> None:
    fractions = np.array([0.0, 0.25, 0.5, 1.0])
    curve = np.array([[1.0, 0.5, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0]])
    # trapezoids: 0.75 · 0.25 + 0.5 · 0.25 + 0.25 · 0.5
    assert area_under(curve, fractions).tolist() == pytest.approx([0.4375, 1.0])
