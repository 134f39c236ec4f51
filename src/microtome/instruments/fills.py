"""What covers a place of an image: grey, the image's mean colour, or a blur of it."""

import torch
from torch import Tensor

from microtome.numerics.maps.occluders import blur
from microtome.specimen import Specimen


def fill_images(specimen: Specimen, x: Tensor, colour: str, size: int) -> Tensor:
    """The covering images (image, rgb, row, col) for the images `x`: mid-"grey", each one's "mean" colour, or itself under a "blur".

    The blur's standard deviation is a third of `size` px, the side of what covers.
    """
    if colour == "blur":
        return blur(x, size / 3)
    if colour == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    grey = torch.full((1, *x.shape[2:], 3), 128, dtype=torch.uint8, device=x.device)
    return specimen.recipe.normalise(grey).expand_as(x)
