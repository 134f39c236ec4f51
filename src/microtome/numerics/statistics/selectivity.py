"""How particular the strongest images of units are: whether they share a class, and whether different units share images.

Source: both are Simpson's index of concentration, Simpson 1949, "Measurement of diversity", Nature 163, in its unbiased form:
the probability that two members drawn without replacement are of the same kind.
"""

import numpy as np
from jaxtyping import Float64, Int64

from microtome.numerics.arrays import Array


def class_agreement(images: Int64[Array, "rank unit"], labels: Int64[Array, " image"]) -> Float64[Array, " unit"]:
    """For each unit the probability that two of its different images have the same class, (unit,).

    `images` holds places into `labels`, -1 for none; a label of -1 is unknown and does not count. Not a number for a unit with
    fewer than two labelled images. Images drawn at random give `chance_class_agreement` on average, whatever their number.
    """
    agreement = np.full(images.shape[1], np.nan)
    for unit, column in enumerate(images.T):
        known = labels[np.unique(column[column >= 0])]
        agreement[unit] = chance_class_agreement(known)
    return agreement


def chance_class_agreement(labels: Int64[Array, " image"]) -> float:
    """The probability that two different images of the whole set have the same class; not a number for fewer than two."""
    known = labels[labels >= 0]
    if len(known) < 2:
        return float("nan")
    counts = np.unique(known, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / (len(known) * (len(known) - 1)))


def shared_image_rate(images: Int64[Array, "rank unit"]) -> float:
    """The probability that an image of one unit and an image of another unit are the same image.

    Each unit's images count once. Units that pick images at random out of N give 1/N on average. Not a number where fewer than
    two units have any image.
    """
    own = [np.unique(column[column >= 0]) for column in images.T]
    sizes = np.array([len(images_of_unit) for images_of_unit in own], dtype=np.float64)
    pairs = sizes.sum() ** 2 - (sizes**2).sum()
    if pairs == 0:
        return float("nan")
    counts = np.unique(np.concatenate(own), return_counts=True)[1].astype(np.float64)
    return float(((counts**2).sum() - counts.sum()) / pairs)
