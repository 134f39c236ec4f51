"""Which images of a set are meant: places, also counted from the end, or one truth value for each image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import BadOption

Places = Sequence[int] | npt.NDArray[Any]


def resolve_indices(indices: Places | None, count: int) -> npt.NDArray[np.int64]:
    """Places from 0 to `count` - 1, int64, in the order given; all for None.

    Raises:
        BadOption: a place that does not exist, or no places at all.
    """
    if indices is None:
        return np.arange(count)
    given = np.asarray(indices)
    if given.dtype == bool and given.shape == (count,):
        return np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise BadOption(f"indices should be a list of whole numbers below {count}, or {count} truth values.")
    if given.size and (given.min() < -count or given.max() >= count):
        raise BadOption(f"There is no image {given[np.abs(given).argmax()]}: there are {count}, from 0 to {count - 1}.")
    return given.astype(np.int64) % count
