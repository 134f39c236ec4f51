"""Images with edges, colours, grey, black and white, of a size that no power of two divides."""

import numpy as np


def photographs(count: int = 2, rows: int = 45, cols: int = 61, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(3)
    ramp = np.linspace(0, 255, cols)[None, :, None] * np.linspace(0.3, 1, rows)[:, None, None]
    images = np.stack([np.clip(ramp + random.normal(0, 25, (rows, cols, channels)), 0, 255) for _ in range(count)])
    images[:, 10:25, 15:30] = (250, 40, 90)[:channels]
    images[:, 30:38, 5:20] = 128
    images[:, 5, 5], images[:, 6, 6] = 0, 255
    return images.astype(np.uint8)
