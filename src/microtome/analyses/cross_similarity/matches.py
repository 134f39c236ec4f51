"""The best match of each layer in the other network, in both directions, beside those of the untrained twins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.finding import array
from microtome.instruments.untrained_twins import over_twins, stack_twins, verdicts
from microtome.numerics.statistics.cka_intervals import CkaEstimate


def match_arrays(
    layers: tuple[Sequence[str], Sequence[str]], cka: CkaEstimate, twins: Sequence[np.ndarray[Any, Any]], reason: str
) -> dict[str, xr.DataArray]:
    """Arrays `best…` by layers of the first network and `back…` by those of the second; `twins` are CKA matrices of twins.

    `reason` withholds the verdict against the twins. A layer that never varies matches nothing: its name is empty, its CKA NaN.
    """
    first, second = layers
    turned = CkaEstimate(cka.value.T, cka.error.T, cka.low.T, cka.high.T)
    return _one_way("best", "layer", first, second, cka, twins, reason) | _one_way(
        "back", "layer_", second, first, turned, [twin.T for twin in twins], reason
    )


def best_columns(cka: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The column of the largest value of each row, -1 where a row has none."""
    known = np.isfinite(cka)
    return np.where(known.any(1), np.where(known, cka, -np.inf).argmax(1), -1)


def _one_way(
    word: str,
    dimension: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cka: CkaEstimate,
    twins: Sequence[np.ndarray[Any, Any]],
    reason: str,
) -> dict[str, xr.DataArray]:
    place = best_columns(cka.value)
    coords = {dimension: list(rows)}

    def of(values: np.ndarray[Any, Any], title: str = "") -> xr.DataArray:
        return array(values, (dimension,), "1", coords, title)

    low, high = _chosen(cka.low, place), _chosen(cka.high, place)
    twin = f"twin_{word}_cka"
    runs = [{twin: of(_chosen(twin_cka, best_columns(twin_cka)), "untrained twins")} for twin_cka in twins]
    against = verdicts(low, high, stack_twins(runs, twin), reason)
    names = np.array([columns[column] if column >= 0 else "" for column in place], dtype=object)
    return {
        word: array(names, (dimension,), "text", coords, "best match"),
        f"{word}_cka": of(_chosen(cka.value, place), "CKA"),
        f"{word}_low": of(low, "95% from"),
        f"{word}_high": of(high, "to"),
        **over_twins(runs),
        "against_twins" if word == "best" else "back_against_twins": array(
            against, (dimension,), "text", coords, "against the untrained twins"
        ),
    }


def _chosen(values: np.ndarray[Any, Any], place: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The value of each row at its place; NaN where the place is -1."""
    return np.where(place >= 0, np.take_along_axis(values, np.maximum(place, 0)[:, None], 1)[:, 0], np.nan)
