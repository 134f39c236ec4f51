"""Arrays of all networks side by side: the table, accuracy against cost, losses and ratios of latencies."""

from typing import Any

import numpy as np
import xarray as xr

from microtome.analyses.compare import criteria as side
from microtome.analyses.compare.prices import Prices
from microtome.analyses.compare.prior import Prior, column_unit
from microtome.analyses.compare.recommending import Networks, Recommendation
from microtome.finding import array
from microtome.numerics.statistics.choice import first_rank_rate


def table_arrays(
    nets: Networks, prior: Prior | None, prices: Prices, label: tuple[str, str], made: Recommendation,
    score: np.ndarray[Any, Any], front: np.ndarray[Any, Any],
) -> dict[str, xr.DataArray]:  # fmt: skip
    """The table of all networks, and what the scatter of accuracy and cost shows."""
    coords = {"specimen": nets.names}
    columns = side.criterion_columns(nets.byname)
    if prior is not None:
        columns |= {f"{name} (prior) ({column_unit(name)})": values for name, values in prior.columns.items()}
    origins = [next(iter(own.values())).origin["specimen"] for own in nets.byname.values()]
    texts = {name: [str(origin.get(name, "")) for origin in origins] for name in ("family", "weights")}
    score_name = f"{'balanced, ' if nets.evidence.by_class else ''}{nets.evidence.kind or 'accuracy'}"
    low, high = (side.accuracy_bounds(nets.byname, nets.evidence, end) for end in ("low", "high"))
    return {
        "table": array(np.stack(list(columns.values()), 1), ("specimen", "criterion"), "see criterion",
                       coords | {"criterion": list(columns)}),
        "rank": array(made.decision.rank, ("specimen",), "1", coords, "rank"),
        "family": array(texts["family"], ("specimen",), "text", coords, "family"),
        "weights": array(texts["weights"], ("specimen",), "text", coords, "weights"),
        "price": array(prices.values, ("specimen",), label[1], coords, label[0]),
        "front": array(front, ("specimen",), "1", coords, "on the Pareto front"),
        "score": array(score, ("specimen",), "fraction", coords, score_name),
        "score_low": array(low, ("specimen",), "fraction", coords),
        "score_high": array(high, ("specimen",), "fraction", coords),
    }  # fmt: skip


def spread_arrays(nets: Networks, made: Recommendation, seed: int) -> dict[str, xr.DataArray]:
    """Losses against the most accurate of the judged networks, and how often each of them ranks first in accuracy."""
    spread = {name: np.full(len(nets.names), np.nan) for name in ("behind", "behind_low", "behind_high", "wins")}
    paired, best = made.paired, made.decision.best
    if paired is not None and best is not None:
        wins = first_rank_rate(nets.correct[made.judged], seed=seed, classes=nets.classes)
        values = {"behind": paired.loss[:, best], "behind_low": paired.low[:, best], "behind_high": paired.high[:, best]}
        for name, value in (values | {"wins": wins}).items():
            spread[name][made.judged] = value
    titles = {"behind": "loss against the most accurate", "wins": "ranked first in bootstrap resamples"}
    return {
        name: array(values, ("specimen",), "fraction", {"specimen": nets.names}, titles.get(name, ""))
        for name, values in spread.items()
    }


def latency_arrays(prices: Prices, names: list[str], judged: np.ndarray[Any, Any], best: int | None) -> dict[str, xr.DataArray]:
    """Ratios of the latencies of all pairs, and those to the most accurate network; nothing where none was timed in turn."""
    if prices.latency is None or np.isfinite(prices.latency.ratio).sum() <= len(names):
        return {}
    pairs, title = {"specimen": names, "specimen_": names}, "latency over that of the other"
    arrays: dict[str, xr.DataArray] = {}
    for end, values in zip(("", "_low", "_high"), prices.latency, strict=True):
        arrays[f"latency_ratio{end}"] = array(values, ("specimen", "specimen_"), "1", pairs, title)
        if best is not None:
            arrays[f"latency_over_best{end}"] = array(
                values[:, judged[best]], ("specimen",), "1", {"specimen": names}, "latency over that of the most accurate"
            )
    return arrays
