"""What covers a place of an image: grey, the image's mean colour, or a blur of it."""

import torch
from torch import Tensor

from microtome.numerics.maps.occluders import blur
from microtome.specimen import Specimen


def fill_images(specimen: Specimen, x: Tensor, colour: str, size: int) -> Tensor:
    """The covering images (image, rgb, row, col) for the images `x`: mid-"grey", each one's "mean" colour, or itself under a "blur".

    Of images in bands, other than one or three, "grey" is the mean of the recipe.

    The blur's standard deviation is a third of `size` px, the side of what covers.
    """
    if colour == "blur":
        return blur(x, size / 3)
    if colour == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    if specimen.recipe.channels not in (1, 3):  # no grey is known of bands: the mean of the recipe
        return torch.zeros_like(x)
    grey = torch.full((1, *x.shape[2:], 3), 128, dtype=torch.uint8, device=x.device)
    return specimen.recipe.normalise(grey).expand_as(x)
