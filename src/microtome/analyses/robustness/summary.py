"""Arrays of `robustness` from rows of answers and distances."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from microtome.analyses.robustness.conditions import Condition
from microtome.analyses.robustness.viewing import mean_distances, typical_distances
from microtome.finding import array
from microtome.images.corruptions.sweeps import SWEEPS
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.calibration import calibration_error, mean_calibration
from microtome.numerics.statistics.corruption_error import corruption_errors, relative_corruption_errors
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, ratio_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.tally import Rows

Values = np.ndarray[Any, Any]


class Views(NamedTuple):
    """What a network gave: `right` and `same` (image, 1 + condition) with NaN where unknown, `sure`, and `drift` (condition, layer)."""

    right: Values
    same: Values
    sure: Values
    drift: Values


def read_views(rows: Rows, layers: Sequence[str], wanted: Values | None) -> Views:
    """The views of all rows; `wanted` (image,) are the right outputs, -1 where unknown."""
    answer = rows.column("answer")
    known = (answer[:, :1] >= 0).astype(bool)
    same = np.where(known, answer == answer[:, :1], np.nan).astype(np.float64)
    right = np.full(answer.shape, np.nan)
    if wanted is not None:
        right = np.where((wanted >= 0)[:, None], answer == wanted[:, None], np.nan)
    moved = rows.column("moved")
    with np.errstate(divide="ignore", invalid="ignore"):
        drift = moved.mean(0) / typical_distances(rows, layers)
    return Views(right, same, rows.column("sure"), np.where(np.isfinite(drift), drift, np.nan))


def mean_over(values: Values) -> Interval:
    """The mean over images, each first averaged over its conditions, with the interval of a mean between 0 and 1."""
    known = values[~np.isnan(values).any(1)]
    return bounded_mean_interval(known.mean(1)) if len(known) and values.shape[1] else Interval(np.nan, np.nan, np.nan)


def mean_drift(rows: Rows, layers: Sequence[str], corrupted: Sequence[int]) -> Interval:
    """The drift of the last layer, averaged over the conditions `corrupted`, with its interval over images."""
    if not layers or not len(corrupted) or not len(rows.index):
        return UNKNOWN_INTERVAL
    moved = rows.column("moved")[:, list(corrupted), -1].mean(1)
    return ratio_interval(moved, mean_distances(rows.column(f"clean/{layers[-1]}")))


def mean_gap(views: Views, corrupted: Sequence[int]) -> Interval:
    """The calibration error averaged over the conditions `corrupted`, with its interval over images."""
    columns = [1 + place for place in corrupted]
    return mean_calibration(views.sure[:, columns], views.right[:, columns]) if columns else UNKNOWN_INTERVAL


def overall_arrays(
    views: Views, twin: Views | None, rows: Rows, conditions: Sequence[Condition], layers: Sequence[str]
) -> dict[str, xr.DataArray]:
    """What is averaged over all corruptions, with intervals over images: answers, drift of the last layer, calibration error."""
    corrupted = [place for place, condition in enumerate(conditions) if not condition.is_sweep]
    columns = [1 + place for place in corrupted]
    overall = {
        "right": mean_over(views.right[:, columns]),
        "same": mean_over(views.same[:, columns]),
        "twin_same": mean_over((twin.same if twin else np.full_like(views.same, np.nan))[:, columns]),
        "drift": mean_drift(rows, layers, corrupted),
        "calibration": mean_gap(views, corrupted),
    }
    coords = {"measure": ["mean", "low", "high"]}
    return {f"overall_{name}": array(list(interval), ("measure",), FRACTION, coords) for name, interval in overall.items()}


def view_arrays(
    views: Views, twin: Views | None, conditions: Sequence[Condition], layers: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Every array but the shown images."""
    corrupted = [place for place, condition in enumerate(conditions) if not condition.is_sweep]
    names = list(dict.fromkeys(conditions[place].name for place in corrupted))
    severities = sorted({int(conditions[place].amount) for place in corrupted})
    grid = {"corruption": names, "severity": severities}
    arrays: dict[str, xr.DataArray] = {}
    for word, title, values in (
        ("accuracy", "accuracy", views.right),
        ("agreement", "same answer as for the clean image", views.same),
        ("twin_agreement", "untrained twins", twin.same if twin else np.full_like(views.same, np.nan)),
    ):
        means = _means(values)
        arrays[word] = array(_laid_out(means[1:], corrupted, names), ("corruption", "severity"), FRACTION, grid, title)
        arrays |= _sweep_arrays(word, title, means, conditions)
    nothing = np.full_like(views.drift, np.nan)
    for word, title, drift in (
        ("drift", "drift", views.drift),
        ("twin_drift", "untrained twins", twin.drift if twin else nothing),
    ):
        table = (
            np.stack([_laid_out(drift[:, layer], corrupted, names) for layer in range(len(layers))])
            if layers
            else np.zeros((0, len(names), len(severities)))
        )
        coords = {"layer": list(layers), "corruption": names, "severity": severities}
        arrays[f"{word}_by_severity"] = array(table, ("layer", "corruption", "severity"), FRACTION, coords)
        if names:
            arrays[word] = array(table.mean(2), ("layer", "corruption"), FRACTION, {"layer": list(layers), "corruption": names},
                                 title)  # fmt: skip
    arrays["calibration"] = array(
        _laid_out(_calibration(views)[1:], corrupted, names), ("corruption", "severity"), FRACTION, grid, "calibration error"
    )
    clean = [float(_means(views.right)[0]), float(_calibration(views)[0])]
    arrays["clean"] = array(clean, ("measure",), FRACTION, {"measure": ["accuracy", "calibration error"]}, "clean images")
    return arrays | _reference_arrays(arrays["accuracy"], clean[0])


def _means(values: Values) -> Values:
    """The mean over known images of each view (view,); not a number where none is known."""
    known = ~np.isnan(values)
    count = known.sum(0)
    return np.divide(np.where(known, values, 0.0).sum(0), count, out=np.full(values.shape[1], np.nan), where=count > 0)


def _calibration(views: Views) -> Values:
    """The calibration error of each view (view,)."""
    known = ~np.isnan(views.right) & ~np.isnan(views.sure)
    columns = zip(views.sure.T, views.right.T, known.T, strict=True)
    return np.array([calibration_error(sure[some], right[some]) for sure, right, some in columns])


def _laid_out(values: Values, corrupted: Sequence[int], names: Sequence[str]) -> Values:
    """The values of the corrupted conditions as (corruption, severity)."""
    return values[list(corrupted)].reshape(len(names), -1) if names else np.zeros((0, 0))


def _sweep_arrays(word: str, title: str, means: Values, conditions: Sequence[Condition]) -> dict[str, xr.DataArray]:
    """One array (amount,) for each sweep, with the clean images at the amount that changes nothing."""
    arrays: dict[str, xr.DataArray] = {}
    for name in dict.fromkeys(condition.name for condition in conditions if condition.is_sweep):
        places = [place for place, each in enumerate(conditions) if each.is_sweep and each.name == name]
        values = {SWEEPS[name][0]: means[0]} | {conditions[place].amount: means[1 + place] for place in places}
        amounts = sorted(values)
        arrays[f"{word}/{name}"] = array(
            [values[amount] for amount in amounts], ("amount",), FRACTION, {"amount": amounts}, title
        )
    return arrays


def _reference_arrays(accuracy: xr.DataArray, clean: float) -> dict[str, xr.DataArray]:
    """Corruption errors over those of the reference, plain and relative, of the corruptions that have one."""
    errors: Mapping[str, Values] = {str(name): 1 - accuracy.sel(corruption=name).values for name in accuracy.corruption.values}
    plain, relative = corruption_errors(errors), relative_corruption_errors(errors, 1 - clean)
    if not plain:
        return {}
    coords = {"corruption": list(plain)}
    return {
        "corruption_error": array(list(plain.values()), ("corruption",), FRACTION, coords, "error over AlexNet's"),
        "relative_error": array(list(relative.values()), ("corruption",), FRACTION, coords, "added error over AlexNet's"),
    }
