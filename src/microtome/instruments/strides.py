"""Which layers read some pixels of their input more often than others: windows whose size their stride does not divide."""

from typing import NamedTuple

from torch import nn

from microtome.numerics.receptive.evenness import phase_coverage
from microtome.numerics.receptive.positions import as_pair
from microtome.specimen.specimen import Specimen


class UnevenReader(NamedTuple):
    """A layer that reads unevenly, (rows, cols): its kernel, its stride, how often it reads the rarest and the commonest pixel."""

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    reads: tuple[tuple[int, int], tuple[int, int]]
    pool: bool


def uneven_readers(specimen: Specimen) -> list[UnevenReader]:
    """Convolutions and pools of the specimen, in execution order, that read some pixels more often than others.

    Pools that are functions and no modules have no name and are not among them.
    """
    made: list[UnevenReader] = []
    for name, module in ((layer.name, specimen.net.get_submodule(layer.path)) for layer in specimen.layers):
        pool = isinstance(module, nn.MaxPool2d | nn.AvgPool2d)
        if not (pool or isinstance(module, nn.Conv2d)):
            continue
        kernel, stride = as_pair(module.kernel_size), as_pair(module.stride or module.kernel_size)
        dilation = as_pair(getattr(module, "dilation", 1))
        counts = [phase_coverage(k, s, d) for k, s, d in zip(kernel, stride, dilation, strict=True)]
        reads = tuple((int(count.min()), int(count.max())) for count in counts)
        if any(low != high for low, high in reads):
            made.append(UnevenReader(name, kernel, stride, (reads[0], reads[1]), pool))
    return made
