"""Tables for the terminal: a comparison, and the layers of a specimen."""

import io
import shutil
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from microtome.finding import Finding
    from microtome.specimen import Specimen


SHORT_UNITS = {
    "own head, top-1 (share)": "own head",
    "best probe (share)": "probe",
    "localisation lift (share)": "lift",
    "smallest objects (share)": "small objects",
    "most clutter (share)": "most clutter",
    "parameters (1)": "parameters",
    "multiply-adds (M per image)": "M mult-adds",
    "time of a batch (ms per image)": "ms/image",
    "live memory (MB per image)": "MB live",
    "blocks below their twin (share)": "idle blocks",
}


def comparison_table(finding: "Finding") -> str:
    """The comparison as a table, best rank first, followed by the recommendation."""
    table = Table(title="Comparison", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("specimen", overflow="fold", min_width=14)
    table.add_column("family")
    for name in finding["table"].criterion.values:
        table.add_column(SHORT_UNITS.get(str(name), str(name)), justify="right", overflow="fold")
    ranks = finding["rank"].values
    order = np.argsort(np.nan_to_num(ranks, nan=np.inf), kind="stable")
    for one in order:
        values = [
            _format_criterion(str(name), value)
            for name, value in zip(finding["table"].criterion.values, finding["table"].values[one], strict=True)
        ]
        rank = "–" if np.isnan(ranks[one]) else f"{ranks[one]:.0f}"
        table.add_row(rank, str(finding["rank"].specimen.values[one]), str(finding["family"].values[one]), *values)
    return _render_table(table) + "\n" + finding.headline


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
    said = [_render_table(table), f"{shown} of {len(specimen.layers)} layers."]
    for alias in ("shallow", "middle", "deep", "last3"):
        said.append(f"{alias:>8}: {', '.join(specimen.find(alias))}")
    return "\n".join([*said, *(f"Note: {note}" for note in specimen.notes)])


def _format_criterion(criterion: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    if "(share)" in criterion:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _render_table(table: Table) -> str:
    width = max(shutil.get_terminal_size((160, 24)).columns, 80)
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()
