"""Panels as matplotlib figures, for papers and notebooks: PNG, SVG or PDF, without pyplot and without a screen."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl

from microtome.errors import UnknownName, did_you_mean
from microtome.finding import Finding
from microtome.panels import Panel
from microtome.render.mpl import charts, pictures, tables
from microtome.render.mpl.paper import STYLE, Paper

DRAWN: dict[str, Callable[[Finding, Any], Paper]] = {
    "Curve": charts.curve,
    "Bars": charts.bars,
    "Hist": charts.hist,
    "Scatter": charts.scatter,
    "Heat": pictures.heat,
    "Grid": pictures.grid,
    "Overlay": pictures.overlay,
    "Table": tables.table,
}


def figure(finding: Finding, panel: int | str | None = None) -> Paper:
    """A matplotlib Figure of one panel, by position or title; the first without an argument.

    Saved as SVG or PDF it has the same bytes every time: ids come from the content, and no date is written.

    Raises:
        UnknownName: no panel of that title or position, or none at all.
    """
    chosen = _chosen(finding, panel)
    with mpl.rc_context(STYLE):  # restored on leaving: a figure of ours does not restyle the user's own
        return DRAWN[chosen.kind](finding, chosen)


def _chosen(finding: Finding, panel: int | str | None) -> Panel:
    if not finding.panels:
        raise UnknownName(
            f"The finding '{finding.analysis}' has no panels to draw; read its arrays: {', '.join(finding.arrays)}."
        )
    titles = [one.title for one in finding.panels]
    if isinstance(panel, str):
        if panel not in titles:
            raise UnknownName(f"The finding '{finding.analysis}' has no panel '{panel}'." + did_you_mean(panel, titles))
        return finding.panels[titles.index(panel)]
    place = panel or 0
    if not -len(titles) <= place < len(titles):
        raise UnknownName(
            f"The finding '{finding.analysis}' has no panel {place}: give a number from 0 to {len(titles) - 1}, or a title."
            + did_you_mean(str(place), titles)
        )
    return finding.panels[place]
