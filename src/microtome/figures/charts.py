"""Panels of numbers over an axis: Curve, Bars, Hist, Scatter."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from microtome.figures.paper import (
    COLOURS,
    GREY,
    MARKERS,
    Arrays,
    Paper,
    add_legend,
    array_label,
    coordinates,
    escape_math,
    fit_ticks,
    is_text,
    line_styles,
    named_ticks,
    new_sheet,
    shorten,
    unit_suffix,
)
from microtome.figures.placing import place_labels
from microtome.panels import Bars, Curve, Hist, Scatter

Series = list[tuple[str, np.ndarray[Any, Any]]]
Look = Literal["--", ":", "-."]
Baselines = list[tuple[str, Look, np.ndarray[Any, Any]]]  # name, line style, values
BASELINE_LOOKS: tuple[Look, ...] = ("--", ":", "-.")
MULTIPLES_ACROSS = 6  # small multiples side by side


def plot_curve(arrays: Arrays, panel: Curve) -> Paper:
    """Lines over `x`, intervals shaded, baselines dashed and grey."""
    first = arrays[panel.y[0]]
    at = coordinates(first, panel.x)
    width = _axis_width(at, 5.2)
    lines = _named_series(arrays, panel.y, panel.x, panel.by)
    paper = new_sheet(
        panel, width + (1.6 if len(lines) > 3 else 0), 2.7 + (fit_ticks(at, width - 0.7).room if is_text(at) else 0.1)
    )
    axes = paper.add_subplot()
    styles = line_styles(len(lines), panel.by)
    places = np.arange(len(at)) if is_text(at) else at
    marker = "o" if len(at) <= 40 else ""
    for (name, values), style in zip(lines, styles, strict=True):
        axes.plot(places, values, marker=marker, label=name, **style)
    if panel.low and panel.high:
        _shade_interval(axes, places, arrays, panel, [style["color"] for style in styles])
    for name, look, values in _baseline_series(arrays, panel):
        axes.plot(places, values, color=GREY, linestyle=look, linewidth=1.1, label=name)
    axes.margins(x=0.02)
    axes.set_ylabel(_shared_label(arrays, panel.y))
    _set_log_scale(axes, panel.log, at)
    _label_x_axis(axes, panel.x, first, at, width)
    add_legend(paper, axes)
    return paper


def plot_bars(arrays: Arrays, panel: Bars) -> Paper:
    """Bars side by side over `x`; intervals as whiskers; the baseline a grey tick across each bar."""
    first = arrays[panel.y[0]]
    at = coordinates(first, panel.x)
    lines = _named_series(arrays, panel.y, panel.x, panel.by)
    width = max(_axis_width(np.asarray(at, dtype=object), 4.2), min(0.09 * len(at) * len(lines), 13.0))
    paper = new_sheet(panel, width + (1.6 if len(lines) > 3 else 0), 2.7 + fit_ticks(at, width - 0.7).room)
    axes = paper.add_subplot()
    tints = [look["color"] for look in line_styles(len(lines), panel.by)]
    each = 0.8 / len(lines)
    lows, highs = (_named_series(arrays, (name,), panel.x, panel.by) if name else [] for name in (panel.low, panel.high))
    for number, ((name, values), colour) in enumerate(zip(lines, tints, strict=True)):
        places = np.arange(len(at)) + (number - (len(lines) - 1) / 2) * each
        axes.bar(places, values, width=0.92 * each, color=colour, label=name)
        if number < min(len(lows), len(highs)):
            axes.errorbar(
                places,
                values,
                _whiskers(values, lows[number][1], highs[number][1]),
                fmt="none",
                ecolor="#333333",
                elinewidth=0.8,
            )
    _draw_ticks(axes, _baseline_series(arrays, panel), len(lines), len(at))
    named_ticks(axes, "x", at, width - 0.7)
    axes.set_xlim(-0.6, len(at) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(escape_math(panel.x.rstrip("_")))
    axes.set_ylabel(_shared_label(arrays, panel.y))
    if panel.log:
        axes.set_yscale("log")
    add_legend(paper, axes)
    return paper


def plot_hist(arrays: Arrays, panel: Hist) -> Paper:
    """One small filled density for each coordinate of `by`, the baseline as an outline."""
    density = arrays[panel.density]
    every = [str(coordinate) for coordinate in coordinates(density, panel.by)]
    shown = [place for place, name in enumerate(every) if not panel.only or name in panel.only]
    across = min(MULTIPLES_ACROSS if len(shown) > 12 else 4, max(len(shown), 1))
    down = max(1, -(-len(shown) // across))
    paper = new_sheet(panel, max(1.75 * across, 3.6), 1.35 * down + 0.3)
    for number, place in enumerate(shown):
        axes = paper.add_subplot(down, across, number + 1)
        centres, values = (
            _plot_multiple(arrays, panel.value, panel.by, place),
            _plot_multiple(arrays, panel.density, panel.by, place),
        )
        axes.fill_between(centres, values, step="mid", color=COLOURS[0], alpha=0.75, linewidth=0)
        if panel.null:
            where = _plot_multiple(arrays, panel.null_value or panel.value, panel.by, place)
            axes.step(
                where,
                _plot_multiple(arrays, panel.null, panel.by, place),
                where="mid",
                color=GREY,
                linestyle="--",
                linewidth=1.0,
            )
        axes.set_title(shorten(every[place], 30), fontsize=7)
        axes.tick_params(labelsize=5.5)
        axes.locator_params(nbins=3, axis="x")
        axes.set_yscale("log") if panel.log else axes.set_ylim(bottom=0)
        axes.set_yticks([]) if not panel.log else None
        if number + across >= len(shown):
            axes.set_xlabel(array_label(arrays[panel.value], panel.value), fontsize=6.5)
    paper.supylabel(array_label(density, "density"), fontsize=7)
    return paper


def plot_scatter(arrays: Arrays, panel: Scatter) -> Paper:
    """Points with their names beside them; one colour and marker for each group; a ring around those on the front."""
    x, y = arrays[panel.x], arrays[panel.y]
    paper = new_sheet(panel, 5.6, 3.8)
    axes = paper.add_subplot()
    across, up = x.values.astype(float), y.values.astype(float)
    groups = arrays[panel.group].values.astype(str) if panel.group else np.full(len(up), "")
    for number, name in enumerate(dict.fromkeys(groups.tolist())):
        some = groups == name
        tint, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.scatter(across[some], up[some], s=26, label=escape_math(name), zorder=3, color=tint, marker=marker)
    if panel.low and panel.high:
        spread = _whiskers(up, arrays[panel.low].values, arrays[panel.high].values)
        axes.errorbar(across, up, spread, fmt="none", ecolor=GREY, elinewidth=0.8, zorder=2)
    if panel.front:
        ringed = arrays[panel.front].values.astype(bool)
        ring: dict[str, Any] = {"s": 105, "facecolors": "none", "edgecolors": "#222222", "linewidths": 1.0, "zorder": 4}
        axes.scatter(across[ringed], up[ringed], label="on the front", **ring)
    axes.set_xlabel(array_label(x, panel.x))
    axes.set_ylabel(array_label(y, panel.y))
    axes.margins(0.12)
    axes.grid(visible=True, axis="both")
    _set_log_scale(axes, panel.log, across)
    if panel.group or panel.front:
        add_legend(paper, axes)
    place_labels(paper, axes, across, up, [shorten(name) for name in coordinates(y, str(y.dims[0]))])
    return paper


def _named_series(arrays: Arrays, names: tuple[str, ...], x: str, by: str) -> Series:
    """Every line with what to call it; a single one needs no name."""
    series: Series = []
    for name in names:
        array = arrays[name]
        label = escape_math(array.attrs.get("title") or name.replace("_", " "))
        if by and by in array.dims:
            rows = array.transpose(by, x)
            for coordinate, values in zip(coordinates(array, by), rows.values, strict=True):
                series.append(
                    (
                        escape_math(coordinate) if len(names) == 1 else f"{label}, {escape_math(coordinate)}",
                        values.astype(float),
                    )
                )
        else:
            series.append((label if len(names) > 1 else "", array.values.astype(float)))
    return series


def _baseline_series(arrays: Arrays, panel: Curve | Bars) -> Baselines:
    """Name, line style and values of each baseline; only the first of a look is named, so that the legend has it once."""
    series: Baselines = []
    several = len(panel.null) != len(panel.y)  # baselines of the same values, each with a look of its own
    for place, name in enumerate(panel.null):
        label = escape_math(arrays[name].attrs.get("title") or "untrained twin")
        same = {arrays[name].attrs.get("title") for name in panel.y}
        # A twin's array often bears the title of what it is the twin of.
        label = "untrained twin" if label in same else label
        look = BASELINE_LOOKS[place % len(BASELINE_LOOKS)] if several else BASELINE_LOOKS[0]
        for _, values in _named_series(arrays, (name,), panel.x, panel.by):
            series.append(("_" if any(look == other for _, other, _ in series) else label, look, values))
    return series


def _draw_ticks(axes: Axes, baselines: Baselines, lines: int, count: int) -> None:
    """Baselines as grey ticks: each across its own bar where there is one for every bar, else across all bars of a place."""
    own = len(baselines) == lines
    each = 0.8 / lines if own else 0.8
    for number, (label, look, heights) in enumerate(baselines):
        middle = np.arange(count) + ((number - (lines - 1) / 2) * each if own else 0.0)
        style = "solid" if look == BASELINE_LOOKS[0] else look
        axes.hlines(
            heights, middle - each / 2, middle + each / 2, colors=GREY, linewidth=2.2, linestyles=style, label=label, zorder=3
        )


def _shade_interval(axes: Axes, places: np.ndarray[Any, Any], arrays: Arrays, panel: Curve, tints: list[Any]) -> None:
    lows, highs = (_named_series(arrays, (name,), panel.x, panel.by) for name in (panel.low, panel.high))
    for (_, low), (_, high), tint in zip(lows, highs, tints, strict=False):  # an interval of the first array only
        axes.fill_between(places, low, high, color=tint, alpha=0.18, linewidth=0)


def _plot_multiple(arrays: Arrays, name: str, by: str, place: int) -> np.ndarray[Any, Any]:
    array = arrays[name]
    return (array.isel({by: place}) if by in array.dims else array).values.astype(float)


def _whiskers(values: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Lengths below and above, as matplotlib wants them; rounding must not make one negative."""
    return np.clip(np.stack([values - low, high - values]), 0, None)


def _axis_width(at: np.ndarray[Any, Any], least: float) -> float:
    """Inches that the names on the axis need, within what a page bears."""
    return float(np.clip(0.17 * len(at) + 0.8, least, 12.0)) if is_text(at) else least


def _label_x_axis(axes: Axes, dim: str, array: xr.DataArray, at: np.ndarray[Any, Any], width: float) -> None:
    label = dim.rstrip("_")
    if is_text(at):
        named_ticks(axes, "x", at, width - 0.7)
    elif len(at) <= 12:
        axes.set_xticks(at, [f"{tick:g}" for tick in at])
        axes.set_xticks([], minor=True)
    if dim in array.coords:
        label += unit_suffix(array.coords[dim])
    axes.set_xlabel(escape_math(label))


def _shared_label(arrays: Arrays, names: tuple[str, ...]) -> str:
    """The axis' label: that of the only array, else the unit that all share."""
    shown = [arrays[name] for name in names]
    if len(shown) == 1:
        return array_label(shown[0], names[0])
    units = {unit_suffix(array) for array in shown}
    return escape_math(units.pop().strip(" []")) if len(units) == 1 else ""


def _set_log_scale(axes: Axes, log: str, at: np.ndarray[Any, Any]) -> None:
    if "x" in log and not is_text(at):
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
