"""What several corruptions are made of: random fields for each image, blurs, and brightness of pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

Draws = Sequence[np.random.Generator]
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
PLASMA_WIBBLE = 100.0


def drawn_field(
    x: Tensor, draws: Draws, draw: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]], channels: int
) -> Tensor:
    """A random field (image, channel, row, col) beside `x`, each image's from its own generator."""
    shape = (channels, *x.shape[2:])
    fields = np.stack([draw(random, shape) for random in draws]).astype(np.float32)
    return torch.from_numpy(fields).to(x.device)


def luminance(x: Tensor) -> Tensor:
    """The luminance (image, 1, row, col) of RGB; one channel as it is."""
    if x.shape[1] != 3:
        return x[:, :1]
    weights = torch.tensor(LUMINANCE, device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)


def blur_gaussian(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, cut off at four σ, edge pixels repeated."""
    reach = int(4 * sigma + 0.5)
    if not reach:
        return x
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
    count, channels, rows, cols = x.shape
    flat = pad(x.reshape(-1, 1, rows, cols), (reach,) * 4, mode="replicate")
    return conv2d(conv2d(flat, kernel), kernel.transpose(2, 3)).view(count, channels, rows, cols)


def convolve(x: Tensor, kernels: Tensor, mode: str) -> Tensor:
    """Every image with its kernel (image or 1, row, col) of odd sides, by Fourier transforms; `mode` says what lies beyond the edges."""
    reach = kernels.shape[-1] // 2
    if mode == "reflect" and reach >= min(x.shape[2:]):  # a mirror shows no more than the image
        mode = "replicate"
    padded = pad(x, (reach,) * 4, mode=mode)
    sides = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels[:, None], s=sides)
    whole = torch.fft.irfft2(spectrum, s=sides)
    return whole[..., 2 * reach :, 2 * reach :]


def motion_kernels(radius: int, sigma: float, angles: Sequence[float], device: torch.device) -> Tensor:
    """Kernels (image, row, col) of a motion at an angle in degrees: half a Gaussian along a line of 2 · radius + 1 steps."""
    width = 2 * radius + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    kernels = np.zeros((len(angles), 2 * width + 1, 2 * width + 1), dtype=np.float32)
    for kernel, angle in zip(kernels, np.deg2rad(np.asarray(angles, dtype=np.float64)), strict=True):
        rows = -np.ceil(np.arange(width) * np.sin(angle) - 0.5).astype(int)
        cols = -np.ceil(np.arange(width) * np.cos(angle) - 0.5).astype(int)
        np.add.at(kernel, (width + rows, width + cols), weights)
    return torch.from_numpy(kernels).to(device)


def zoom_centre(x: Tensor, factor: float) -> Tensor:
    """The middle of each image enlarged `factor` times, cut to the size it had from its first row and column."""
    rows, cols = x.shape[2:]
    height, width = int(np.ceil(rows / factor)), int(np.ceil(cols / factor))
    top, left = (rows - height) // 2, (cols - width) // 2
    size = (max(rows, round(height * factor)), max(cols, round(width * factor)))
    larger = interpolate(x[:, :, top : top + height, left : left + width], size, mode="bilinear", align_corners=True)
    return larger[:, :, :rows, :cols]


def plasma(x: Tensor, draws: Draws, decay: float) -> Tensor:
    """Clouds (image, 1, row, col) from 0 to 1: midpoint displacement on a torus whose side is the next power of two."""
    side = 1 << max(1, int(max(x.shape[2:]) - 1).bit_length())
    clouds = np.stack([_midpoints(random, side, decay) for random in draws])[:, None, : x.shape[2], : x.shape[3]]
    return torch.from_numpy(clouds.astype(np.float32)).to(x.device)


def _midpoints(random: np.random.Generator, side: int, decay: float) -> NDArray[np.float64]:
    """Heights from 0 to 1 on a torus: squares, then diamonds, of half the step each time; the noise shrinks by `decay`."""
    heights, step, wibble = np.zeros((side, side)), side, PLASMA_WIBBLE

    def displaced(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        return corners / 4 + wibble * random.uniform(-wibble, wibble, corners.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        across = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = displaced(across + np.roll(across, -1, axis=1))
        middles = heights[half::step, half::step]
        heights[::step, half::step] = displaced(middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1))
        heights[half::step, ::step] = displaced(middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0))
        step, wibble = half, wibble / decay
    heights -= heights.min()
    top = heights.max()
    return heights / top if top else heights


def pink_noise(random: np.random.Generator, rows: int, cols: int) -> NDArray[np.float64]:
    """A field (row, col) of mean 0 and variance 1 whose amplitude falls as one over the spatial frequency."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols))
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(random.normal(size=(rows, cols))) / frequency, s=(rows, cols))
    spread = field.std()
    return (field - field.mean()) / spread if spread else field
