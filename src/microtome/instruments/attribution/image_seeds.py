"""Random numbers for each image from its own values: the same in any batch, and no global random state is touched."""

import zlib

import torch
from torch import Tensor


def image_seed(image: Tensor) -> int:
    """A seed that follows from the values of one image."""
    return zlib.crc32(image.detach().cpu().contiguous().numpy().tobytes())


def image_noise(x: Tensor, number: int) -> Tensor:
    """Standard normal noise for each image of `x` (image, rgb, row, col), the draw of that number."""
    rows: list[Tensor] = []
    for image in x:
        generator = torch.Generator().manual_seed((image_seed(image) << 20) + number)
        rows.append(torch.randn(image.shape, generator=generator))
    return torch.stack(rows).to(x)
