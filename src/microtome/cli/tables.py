"""Tables for the terminal: a comparison, and the layers of a specimen."""

import io
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from microtome.key_numbers import format_value
from microtome.panels import Table as TablePanel
from microtome.prose import plural

if TYPE_CHECKING:
    from microtome.finding import Finding
    from microtome.specimen import Specimen

MAX_COLUMNS = 9  # of a table that no width was made for


def comparison_table(finding: "Finding") -> str:
    """The comparison as a table, best rank first, followed by the recommendation and what it rests on."""
    table = Table(title="Comparison", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("specimen", overflow="fold", min_width=14)
    table.add_column("family")
    for name in finding["table"].criterion.values:
        table.add_column(str(name).rpartition(" (")[0], justify="right", overflow="fold")
    ranks = finding["rank"].values
    order = np.argsort(np.nan_to_num(ranks, nan=np.inf), kind="stable")
    for row in order:
        values = [
            _format_criterion(str(name), value)
            for name, value in zip(finding["table"].criterion.values, finding["table"].values[row], strict=True)
        ]
        rank = "–" if np.isnan(ranks[row]) else f"{ranks[row]:.0f}"
        table.add_row(rank, str(finding["rank"].specimen.values[row]), str(finding["family"].values[row]), *values)
    return "\n".join([_render_table(table), finding.headline, *finding.facts.get("details", ())])


def collation_table(finding: "Finding") -> str:
    """The leading table of a finding over findings, followed by its headline."""
    return comparison_table(finding) if "rank" in finding else _first_table(finding)


def _first_table(finding: "Finding") -> str:
    """The first panel that is a table of columns, row by row."""
    panel = next(panel for panel in finding.panels if isinstance(panel, TablePanel))
    columns = [finding[name] for name in panel.columns if finding[name].dims == (panel.rows,)][:MAX_COLUMNS]
    table = Table(title=panel.title, title_justify="left", show_lines=True)
    table.add_column("", overflow="fold", min_width=20)
    for name, column in zip(panel.columns, columns, strict=False):
        text = column.dtype.kind in "UO"
        table.add_column(str(column.attrs.get("title") or name), justify="left" if text else "right", overflow="fold")
    for row, label in enumerate(columns[0].coords[panel.rows].values):
        table.add_row(str(label), *(_entry_text(column.values[row]) for column in columns))
    return _render_table(table) + "\n" + finding.headline


def _entry_text(value: Any) -> str:
    """An entry of a table: text as it is, a number as everywhere, a dash where it is not known."""
    if isinstance(value, str):
        return value
    return "–" if np.isnan(value) else format_value(float(value))


def layer_table(specimen: "Specimen", pattern: str, every: bool) -> str:
    """The layers that match, in execution order; without `every`, leaves of no weight are left out of a bare `*`."""
    names = set(specimen.find(pattern))
    table = Table(title=f"{specimen.name}: {specimen.family} ({specimen.family_reason})", title_justify="left")
    for title in ("layer", "kind", "module", "shape", "layout", "parameters"):
        table.add_column(title, justify="right" if title == "parameters" else "left")
    shown = 0
    for layer in specimen.layers:
        if layer.name in names and (every or pattern != "*" or layer.parameters or layer.kind in ("block", "attention")):
            table.add_row(
                layer.name, layer.kind, layer.module, "×".join(map(str, layer.shape)), layer.layout, f"{layer.parameters:,}"
            )
            shown += 1
    text_lines = [_render_table(table), f"{shown} of {plural(len(specimen.layers), 'layer')}."]
    for alias in ("shallow", "middle", "deep", "last3"):
        if alias in specimen.aliases:  # a network without blocks has no shallow layers
            text_lines.append(f"{alias:>8}: {', '.join(specimen.find(alias))}")
    return "\n".join([*text_lines, *(f"Note: {note}" for note in specimen.notes)])


def _format_criterion(criterion: str, value: float) -> str:
    """The value in the unit that the criterion names in brackets; a dash where it is not known."""
    return "–" if np.isnan(value) else format_value(float(value), criterion.rpartition(" (")[2].rstrip(")"))


def _render_table(table: Table) -> str:
    width = max(shutil.get_terminal_size((160, 24)).columns, 80)
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()
