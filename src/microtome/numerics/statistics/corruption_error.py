"""Mean corruption error: errors under corruption over those of a reference network, by name of the corruption.

Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, sec. 4.2; the reference is AlexNet on ImageNet-C. Their table is kept by name:
read in another order, the same numbers give another result.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from microtome.numerics.arrays import Array

SEVERITY_COUNT = 5  # the reference is the mean over so many
REFERENCE_CLEAN = 0.435  # error of AlexNet without corruption
REFERENCE_ERRORS: dict[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}


def corruption_errors(errors: Mapping[str, Float[Array, " severity"]]) -> dict[str, float]:
    """The error of each corruption that has a reference, over the reference's; not a number unless all five severities are known."""
    return {name: _mean_error(values) / REFERENCE_ERRORS[name] for name, values in errors.items() if name in REFERENCE_ERRORS}


def relative_corruption_errors(errors: Mapping[str, Float[Array, " severity"]], clean: float) -> dict[str, float]:
    """What each corruption adds to the clean error, over what it adds to the reference's."""
    return {
        name: (_mean_error(values) - clean) / (REFERENCE_ERRORS[name] - REFERENCE_CLEAN)
        for name, values in errors.items()
        if name in REFERENCE_ERRORS
    }


def _mean_error(values: Float[Array, " severity"]) -> float:
    return float(np.mean(values)) if len(values) == SEVERITY_COUNT else float("nan")
