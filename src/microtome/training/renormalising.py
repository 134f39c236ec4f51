"""Filters of convolutions held below a radius, so that a few of the first layer do not dominate.

Every filter whose root mean square exceeds the radius is scaled down to it; filters below are not touched. In the paper the radius
is 0.1 for all convolutions, with inputs in -128 … 127: with inputs of other spread the same number means something else, so there is
no default here. That it is done after each update is our reading.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 3.1.
"""

import torch
from torch import nn

from microtome.errors import BadOption


def renormalise(net: nn.Module, radius: float) -> int:
    """How many filters of the convolutions in `net` were scaled down to an RMS of `radius`, in place.

    Raises: BadOption for a radius that is not above 0.
    """
    if not radius > 0:
        raise BadOption(
            f"The radius of filter renormalisation is {radius}; it takes a number above 0, as large as filters may be."
        )
    count = 0
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
                units = 1 if module.transposed else 0  # which axis counts the filters
                weight = module.weight.detach()
                rms = weight.float().square().mean([axis for axis in range(weight.dim()) if axis != units], keepdim=True).sqrt()
                over = rms > radius
                count += int(over.sum())
                module.weight.copy_(torch.where(over, weight * (radius / rms), weight))
    return count
