"""Where a network begins: the convolution that looks at the picture."""

from torch import nn

from microtome.specimen.specimen import Specimen


def first_convolution(specimen: Specimen) -> str:
    """The path of the first two-dimensional convolution to run, or an empty text."""
    return next((call.path for call in specimen.anatomy.found.calls if isinstance(call.module, nn.Conv2d)), "")
