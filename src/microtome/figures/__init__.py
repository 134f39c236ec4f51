"""Panels as matplotlib figures, for papers and notebooks: PNG, SVG or PDF, without pyplot and without a screen."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl

from microtome.figures import charts, images, tables
from microtome.figures.paper import STYLE, Arrays, Paper
from microtome.panels import Panel

RENDERERS: dict[str, Callable[[Arrays, Any], Paper]] = {
    "Curve": charts.curve,
    "Bars": charts.bars,
    "Hist": charts.hist,
    "Scatter": charts.scatter,
    "Heat": images.heat,
    "Grid": images.grid,
    "Overlay": images.overlay,
    "Table": tables.table,
}


def draw(arrays: Arrays, panel: Panel) -> Paper:
    """A matplotlib Figure of one panel over its arrays.

    Saved as SVG or PDF it has the same bytes every time: ids come from the content, and no date is written.
    """
    with mpl.rc_context(STYLE):  # restored on leaving: a figure of ours does not restyle the user's own
        return RENDERERS[panel.kind](arrays, panel)
