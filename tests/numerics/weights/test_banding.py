"""The index by hand, against synthetic weights of known make, shufflings, and the 18 published layers."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from microtome.analyses.banding.wording import verdict
from microtome.numerics.weights.banding import (
    BANDED_A,
    adjust_for_chance,
    band_indices,
    banding_index,
    chance_bands,
    sign_flip_p,
    stripe_orientation,
    strong_share,
    structure_test,
)
from microtome.numerics.weights.nmf import factorise

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[3] / "shared" / "data"))
PUBLISHED = DATA / "weight_banding_published_nmf_uint8.npz"
# Table of A3 in the methods page: A of the published images, what the article says of each.
SCORES = {
    "Simplified-Base": 0.94, "Simplified-90deg": -0.94, "Simplified-fc-only": 0.09, "InceptionV1 - modelzoo": 0.92,
    "InceptionV1 - baseline": 0.58, "InceptionV1 - 90deg": -0.56, "InceptionV1 - fc-only": 0.31, "ResNet50 - modelzoo": 0.78,
    "ResNet50 - baseline": 0.83, "ResNet50 - 90deg": -0.82, "ResNet50 - fc-only": 0.48, "VGG19 - modelzoo": 0.83,
    "VGG19 - baseline": 0.71, "VGG19 - 90deg": -0.74, "VGG19 - fc-only": 0.70, "AlexNet - modelzoo": 0.28,
}  # fmt: skip
UNBANDED = {"AlexNet - modelzoo | conv5", "Simplified-fc-only | 5b", "Simplified-x-avgpool | 5b",
            "InceptionV1 - fc-only | Conv2d_0b_5x5", "ResNet50 - fc-only | conv2d_51"}  # fmt: skip
UNITS, CHANNELS, SIDE = 64, 128, 5


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stripes(seed=1):
    return random(UNITS, CHANNELS, SIDE, 1, seed=seed).expand(-1, -1, -1, SIDE).contiguous()


def noise(seed=2):
    return random(UNITS, CHANNELS, SIDE, SIDE, seed=seed)


def seen(kernels):
    """A of the three maps."""
    return banding_index(band_indices(factorise(kernels.flatten(2)).maps.mT.unflatten(2, kernels.shape[2:])).direction)


def raw(kernels):
    return banding_index(band_indices(kernels).direction)


def waves(angles):
    """Plane waves of random phase in each channel, one angle for each unit."""
    row, col = torch.meshgrid(torch.arange(SIDE) - 2.0, torch.arange(SIDE) - 2.0, indexing="ij")
    turn = angles.view(-1, 1, 1, 1)
    return torch.cos(1.3 * (row * torch.cos(turn) + col * torch.sin(turn)) + 6 * random(UNITS, CHANNELS, 1, 1, seed=5))


def test_by_hand():
    # Centred: [[-1, 1], [-1, 3]] - 0.5 = [[-1.5, 0.5], [-1.5, 2.5]]; T = 2.25 + .25 + 2.25 + 6.25 = 11.
    # Means of rows ∓0.5: η_row = 2 (0.25 + 0.25) / 11; of columns -1.5 and 1.5: η_col = 2 (2.25 + 2.25) / 11.
    found = band_indices(torch.tensor([[[[-1.0, 1.0], [-1.0, 3.0]]]]))
    assert found.rows == pytest.approx(1 / 11)
    assert found.cols == pytest.approx(9 / 11)
    assert found.direction == pytest.approx(-8 / 11)


def test_a_vertical_gradient_is_horizontal_bands_and_stays_so_in_the_maps():
    """Weights that change from top to bottom are stripes along the rows; an axis swapped on the way would turn the sign."""
    down = torch.arange(5.0).view(1, 1, 5, 1).expand(4, 6, 5, 5) * random(4, 6, 1, 1).sign()
    assert raw(down) == pytest.approx(1)
    assert seen(down) == pytest.approx(1, abs=1e-6)
    assert stripe_orientation(down).angle == pytest.approx(0, abs=1e-9)
    assert seen(down.mT.contiguous()) == pytest.approx(-1, abs=1e-6)


def test_transposing_flips_the_sign_and_nothing_else():
    kernels = noise() + 0.5 * stripes()
    one, other = band_indices(kernels), band_indices(kernels.mT.contiguous())
    assert other.direction == pytest.approx(-one.direction, abs=1e-14)
    assert other.rows == pytest.approx(one.cols, abs=1e-14)
    assert structure_test(kernels.mT.contiguous()).z == pytest.approx(structure_test(kernels).z)
    assert stripe_orientation(kernels.mT.contiguous()).angle == pytest.approx(90 - stripe_orientation(kernels).angle)
    assert seen(kernels.mT.contiguous()) == pytest.approx(-seen(kernels), abs=0.01)


# What each kind of weights must give: raw A, and A of the maps, where the table of A5 in the methods page says so.
@pytest.mark.parametrize(
    ("kernels", "own", "maps", "slack"),
    [
        pytest.param(noise(), 0.0, 0.0, 0.03, id="noise"),
        pytest.param(stripes(), 1.0, 1.0, 1e-5, id="horizontal"),
        pytest.param(stripes().mT.contiguous(), -1.0, -1.0, 1e-5, id="vertical"),
        pytest.param(waves(torch.full((UNITS,), math.pi / 4)), 0.0, 0.0, 0.02, id="all at 45 degrees"),
        pytest.param(waves(torch.linspace(0, math.pi, UNITS + 1)[:-1]), 0.0, 0.0, 0.06, id="one angle for each unit"),
        pytest.param(random(UNITS, CHANNELS, 1, 1) * torch.ones(5, 5).index_fill(0, torch.tensor([0, 4]), 0).index_fill(
            1, torch.tensor([0, 4]), 0) + 0.5 * noise(), 0.0, 0.0, 0.04, id="centre and surround"),
        # Stripes of variance v beside noise of 1: energies 20 v and 24, and each axis keeps 4 of the noise, so A = 20 v / (20 v + 24).
        # The table's raw A (.39, .14, .06) are those of v = .77 times 1, .25, .1; its maps have .97, .81, .40.
        pytest.param(0.77**0.5 * stripes() + noise(), 0.39, 0.97, 0.03, id="as much noise"),
        pytest.param(0.1925**0.5 * stripes() + noise(), 0.14, 0.81, 0.05, id="four times the noise"),
        pytest.param(0.077**0.5 * stripes() + noise(), 0.06, 0.40, 0.08, id="ten times the noise"),
        pytest.param(torch.cat([stripes()[:21], noise()[21:]]), 21 / 64, 21 / 64, 0.03, id="a third of the units"),
    ],
)  # fmt: skip
def test_weights_of_known_make(kernels, own, maps, slack):
    assert raw(kernels) == pytest.approx(own, abs=min(slack, 0.03) + (0.04 if slack == 0.06 else 0))
    assert seen(kernels) == pytest.approx(maps, abs=slack)


def test_smooth_kernels_have_structure_but_no_bands():
    wide = random(UNITS, CHANNELS, SIDE + 4, SIDE + 4)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(wide, 3, 1), 3, 1)
    found = band_indices(smooth)
    rows, cols = chance_bands(5, 5)
    assert abs(banding_index(found.direction)) < 0.03
    assert adjust_for_chance(found.rows, rows).mean() > 0.2  # B alone would call this banded
    assert adjust_for_chance(found.cols, cols).mean() > 0.2
    assert structure_test(smooth).z > 20
    assert abs(structure_test(noise()).z) < 4


@pytest.mark.parametrize("side", [3, 5])
def test_chance_is_the_mean_over_all_shufflings(side):
    """Exactly so for each kernel: the mean over many shufflings comes near, and over all pairs of places it is an identity."""
    kernel = random(1, 4, side, side, seed=3)
    generator = torch.Generator().manual_seed(0)
    flat = kernel.flatten(2)
    many = torch.cat([flat[:, :, torch.randperm(side**2, generator=generator)] for _ in range(4000)]).unflatten(2, (side, side))
    assert band_indices(many).rows.mean() == pytest.approx(chance_bands(side, side)[0], abs=0.01)
    assert chance_bands(side, side)[0] == {3: 2 / 8, 5: 4 / 24}[side]


def test_mean_and_variance_over_shufflings_are_those_of_all_of_them():
    """All 24 orders of a 2 × 2 kernel: z is (seen - mean) / deviation over them."""
    kernel = random(1, 3, 2, 2, seed=4)
    flat = kernel.flatten(2)
    every = torch.cat([flat[:, :, list(order)] for order in itertools.permutations(range(4))]).unflatten(2, (2, 2))
    sums = band_indices(every).rows + band_indices(every).cols
    own = band_indices(kernel).rows + band_indices(kernel).cols
    assert structure_test(kernel).z == pytest.approx(float((own[0] - sums.mean()) / sums.std()), rel=1e-9)
    two = torch.cat([kernel, random(1, 3, 2, 2, seed=6)])
    assert structure_test(two).z != structure_test(kernel).z


def test_random_transposition_by_hand_and_by_size():
    # two units of D = 1 and 0.5: of the four sign pairs two reach |sum| = 1.5, so p tends to 1/2
    assert sign_flip_p(np.array([1.0, 0.5]), draws=4000) == pytest.approx(0.5, abs=0.04)
    assert sign_flip_p(np.full(64, 0.01)) == 1 / 1000  # tiny but of one sign: significant, and of no size
    assert sign_flip_p(band_indices(noise()).direction) > 0.01
    assert sign_flip_p(np.array([0.3])) == 1
    assert math.isnan(sign_flip_p(np.array([math.nan])))
    drawn = [sign_flip_p(np.linspace(-1, 1.2, 30), seed=seed) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_angles_other_than_the_axes():
    row, col = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    for angle in (-60, -30, 0, 20, 45, 90):
        turn = math.radians(angle)  # a stripe that rises to the right by `angle`, rows downwards
        ramp = (row * math.cos(turn) + col * math.sin(turn))[None, None]
        assert stripe_orientation(ramp).angle == pytest.approx(angle)
        assert stripe_orientation(ramp).coherence == pytest.approx(1)
    assert stripe_orientation(noise()).coherence < 0.02
    assert math.isnan(stripe_orientation(torch.ones(2, 2, 3, 3)).angle)


def test_units_that_do_not_vary_are_left_out_and_all_of_them_give_nothing():
    kernels = noise()[:4]
    kernels[0], kernels[1] = 0.0, 0.1
    found = band_indices(kernels)
    assert np.isnan(found.direction).tolist() == [True, True, False, False]
    assert banding_index(found.direction) == pytest.approx(found.direction[2:].mean())
    nothing = band_indices(torch.full((2, 3, 3, 3), 0.3))
    assert math.isnan(banding_index(nothing.direction))
    assert math.isnan(strong_share(nothing.direction))
    assert math.isnan(structure_test(torch.zeros(2, 3, 3, 3)).z)


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.is_file():
        pytest.skip(f"the published layers are not at {PUBLISHED} (set MICROTOME_DATA)")
    with np.load(PUBLISHED) as held:
        return {name: band_indices(torch.from_numpy(held[name]).float().permute(0, 3, 1, 2)).direction for name in held}


def test_the_published_layers_have_their_sign_size_and_order(published):
    told = {name.split(" | ")[0]: banding_index(values) for name, values in published.items() if "x-avgpool" not in name}
    assert len(published) == 18
    for name, score in SCORES.items():
        assert told[name] == pytest.approx(score, abs=0.01), name
    assert sorted(told, key=lambda name: told[name])[:2] == ["Simplified-90deg", "ResNet50 - 90deg"]
    # 98 % of ResNet-50's units are banded, 59 % without its pooling, by η_row - η_col > .5
    shares = {name: float((published[f"ResNet50 - {name} | conv2d_51"] > 0.5).mean()) for name in ("baseline", "fc-only")}
    assert shares["baseline"] == pytest.approx(0.98, abs=0.015)
    assert shares["fc-only"] == pytest.approx(0.59, abs=0.015)


def test_the_rule_parts_the_published_layers(published):
    assert {name for name, values in published.items() if abs(banding_index(values)) < BANDED_A} == UNBANDED


def test_turned_inputs_turn_the_published_bands(published):
    for name in ("Simplified", "InceptionV1", "ResNet50", "VGG19"):
        (base,) = (banding_index(v) for k, v in published.items() if k.startswith(name) and "base" in k.lower())
        (turned,) = (banding_index(v) for k, v in published.items() if k.startswith(name) and "90deg" in k)
        assert turned == pytest.approx(-base, abs=0.05)
        assert abs(turned) >= BANDED_A


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.78, 0.19, 0.23, 0.01, 0.1), "horizontal bands"),
        ((-0.60, -0.2, 0.0, 0.01, 0.1), "vertical bands"),
        ((0.78, 0.1, 0.3, 0.9, 0.9), "no more bands than random weights give"),
        ((0.3, 0.05, 0.2, 0.0, 0.1), "no bands but a horizontal tendency"),
        ((-0.3, -0.2, -0.05, 0.0, 0.1), "no bands but a vertical tendency"),
        ((0.3, 0.05, 0.2, 0.0, 0.4), "no bands"),  # another layer of the twin reaches as far
        ((0.3, -0.05, 0.2, 0.0, 0.1), "no bands"),
        ((0.3, math.nan, math.nan, math.nan, 0.0), "no bands"),
        ((math.nan, 0.0, 0.2, 0.0, 0.0), "no index, since the maps do not vary"),
    ],
)
def test_chance_is_no_finding(numbers: tuple[float, ...], said: str) -> None:
    assert verdict(*numbers) == said
