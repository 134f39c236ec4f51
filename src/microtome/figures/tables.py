"""The Table panel: ruled above and below as in print, numbers to the right, names to the left."""

import textwrap
from typing import Any, NamedTuple

import numpy as np

from microtome.figures.paper import Arrays, Paper, array_label, coordinates, escape_math, new_sheet, shorten
from microtome.panels import Table

MAX_ROWS = 60  # on one page
LINE_HEIGHT = 0.19  # inches
LETTER_WIDTH = 0.068  # inches, about the mean width of a letter at 7 pt


class Column(NamedTuple):
    """A column's heading in lines, its cells as text, and whether they are numbers."""

    heading: list[str]
    cells: list[str]
    numbers: bool

    @property
    def inches(self) -> float:
        """The room it needs."""
        return LETTER_WIDTH * max(len(text) for text in [*self.heading, *self.cells]) + 0.22


def plot_table(arrays: Arrays, panel: Table) -> Paper:
    """Rows along one dimension, at most sixty, with a note of how many are left out."""
    columns = _table_columns(arrays, panel)
    count = len(columns[0].cells)
    head = max(len(column.heading) for column in columns)
    width = sum(column.inches for column in columns)
    rows = min(count, MAX_ROWS)
    height = LINE_HEIGHT * (rows + 0.72 * head + 1 + (count > MAX_ROWS))
    paper = new_sheet(panel, max(width, 3.0) + 0.2, height)
    axes = paper.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, max(width, 3.0))
    axes.set_ylim(height / LINE_HEIGHT, 0)
    top = 0.72 * head + 0.3
    left = 0.0
    for column in columns:
        at, ha = (left + column.inches - 0.12, "right") if column.numbers else (left + 0.04, "left")
        axes.text(at, top - 0.15, "\n".join(column.heading), ha=ha, va="bottom", fontsize=7, fontweight="bold", linespacing=1.0)
        for place, cell in enumerate(column.cells[:MAX_ROWS]):
            axes.text(at, top + 0.62 + place, cell, ha=ha, va="center", fontsize=7)
        left += column.inches
    for at, weight in ((0.05, 1.0), (top, 0.6), (top + rows + 0.2, 1.0)):
        axes.plot([0, width], [at, at], color="black", linewidth=weight, clip_on=False)
    if count > MAX_ROWS:
        axes.text(
            0.04,
            top + rows + 0.8,
            f"the first {MAX_ROWS} of {count} rows",
            ha="left",
            va="center",
            fontsize=6.5,
            style="italic",
        )
    return paper


def _table_columns(arrays: Arrays, panel: Table) -> list[Column]:
    names = coordinates(arrays[panel.columns[0]], panel.rows)
    columns = [Column([escape_math(panel.rows.rstrip("_"))], [shorten(name, 40) for name in names], numbers=False)]
    over = [[str(dim) for dim in arrays[name].dims if str(dim) != panel.rows] for name in panel.columns]
    for name, others in zip(panel.columns, over, strict=True):
        array = arrays[name]
        if not others:
            columns.append(_table_column(array_label(array, name), array.values))
            continue
        spread = array.transpose(panel.rows, *others)
        several = sum(dims[:1] == others[:1] for dims in over) > 1
        lead = f"{array_label(array, name)}, " if several else ""  # which of several arrays over one dimension
        for place, coordinate in enumerate(coordinates(array, others[0])):
            columns.append(_table_column(lead + escape_math(coordinate), spread.values[:, place]))
    return columns


def _table_column(heading: str, values: np.ndarray[Any, Any]) -> Column:
    numbers = values.dtype.kind in "iuf"
    return Column(textwrap.wrap(heading, 16) or [""], [_cell_text(value) for value in values.tolist()], numbers)


def _cell_text(value: object) -> str:
    """A value as a reader wants it: three digits that count, thousands apart, a dash for what is missing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _group_thousands(f"{value:,}")
    if isinstance(value, float):
        if not np.isfinite(value):
            return "–" if np.isnan(value) else ("∞" if value > 0 else "−∞")
        if abs(value) >= 1000:
            return _group_thousands(f"{value:,.0f}")
        return f"{value:.3g}".replace("-", "−")
    return shorten(value, 60)


def _group_thousands(digits: str) -> str:
    return digits.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "−")
