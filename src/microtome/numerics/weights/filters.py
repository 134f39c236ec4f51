"""What the filters of a first layer pass: their power by spatial frequency, what a stride folds, colour, and how much of them is used.

Frequencies are in cycles per pixel, from 0 to 1/2 along each side. A filter's power is that of its transfer function, on a grid of
frequencies finer than its own (zeros around it add nothing), divided so that its sum is the filter's energy (Parseval).

Source: sampling theorem, Shannon 1949; spectra of natural images falling with 1/f², Field 1987; the symptoms are those of Zeiler &
Fergus 2014, arXiv:1311.2901, sec. 4.1, the numbers for them ours.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from microtome.numerics.arrays import Array

MIN_FREQUENCIES = 64  # frequencies along each side
RING_COUNT = 12  # from 0 to 1/2 cycle per pixel


class FrequencyRings(NamedTuple):
    """Rings of equal width about frequency zero: which one each frequency lies in, their middles, their fractions of the plane."""

    ring: Int64[Array, "row col"]
    middle: Float64[Array, " frequency"]
    share: Float64[Array, " frequency"]


def power_spectrum(weight: Float[Tensor, "unit rgb row col"]) -> Float64[Tensor, "unit down across"]:
    """The power of each filter at each frequency (as `frequency_grid` orders them), summed over colours; sums to Σ w²."""
    size = max(MIN_FREQUENCIES, 2 ** int(np.ceil(np.log2(2 * max(weight.shape[2:])))))
    passed = torch.fft.fft2(weight.detach().cpu().double(), s=(size, size))
    return passed.abs().square().sum(1) / size**2


def frequency_grid(size: int) -> Float64[Array, "row col"]:
    """The distance of each of size x size frequencies from zero, cycles per pixel."""
    along = np.fft.fftfreq(size)
    return np.hypot(along[:, None], along[None, :])


def frequency_rings(size: int) -> FrequencyRings:
    """`RING_COUNT` rings up to 1/2 cycle per pixel, and as many of the same width as the corners need beyond."""
    width = 0.5 / RING_COUNT
    ring = np.floor(frequency_grid(size) / width + 1e-9).astype(np.int64)
    count = int(ring.max()) + 1
    return FrequencyRings(ring, (np.arange(count) + 0.5) * width, np.bincount(ring.ravel(), minlength=count) / size**2)


def radial_spectrum(power: Float64[Tensor, "unit row col"]) -> Float64[Array, "unit frequency"]:
    """The fraction of each filter's energy in each ring; not numbers for a filter of zeros."""
    rings = frequency_rings(power.shape[1])
    chosen = np.eye(len(rings.middle))[rings.ring.ravel()]
    energy = power.flatten(1).numpy() @ chosen
    with np.errstate(invalid="ignore"):
        return energy / energy.sum(1, keepdims=True)


def energy_above_nyquist(
    power: Float64[Tensor, "unit row col"], stride: tuple[int, int], natural: bool = False
) -> Float64[Array, " unit"]:
    """The fraction of each filter's energy at frequencies that a grid of that stride cannot carry, and so folds into lower ones.

    `natural`: the energy of its response to images whose power falls with 1/f² (without the mean, f = 0). Each frequency
    stands for the bin about it, so that a filter that passes all alike gives 1 - 1 / (row stride · col stride).
    """
    size = power.shape[1]
    kept = np.outer(*(_carried_fraction(size, step) for step in stride))
    weight = np.ones((size, size))
    if natural:
        distance = frequency_grid(size)
        weight = np.divide(1.0, distance**2, out=np.zeros_like(distance), where=distance > 0)
    energy = power.flatten(1).numpy() * weight.ravel()
    with np.errstate(invalid="ignore"):
        return (energy @ (1 - kept).ravel()) / energy.sum(1)


def _carried_fraction(size: int, stride: int) -> Float64[Array, " frequency"]:
    """How much of the bin about each frequency of one side lies below the Nyquist frequency 1 / (2 stride)."""
    at = size * np.abs(np.fft.fftfreq(size))
    low, high = at - 0.5, np.minimum(at + 0.5, size / 2)  # the last bin is folded at 1/2: both its halves lie below
    return ((np.minimum(high, size / (2 * stride)) - low) / (high - low)).clip(0.0, 1.0)


def centre_frequency(power: Float64[Tensor, "unit row col"]) -> Float64[Array, " unit"]:
    """The mean frequency of each filter's energy, cycles per pixel."""
    flat = power.flatten(1).numpy()
    with np.errstate(invalid="ignore"):
        return flat @ frequency_grid(power.shape[1]).ravel() / flat.sum(1)


def peak_frequency(power: Float64[Tensor, "unit row col"]) -> Float64[Array, " unit"]:
    """The frequency that each filter passes best, cycles per pixel; not a number for a filter of zeros."""
    flat = power.flatten(1).numpy()
    return np.where(flat.sum(1) > 0, frequency_grid(power.shape[1]).ravel()[flat.argmax(1)], np.nan)


def grey_energy(weight: Float[Tensor, "unit rgb row col"]) -> Float64[Array, " unit"]:
    """The fraction of each filter's energy that sees all colours alike: 1 for a grey filter, 1/3 on average for random ones."""
    values = weight.detach().cpu().double()
    grey = values.mean(1).square().sum((1, 2)) * values.shape[1]
    return (grey / values.square().sum((1, 2, 3))).numpy()  # 0 / 0 is not a number: a filter of zeros has no colour


def band_energy(
    power: Float64[Tensor, "unit row col"], low: float, high: float
) -> tuple[Float64[Array, "unit part"], Float64[Array, " part"]]:
    """The fraction of each filter's energy up to `low`, up to `high` and above (cycles per pixel), and of the plane of frequencies."""
    where = np.digitize(frequency_grid(power.shape[1]).ravel() - 1e-9, [low, high])
    chosen = np.eye(3)[where]
    energy = power.flatten(1).numpy() @ chosen
    with np.errstate(invalid="ignore"):
        return energy / energy.sum(1, keepdims=True), chosen.mean(0)


def inner_energy(weight: Float[Tensor, "unit rgb row col"], side: int) -> float:
    """The fraction of all energy in the middle `side` x `side` weights; an even filter has side² / (rows · cols)."""
    rows, cols = weight.shape[2:]
    top, left = (rows - side) // 2, (cols - side) // 2
    values = weight.detach().cpu().double().square()
    return float(values[:, :, top : top + side, left : left + side].sum() / values.sum())


def filter_rms(weight: Float[Tensor, "unit rgb row col"]) -> Float64[Array, " unit"]:
    """The root of each filter's mean square: what Zeiler & Fergus hold below a radius."""
    return weight.detach().cpu().double().square().mean((1, 2, 3)).sqrt().numpy()
