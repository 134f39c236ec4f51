"""Panels as matplotlib figures, for papers and notebooks: PNG, SVG or PDF, without pyplot and without a screen."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl

from microtome.figures import charts, images, tables
from microtome.figures.paper import STYLE, Arrays, Paper
from microtome.panels import Panel

RENDERERS: dict[str, Callable[[Arrays, Any], Paper]] = {
    "Curve": charts.plot_curve,
    "Bars": charts.plot_bars,
    "Hist": charts.plot_hist,
    "Scatter": charts.plot_scatter,
    "Heat": images.plot_heat,
    "Grid": images.plot_grid,
    "Overlay": images.plot_overlay,
    "Table": tables.plot_table,
}


def draw_panel(arrays: Arrays, panel: Panel) -> Paper:
    """A matplotlib Figure of one panel over its arrays.

    Saved as SVG or PDF it has the same bytes every time: ids come from the content, and no date is written.
    """
    with mpl.rc_context(STYLE):  # restored on leaving: a figure of ours does not restyle the user's own
        return RENDERERS[panel.kind](arrays, panel)
