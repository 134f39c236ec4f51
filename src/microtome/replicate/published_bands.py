"""The 18 layers that the weight-banding article published, as the direction D of each filter: 1 horizontal stripes, -1 vertical."""

from typing import Any

import numpy as np
import torch

from microtome.numerics.weights.banding import band_indices
from microtome.replicate.claim import RunContext
from microtome.replicate.material import data_file

Values = np.ndarray[Any, Any]
FILE = "weight_banding_published_nmf_uint8.npz"


def published_directions(context: RunContext) -> dict[str, Values]:
    """D by filter for each published layer, by the article's name of the run and of the layer.

    Raises:
        Unmeasurable: the file is not there.
    """
    with np.load(data_file(context, FILE)) as held:
        maps = {name: torch.from_numpy(held[name]).float().permute(0, 3, 1, 2) for name in held}
    directions = {name: band_indices(values).direction for name, values in maps.items()}
    return {name: values[~np.isnan(values)] for name, values in directions.items()}


def ratio_of_means(over: Values, under: Values, draws: int = 4000) -> tuple[float, float, float]:
    """mean(over)/mean(under) of two independent samples, with the 95% percentile interval of their bootstrap."""
    random = np.random.default_rng(0)
    parts = [values[random.integers(0, len(values), (draws, len(values)))].mean(1) for values in (over, under)]
    low, high = np.quantile(parts[0] / parts[1], (0.025, 0.975))
    return float(over.mean() / under.mean()), float(low), float(high)
