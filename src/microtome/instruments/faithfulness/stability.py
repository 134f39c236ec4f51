"""How much a map changes with what should hardly change it, and with what should: tiny noise in the image, another class.

Source: max-sensitivity, Yeh et al. 2019, arXiv:1901.09392, def. 2, estimated by the largest of a few random perturbations and divided by
the size of the map; the map of another class, Adebayo et al. 2018, arXiv:1810.03292, sec. 5.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.instruments.faithfulness.methods import MapMethod, MapRequest
from microtome.instruments.faithfulness.removal_trials import Floats
from microtome.numerics.maps.heat import rank_correlation
from microtome.specimen import Specimen

RADIUS = 0.02  # of the range of pixels, 0 to 1


def max_sensitivity(
    method: MapMethod, specimen: Specimen, request: MapRequest, heat: Tensor, draws: int, seed: int = 0, radius: float = RADIUS
) -> Floats:
    """The largest relative change (image,) of the map `heat` of the first class over `draws` perturbed copies of each image.

    Every value of a pixel moves by at most `radius`, drawn uniformly. Not a number where the map is zero everywhere.
    """
    spread = torch.tensor(specimen.recipe.std, dtype=torch.float32).view(1, -1, 1, 1)
    sizes = heat.flatten(1).norm(dim=1)
    largest = torch.zeros(len(heat), dtype=torch.float64)
    for draw in range(draws):
        noise = torch.stack([_noise(request.x.shape[1:], seed, draw, int(place)) for place in request.index])
        moved = request.x + (radius * noise / spread).to(request.x)
        (other,) = method.draw(specimen, replace(request, x=moved, classes=request.classes[:1]))
        change = (other - heat).flatten(1).norm(dim=1) / sizes
        largest = torch.maximum(largest, change.double().cpu())
    return np.where(sizes.cpu().numpy() > 0, largest.numpy(), np.nan)


def map_correlation(first: Tensor, second: Tensor, patch: int) -> Floats:
    """Spearman's rank correlation (image,) of two maps (image, row, col), averaged over patches; NaN for constant maps."""
    # in single precision, so that values that differ by rounding stay equal
    parts = (F.avg_pool2d(heat.double()[:, None], patch, ceil_mode=True).flatten(1).float() for heat in (first, second))
    return rank_correlation(*parts).cpu().numpy()


def _noise(shape: torch.Size, seed: int, draw: int, place: int) -> Tensor:
    """Uniform numbers from -1 to 1, the same for an image whatever stands beside it in its batch."""
    generator = torch.Generator().manual_seed((seed * 1009 + draw) * 1_000_003 + place)
    return torch.rand(shape, generator=generator) * 2 - 1
