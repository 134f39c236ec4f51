"""What a layer's banding index amounts to, in words that never call chance a result."""

import math

import numpy as np

from microtome.finding import Finding
from microtome.numerics.weights.banding import BANDED_A


def verdict(maps: float, low: float, high: float, twin_maps: float, largest_twin: float) -> str:
    """ "horizontal bands", "no bands" and the like.

    `maps` is the index of the maps, `low` and `high` the interval of that of the raw weights, `twin_maps` the index of the
    untrained twin's maps and `largest_twin` the largest in any of its layers. Bands start at `BANDED_A`, unless the twin has them
    too; a tendency needs an interval that excludes 0 and an index that no layer of the twin reaches.
    """
    if not math.isfinite(maps):
        return "no index, since the maps do not vary"
    kind = "horizontal" if maps > 0 else "vertical"
    if abs(maps) >= BANDED_A:
        same = math.isfinite(twin_maps) and abs(twin_maps) >= BANDED_A
        return "no more bands than random weights give" if same else f"{kind} bands"
    tendency = (low > 0 if maps > 0 else high < 0) and abs(maps) > largest_twin
    return f"no bands but a {kind} tendency" if tendency else "no bands"


def layer_verdict(finding: Finding, index: int) -> str:
    """The verdict on the layer at that index."""
    maps, low, high, twin = (
        float(finding[name].values[index]) for name in ("index_nmf", "index_low", "index_high", "twin_index_nmf")
    )
    return verdict(maps, low, high, twin, float(np.abs(np.nan_to_num(finding["twin_index_nmf"].values)).max()))
