"""The layers that read some pixels more often than others, each with the kernel size that would be even."""

from collections.abc import Callable
from typing import Any

import numpy as np

from microtome.finding import array
from microtome.instruments.strides import UnevenReader, uneven_readers
from microtome.numerics.receptive.evenness import even_kernel
from microtome.specimen import Specimen


def uneven_layer_arrays(specimen: Specimen) -> dict[str, Any]:
    """The modules with uneven strides, each with the kernel size that would be even; empty where there are none."""
    readers = uneven_readers(specimen)
    if not readers:
        return {}
    parts = {"part": [reader.name for reader in readers]}

    def column(text: Callable[[UnevenReader], str], title: str) -> Any:
        return array(np.array([text(reader) for reader in readers], dtype=object), ("part",), "text", parts, title)

    def kernel(reader: UnevenReader) -> str:
        return f"{'pool' if reader.pool else 'kernel'} {_times_text(reader.kernel)}, stride {_times_text(reader.stride)}"

    return {
        "uneven": column(lambda reader: reader.name, "layer"),
        "kernel": column(kernel, "kernel and stride"),
        "reads": column(lambda reader: " and ".join(f"{a} to {b}" for a, b in dict.fromkeys(reader.reads)), "reads per pixel"),
        "remedy": column(_even_kernel, "even kernel"),
    }


def _even_kernel(reader: UnevenReader) -> str:
    larger = even_kernel(reader.kernel[0], reader.stride[0]), even_kernel(reader.kernel[1], reader.stride[1])
    return _times_text(larger) + (" (changes the function)" if reader.pool else "")


def _times_text(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}"
