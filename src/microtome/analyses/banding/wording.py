"""What a layer's banding index amounts to, in words that never call chance a result."""

import math
from typing import Any

import numpy as np

from microtome.finding import Finding
from microtome.numerics.weights.banding import BANDED_A


def verdict(maps: float, low: float, high: float, twin_maps: float, largest_twin: float) -> str:
    """ "horizontal bands", "no bands" and the like.

    `maps` is the index of the maps, `low` and `high` the interval of that of the raw weights, `twin_maps` the index farthest from 0
    among the maps of the untrained twins and `largest_twin` the largest in any of their layers. Bands start at `BANDED_A`, unless a
    twin has them too; a tendency needs an interval that excludes 0 and an index that no layer of any twin reaches.
    """
    if not math.isfinite(maps):
        return "no index, since the maps do not vary"
    kind = "horizontal" if maps > 0 else "vertical"
    if abs(maps) >= BANDED_A:
        same = math.isfinite(twin_maps) and abs(twin_maps) >= BANDED_A
        return "no more bands than random weights give" if same else f"{kind} bands"
    tendency = (low > 0 if maps > 0 else high < 0) and abs(maps) > largest_twin
    return f"no bands but a {kind} tendency" if tendency else "no bands"


def _largest(values: np.ndarray[Any, Any]) -> float:
    """The largest known value; without bound where none is, so that nothing exceeds it."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else math.inf


def layer_verdict(finding: Finding, index: int) -> str:
    """The verdict on the layer at that index."""
    maps, low, high = (float(finding[name].values[index]) for name in ("index_nmf", "index_low", "index_high"))
    ends = np.stack([finding[f"twin_index_nmf_{end}"].values for end in ("low", "high")])
    farthest = np.abs(ends).max(axis=0)
    return verdict(maps, low, high, float(farthest[index]), _largest(farthest))
