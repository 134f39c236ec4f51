"""What the views amount to, as arrays: distances, probabilities and consistency, and what the strides do.

Every array stands twice: once with the prefix "twin_", for untrained twins, of which each was shown a part of the images in turn. Their
intervals are the smallest and the largest of the twins.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import xarray as xr

from microtome.analyses.invariance.plan import WarpPlan
from microtome.analyses.invariance.warps import WARPS, Warp
from microtome.finding import array
from microtome.instruments.untrained_twins import TWINS, split_turns
from microtome.numerics.statistics.equivariance import view_agreement
from microtome.numerics.statistics.intervals import Interval, nan_mean, ratio_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.numerics.statistics.twins import twin_range
from microtome.tally import Rows

STRIDE_MEASURES = ("1 px", "half a stride", "one stride")
FLIP_WARPS = {0: "none", 1: "left and right", 2: "top and bottom"}
NEGLIGIBLE_DISTANCE = 16  # shifts up to this part of the side count as small


def warp_distance_arrays(
    plan: WarpPlan, runs: Mapping[str, Rows], between: Mapping[str, Any], twins: int
) -> dict[str, xr.DataArray]:
    """Distances by warp, amount and layer, raw and as fractions of the distance between different images.

    `between` (image, layer) are the distances of each image to the others.
    """
    warps, layers = list(plan.amounts), list(plan.names)
    longest = max(map(len, plan.amounts.values()))
    value = np.full((len(warps), longest), np.nan)
    for place, amounts in enumerate(plan.amounts.values()):
        value[place, : len(amounts)] = amounts
    arrays = {"amount_value": array(value, ("warp", "amount"), "px, times or degrees", {"warp": warps})}
    both = {"warp": warps, "layer": layers}
    for prefix, rows in runs.items():
        title = f"{TWINS}: " if prefix else ""
        distance, apart = _finite_values(rows.column("distance")), _finite_values(between[prefix])
        every = np.full((*value.shape, len(layers)), np.nan)
        change: list[list[Interval]] = []
        for place, warp in enumerate(warps):
            by_amount = {amount: view_column(plan, distance, warp, amount) for amount in plan.amounts[warp]}
            every[place, : len(by_amount)] = means = np.stack([_mean(values) for values in by_amount.values()])
            drawn = slice(1, None) if warp == "flip" else slice(None)  # bars of nothing say nothing
            coords = {"layer": layers, "amount": _amount_coordinate(plan, warp)[drawn]}
            unit = "fraction of the norm"
            arrays[f"{prefix}distance/{warp}"] = array(means.T[:, drawn], ("layer", "amount"), unit, coords, f"{title}distance")
            moved = [values for amount, values in by_amount.items() if amount != identity_amount(warp)]
            moving = np.mean(moved, axis=0)
            ratio = _ratio_over_twins(twins) if prefix else ratio_interval
            change.append([ratio(moving[:, layer], apart[:, layer]) for layer in range(len(layers))])
        arrays[f"{prefix}distance"] = array(
            every, ("warp", "amount", "layer"), "fraction of the norm", both, f"{title}distance"
        )
        for at, name in enumerate(("change", "change_low", "change_high")):
            values = [[interval[at] for interval in row] for row in change]
            shown = "" if at else "distance in the twins" if prefix else "distance"
            arrays[prefix + name] = array(values, ("warp", "layer"), "1: another image", both, shown)
        arrays[f"{prefix}apart"] = array(
            _mean(apart), ("layer",), "fraction of the norm", {"layer": layers}, f"{title}between images"
        )
    return arrays


def _ratio_over_twins(twins: int) -> Callable[[Any, Any], Interval]:
    """A function that gives the ratio of the means of all images, and the smallest and largest such ratio of one twin."""

    def ratio(values: Any, over: Any) -> Interval:
        known = np.isfinite(values) & np.isfinite(over)
        upper, lower = (np.where(known, each, np.nan) for each in (values, over))
        turns = zip(split_turns(upper, max(twins, 1)), split_turns(lower, max(twins, 1)), strict=True)
        each = np.array([float(nan_mean(above) / nan_mean(below)) if (below > 0).any() else np.nan for above, below in turns])
        return Interval(*(float(end) for end in twin_range(each)))

    return ratio


def _mean_over_twins(values: Any, twins: int) -> Interval:
    """The mean over the twins, and the smallest and largest mean of one."""
    return Interval(*(float(end) for end in twin_range([nan_mean(turn) for turn in split_turns(values, max(twins, 1))])))


def answer_arrays(plan: WarpPlan, runs: Mapping[str, Rows], twins: int, twin_answers: float) -> dict[str, xr.DataArray]:
    """The probability of the target by warp and amount, and how often the answer stays; nothing without class scores.

    `twin_answers` is how many classes one of the `twins` predicts at most.
    """
    if (runs[""].column("answer") < 0).all():
        return {}
    arrays = _probability_arrays(plan, runs[""].column("chance"))
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
            agreement = [
                view_agreement(np.stack([view_column(plan, answer, warp, amount) for amount in amounts], axis=1))
                for warp, amounts in small.items()
            ]
            stay = [_mean_over_twins(each, twins) if prefix else bounded_mean_interval(each) for each in agreement]
            for at, name in enumerate(("consistency", "consistency_low", "consistency_high")):
                title = "" if at else f"{f'{TWINS}: ' if prefix else ''}same answer"
                arrays[prefix + name] = array(
                    [interval[at] for interval in stay], ("warp",), "fraction of pairs", coords, title
                )
        largest = [max(map(abs, amounts)) for amounts in small.values()]
        arrays["small"] = array(largest, ("warp",), "px", coords, "shifts up to")
    unmoved = runs[""].column("answer")[:, -2:]
    kinds = [len(np.unique(unmoved[unmoved >= 0])), twin_answers]
    arrays["answers"] = array(kinds, ("source",), "classes", {"source": ["network", TWINS]}, "different answers")
    return arrays


def _probability_arrays(plan: WarpPlan, chance: Any) -> dict[str, xr.DataArray]:
    """The probability of the target by warp and amount, with its interval over images."""
    warps = list(plan.amounts)
    arrays: dict[str, xr.DataArray] = {}
    curves = [
        [bounded_mean_interval(view_column(plan, chance, warp, amount)) for amount in plan.amounts[warp]] for warp in warps
    ]
    longest = max(map(len, curves))
    for at, name in enumerate(("probability", "probability_low", "probability_high")):
        title = "" if at else "probability"
        padded = np.array([[*(interval[at] for interval in row), *[np.nan] * (longest - len(row))] for row in curves])
        arrays[name] = array(padded, ("warp", "amount"), "1", {"warp": warps}, title)
        for warp, row in zip(warps, curves, strict=True):
            coords = {"amount": _amount_coordinate(plan, warp)}
            arrays[f"{name}/{warp}"] = array([interval[at] for interval in row], ("amount",), "1", coords, title)
    return arrays


def stride_arrays(plan: WarpPlan, runs: Mapping[str, Rows]) -> dict[str, xr.DataArray]:
    """Where layers have a grid: what shifts by 1 px, half and a whole stride do to units' means and to maps."""
    kept = [place for place, stride in enumerate(plan.strides) if stride]
    if not kept:
        return {}
    layers = {"layer": [plan.names[place] for place in kept]}
    both = layers | {"measure": list(STRIDE_MEASURES)}
    arrays = {"stride": array([plan.strides[place] for place in kept], ("layer",), "px", layers)}
    for prefix, rows in runs.items():
        twin = f"{TWINS}: " if prefix else ""
        for name, column in (("pooled", "pooled"), ("equivariance", "misfit")):
            values = _mean(_finite_values(rows.column(column)))[kept]
            arrays[prefix + name] = array(values, ("layer", "measure"), "fraction of the norm", both, f"{twin}distance")
        pooled = arrays[f"{prefix}pooled"].values
        wide = (arrays["stride"].values > 1) & (pooled[:, 2] > 0)
        ratio = np.divide(pooled[:, :2].max(1), pooled[:, 2], out=np.full(len(kept), np.nan), where=wide)
        arrays[f"{prefix}aliasing"] = array(ratio, ("layer",), "1", layers, f"{twin}broken over whole strides")
    return arrays


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
    return [FLIP_WARPS[int(amount)] if warp == "flip" else amount for amount in plan.amounts[warp]]
