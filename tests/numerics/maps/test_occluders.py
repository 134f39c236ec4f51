"""Places, coverage and contrast of occluders: counted by hand and by brute force."""

import numpy as np
import pytest
import torch

from microtome.numerics.maps.occluders import blur, centres, mask_coverage, object_contrast, occluder_starts


@pytest.mark.parametrize(
    ("side", "size", "stride", "wanted"),
    [
        (8, 4, 2, [0, 2, 4]),
        (9, 4, 2, [0, 2, 4, 6]),  # the last is cut: rows 6 to 8
        (8, 4, 3, [0, 3, 6]),
        (5, 5, 1, [0]),
        (224, 32, 16, list(range(0, 193, 16))),
        (7, 2, 3, [0, 3, 6]),
        (9, 2, 5, [0, 5]),  # 10 would lie outside
    ],
)
def test_starts(side, size, stride, wanted):
    assert occluder_starts(side, size, stride).tolist() == wanted


def test_centres_are_the_mean_of_the_covered_pixels():
    """By brute force; the last of 9 px at squares of 4 and stride 2 covers pixels 6 to 8, so that it is centred on 7 and not on 7.5."""
    for side, size, stride in ((9, 4, 2), (8, 4, 2), (11, 4, 3), (7, 2, 3), (5, 5, 1), (64, 9, 7)):
        first = occluder_starts(side, size, stride)
        wanted = [np.mean([pixel for pixel in range(one, one + size) if pixel < side]) for one in first]
        assert centres(first, size, side).tolist() == wanted
    assert centres(occluder_starts(9, 4, 2), 4, 9).tolist() == [1.5, 3.5, 5.5, 7.0]


def test_covered_is_the_mean_of_the_mask_under_the_square():
    mask = torch.rand(2, 11, 9, generator=torch.Generator().manual_seed(0)) > 0.5
    rows, cols = occluder_starts(11, 4, 3), occluder_starts(9, 4, 2)
    found = mask_coverage(mask, rows, cols, 4)
    for i, r, c in np.ndindex(*found.shape):
        window = mask[i, rows[r] : rows[r] + 4, cols[c] : cols[c] + 4]
        assert float(found[i, r, c]) == pytest.approx(float(window.double().mean()))
    assert rows[-1] + 4 > 11  # a square that was cut is among them


def test_an_even_loss_has_no_lift_and_a_loss_on_the_object_alone_all_of_it():
    share = torch.tensor([[[1.0, 0.0], [0.5, 0.0]]])
    even = object_contrast(torch.full((1, 2, 2), 0.3), share)
    assert float(even["lift"]) == pytest.approx(0, abs=1e-12)
    assert float(even["inside"]) == pytest.approx(float(even["outside"]))
    own = object_contrast(torch.tensor([[[0.8, 0.0], [0.0, -0.4]]]), share)
    assert float(own["inside"]) == pytest.approx(0.8 / 1.5)
    assert float(own["outside"]) == pytest.approx(-0.4 / 2.5)
    assert float(own["lift"]) == pytest.approx(1 - 1.5 / 4)
    none = object_contrast(torch.zeros(1, 2, 2), share)
    assert np.isnan(float(none["lift"])) and float(none["inside"]) == 0
    assert np.isnan(float(object_contrast(torch.ones(1, 2, 2), torch.zeros(1, 2, 2))["lift"]))


def test_a_blur_keeps_even_pictures_and_the_variance_of_a_point():
    assert torch.allclose(blur(torch.full((1, 3, 9, 7), 0.4), 1.5), torch.full((1, 3, 9, 7), 0.4))
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    made = blur(point, 2.0)[0, 0].double()
    at = torch.arange(41.0, dtype=torch.float64) - 20
    assert float(made.sum()) == pytest.approx(1, abs=1e-6)
    assert float((made.sum(1) * at**2).sum()) == pytest.approx(4, rel=0.03)  # cut at three standard deviations
