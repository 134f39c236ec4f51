"""Sums over positions against the plain formulas on whole maps, in every memory layout and whatever the pieces."""

import pytest
import torch

from microtome.numerics.statistics.positions import PIECE_SIZE, firing_rates, iterate_pieces, position_means

# images, units, rows, columns: several images a piece, several pieces an image, a vector
SHAPES = [(5, 3, 4, 6), (3, 8, 9, 9), (4, 300, 1, 1)]


def maps(shape, wide, rectified=True):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = values.relu() if rectified else values
    return values.contiguous(memory_format=torch.channels_last) if wide else values


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("microtome.numerics.statistics.positions.PIECE_SIZE", 256)


@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_cover_every_position_of_every_image_once(shape):
    images, units, positions = shape[0], shape[1], shape[2] * shape[3]
    seen, count = torch.zeros(images, positions), 0
    for at in iterate_pieces(images, positions, units, torch.device("cpu")):
        seen[at] += 1
        count += 1
    assert bool((seen == 1).all()) and count > 1
    (whole,) = iterate_pieces(images, positions, units, torch.device("meta"))
    assert seen[whole].shape == seen.shape


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_plain_formulas_agree(shape, wide, rectified):
    values = maps(shape, wide, rectified)
    values[0, 1] = 0
    told, exact = firing_rates(values.flatten(2)), values.double()
    torch.testing.assert_close(told.energy, exact.square().mean((2, 3)).sum(0), rtol=1e-6, atol=0)
    assert torch.equal(told.fired, (values != 0).flatten(2).any(2).sum(0).double())
    assert told.zero == pytest.approx((values == 0).double().mean((1, 2, 3)).sum().item(), rel=1e-12)
    assert told.negative == pytest.approx((values < 0).double().mean((1, 2, 3)).sum().item(), rel=1e-12)
    torch.testing.assert_close(position_means(values.flatten(2)), exact.mean((2, 3)), rtol=1e-6, atol=1e-7)


def test_by_hand():
    # Two images of two units at three positions.
    values = torch.tensor([[[1.0, 0, 2], [0, 0, 0]], [[0, 0, -3], [0, 0, 4]]])
    told = firing_rates(values)
    assert told.energy.tolist() == [(1 + 4) / 3 + 9 / 3, 16 / 3]
    assert told.fired.tolist() == [2, 1]
    assert (told.zero, told.negative) == pytest.approx((4 / 6 + 4 / 6, 1 / 6))
    assert position_means(values).tolist() == [[1, 0], [-1, 4 / 3]]


def test_what_is_not_a_number_is_neither_zero_nor_negative():
    values = torch.tensor([[[torch.nan, -1.0, 0, 1]]])
    told = firing_rates(values)
    assert told.energy.isnan().all() and told.fired.tolist() == [1]
    assert (told.zero, told.negative) == (1 / 4, 1 / 4)
    assert position_means(values).isnan().all()


def test_sums_keep_their_digits(monkeypatch):
    # 0.1 in float32 is 0.100000001490116; a running float32 sum of a million of them is 1 % off.
    monkeypatch.setattr("microtome.numerics.statistics.positions.PIECE_SIZE", PIECE_SIZE)
    assert position_means(torch.full((1, 1, 1 << 20), 0.1)).item() == pytest.approx(0.100000001490116, rel=1e-6)


def test_half_precision_is_summed_in_float32():
    values = maps((2, 4, 8, 8), wide=False).half()
    told = firing_rates(values.flatten(2))
    torch.testing.assert_close(told.energy, values.double().square().mean((2, 3)).sum(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(position_means(values.flatten(2)), values.double().mean((2, 3)), rtol=1e-6, atol=0)
