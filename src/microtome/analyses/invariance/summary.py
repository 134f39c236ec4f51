"""What the views amount to, as arrays: distances, probabilities and consistency, and what the strides do.

Every array stands twice where the untrained twin was shown the same: once with the prefix "twin_".
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import xarray as xr

from microtome.analyses.invariance.plan import WarpPlan
from microtome.analyses.invariance.warps import WARPS, Warp
from microtome.finding import array
from microtome.numerics.statistics.equivariance import view_agreement
from microtome.numerics.statistics.intervals import Interval, nan_mean, ratio_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.tally import Rows

STRIDE_MEASURES = ("1 px", "half a stride", "one stride")
FLIP_WARPS = {0: "none", 1: "left and right", 2: "top and bottom"}
NEGLIGIBLE_DISTANCE = 16  # shifts up to this part of the side count as small


def warp_distance_arrays(plan: WarpPlan, runs: Mapping[str, Rows], between: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Distances by warp, amount and layer, raw and as fractions of the distance between different images.

    `between` (image, layer) are the distances of each image to the others.
    """
    warps, layers = list(plan.amounts), list(plan.names)
    longest = max(map(len, plan.amounts.values()))
    value = np.full((len(warps), longest), np.nan)
    for place, amounts in enumerate(plan.amounts.values()):
        value[place, : len(amounts)] = amounts
    found = {"amount_value": array(value, ("warp", "amount"), "px, times or degrees", {"warp": warps})}
    for prefix, rows in runs.items():
        twin = "untrained twin: " if prefix else ""
        told = _finite_values(rows.column("distance"))
        every = np.full((*value.shape, len(layers)), np.nan)
        change: list[list[Interval]] = []
        for place, warp in enumerate(warps):
            own = [view_column(plan, told, warp, amount) for amount in plan.amounts[warp]]
            every[place, : len(own)] = means = np.stack([_mean(one) for one in own])
            drawn = slice(1, None) if warp == "flip" else slice(None)  # bars of nothing say nothing
            amounts = _amount_coordinate(plan, warp)[drawn]
            found[f"{prefix}distance/{warp}"] = array(
                means.T[:, drawn],
                ("layer", "amount"),
                "fraction of the norm",
                {"layer": layers, "amount": amounts},
                f"{twin}distance",
            )
            moving = np.mean(
                [one for one, amount in zip(own, plan.amounts[warp], strict=True) if amount != identity_amount(warp)], axis=0
            )
            apart = _finite_values(between[prefix])
            change.append([ratio_interval(moving[:, layer], apart[:, layer]) for layer in range(len(layers))])
        found[f"{prefix}distance"] = array(
            every, ("warp", "amount", "layer"), "fraction of the norm", {"warp": warps, "layer": layers}, f"{twin}distance"
        )
        both = {"warp": warps, "layer": layers}
        for at, name in enumerate(("change", "change_low", "change_high")):
            values = [[one[at] for one in row] for row in change]
            title = "" if at else "twin's distance" if prefix else "distance"
            found[prefix + name] = array(values, ("warp", "layer"), "1: another image", both, title)
        found[f"{prefix}apart"] = array(
            _mean(_finite_values(between[prefix])),
            ("layer",),
            "fraction of the norm",
            {"layer": layers},
            f"{twin}between images",
        )
    return found


def answer_arrays(plan: WarpPlan, runs: Mapping[str, Rows]) -> dict[str, xr.DataArray]:
    """The probability of the target by warp and amount, and how often the answer stays; nothing without class scores."""
    if (runs[""].column("answer") < 0).all():
        return {}
    warps = list(plan.amounts)
    found: dict[str, xr.DataArray] = {}
    chance = runs[""].column("chance")
    told = [[bounded_mean_interval(view_column(plan, chance, warp, amount)) for amount in plan.amounts[warp]] for warp in warps]
    longest = max(map(len, told))
    for at, name in enumerate(("probability", "probability_low", "probability_high")):
        padded = np.array([[*(one[at] for one in row), *[np.nan] * (longest - len(row))] for row in told])
        found[name] = array(padded, ("warp", "amount"), "1", {"warp": warps}, "probability" if not at else "")
        for warp, row in zip(warps, told, strict=True):
            coordinate = {"amount": _amount_coordinate(plan, warp)}
            found[f"{name}/{warp}"] = array(
                [one[at] for one in row], ("amount",), "1", coordinate, "probability" if not at else ""
            )
    limit = max(min(plan.size) // NEGLIGIBLE_DISTANCE, 1)
    small: dict[Warp, list[float]] = {
        warp: [amount for amount in amounts if abs(amount) <= limit]
        for warp, amounts in plan.amounts.items()
        if warp.endswith("shift")
    }
    small = {warp: amounts for warp, amounts in small.items() if len(amounts) > 1}
    if small:
        coords = {"warp": list(small)}
        for prefix, rows in runs.items():
            answer = rows.column("answer")
            stay = [
                bounded_mean_interval(view_agreement(np.stack([view_column(plan, answer, warp, one) for one in some], axis=1)))
                for warp, some in small.items()
            ]
            for at, name in enumerate(("consistency", "consistency_low", "consistency_high")):
                title = "" if at else f"{'untrained twin: ' if prefix else ''}same answer"
                found[prefix + name] = array([one[at] for one in stay], ("warp",), "fraction of pairs", coords, title)
        largest = [max(map(abs, some)) for some in small.values()]
        found["small"] = array(largest, ("warp",), "px", coords, "shifts up to")
    kinds = [len(np.unique(rows.column("answer")[:, -2:][rows.column("answer")[:, -2:] >= 0])) for rows in runs.values()]
    found["answers"] = array(kinds, ("source",), "classes", {"source": ["network", "untrained twin"]}, "different answers")
    return found


def stride_arrays(plan: WarpPlan, runs: Mapping[str, Rows]) -> dict[str, xr.DataArray]:
    """Where layers have a grid: what shifts by 1 px, half and a whole stride do to units' means and to maps."""
    kept = [place for place, stride in enumerate(plan.strides) if stride]
    if not kept:
        return {}
    layers = {"layer": [plan.names[place] for place in kept]}
    both = layers | {"measure": list(STRIDE_MEASURES)}
    found = {"stride": array([plan.strides[place] for place in kept], ("layer",), "px", layers)}
    for prefix, rows in runs.items():
        twin = "untrained twin: " if prefix else ""
        for name, column in (("pooled", "pooled"), ("equivariance", "misfit")):
            values = _mean(_finite_values(rows.column(column)))[kept]
            found[prefix + name] = array(values, ("layer", "measure"), "fraction of the norm", both, f"{twin}distance")
        pooled = found[f"{prefix}pooled"].values
        wide = (found["stride"].values > 1) & (pooled[:, 2] > 0)
        ratio = np.divide(pooled[:, :2].max(1), pooled[:, 2], out=np.full(len(kept), np.nan), where=wide)
        found[f"{prefix}aliasing"] = array(ratio, ("layer",), "1", layers, f"{twin}broken over whole strides")
    return found


def view_column(plan: WarpPlan, column: Any, warp: Warp, amount: float) -> Any:
    """One view's part of a column (image, view, …); where nothing is changed, that of the unmoved images, or no distance."""
    if amount != identity_amount(warp):
        return column[:, plan.views.index((warp, amount))]
    return column[:, -1 if warp == "crop_shift" else -2] if column.ndim == 2 else np.zeros_like(column[:, 0])


def _finite_values(values: Any) -> Any:
    return np.where(np.isfinite(values), values, np.nan)


def _mean(values: Any) -> Any:
    return nan_mean(np.moveaxis(values, 0, -1))


def identity_amount(warp: str) -> float:
    """The amount of the warp that changes nothing."""
    return WARPS[cast(Warp, warp)][1]


def _amount_coordinate(plan: WarpPlan, warp: Warp) -> list[Any]:
    return [FLIP_WARPS[int(one)] if warp == "flip" else one for one in plan.amounts[warp]]
