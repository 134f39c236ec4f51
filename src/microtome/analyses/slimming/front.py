"""Which candidates no other beats in accuracy, latency, parameters and memory at once, the full network included."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.finding import array
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.pareto import pareto_front

REPAIR_ORDER = (
    "fine-tune",
    "norms",
    "none",
    "linear",
)  # the first that was measured counts; chosen before its accuracy is known


def front_arrays(
    candidates: Sequence[SmallerNetwork], arrays: Mapping[str, xr.DataArray], full_accuracy: float
) -> dict[str, xr.DataArray]:
    """The accuracy of every candidate after the most thorough of its repairs, and whether it is on the Pareto front."""
    names = [candidate.name for candidate in candidates]
    accuracy = np.full(len(names), np.nan)
    repairs = np.full(len(names), "not measured", dtype=object)
    for repair in REPAIR_ORDER:
        if repair in arrays["accuracy"].repair.values:
            own = arrays["accuracy"].sel(repair=repair).values
            taken = np.isnan(accuracy) & np.isfinite(own)
            accuracy[taken], repairs[taken] = own[taken], repair
    left = [1 - arrays[name].values for name in ("parameters_saved", "memory_saved")]
    points = np.stack([accuracy, arrays["latency"].values, *left], axis=1)
    front = pareto_front(np.vstack([points, [full_accuracy, 1.0, 1.0, 1.0]]), [True, False, False, False])[:-1]
    groups = [f"{each.kind}, on the front" if on else each.kind for each, on in zip(candidates, front, strict=True)]
    rows = {"candidate": names}
    return {
        "front_accuracy": array(accuracy, ("candidate",), FRACTION, rows, "accuracy"),
        "front_repair": array(repairs.astype(str), ("candidate",), "text", rows, "repair"),
        "on_front": array(front.astype(np.int64), ("candidate",), "1", rows, "on the Pareto front"),
        "front_kind": array(groups, ("candidate",), "text", rows, "candidate"),
    }
