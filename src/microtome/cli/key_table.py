"""`microtome table DIR`: every key number of a folder of findings, one row per network; as text, CSV or JSON."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from microtome.errors import UnknownName, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS = ("network", "analysis", "key_number", "value", "unit", "low", "high", "baseline", "baseline_name", "better", "at")


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--only", default="", help="Analyses to print, comma-separated; all by default.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV: one line per network, analysis and key number, with all fields.")
@click.option("--json", "as_json", is_flag=True, help="JSON list of the same rows.")
def table(folder: str, only: str, as_csv: bool, as_json: bool) -> None:
    """Print the key numbers of a folder of findings, one row per network."""
    if as_csv and as_json:
        raise UsageError("--csv and --json are both given; give one of them.")
    rows = key_rows(folder, [word.strip() for word in only.split(",") if word.strip()])
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif as_csv:
        text = io.StringIO()
        writer: csv.DictWriter[str] = csv.DictWriter(text, FIELDS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
    else:
        click.echo(_text_tables(rows))


def key_rows(folder: str, only: "Sequence[str]") -> "list[dict[str, Any]]":
    """One dictionary per network, analysis and key number: the fields, and the text that the report shows.

    Raises:
        UsageError: the folder holds no findings.
        UnknownName: the folder has no finding of an analysis in `only`.
    """
    from microtome.finding import card
    from microtome.store import Store

    cards = [card(place) for place in Store(folder).current()] if Path(folder).is_dir() else []
    if not cards:
        raise UsageError(f"{folder} holds no findings. Measure first: microtome analyze SPECIMEN… IMAGES --out {folder}")
    known = dict.fromkeys(str(card["analysis"]) for card in cards)
    for name in only:
        if name not in known:
            raise UnknownName(f"{folder} holds no finding of '{name}'.{did_you_mean(name, known)}")
    rows: list[dict[str, Any]] = []
    for finding_card in cards:
        if only and finding_card["analysis"] not in only:
            continue
        network = str(finding_card["origin"].get("specimen", {}).get("name", "")) or "all networks"
        for number in finding_card.get("key_numbers", ()):
            facts = {name: value for name, value in number.items() if name != "name"}
            rows.append({"network": network, "analysis": finding_card["analysis"], "key_number": number["name"], **facts})
    return rows


def _text_tables(rows: "Sequence[Mapping[str, Any]]") -> str:
    """One table per analysis: rows are networks, columns key numbers."""
    width = max(shutil.get_terminal_size((160, 24)).columns, 80)
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    for analysis in dict.fromkeys(str(row["analysis"]) for row in rows):
        chosen = [row for row in rows if row["analysis"] == analysis]
        columns = list(dict.fromkeys(str(row["key_number"]) for row in chosen))
        shown = Table(title=analysis, title_justify="left")
        shown.add_column("network", overflow="fold", min_width=14)
        for column in columns:
            shown.add_column(column, justify="right", overflow="fold")
        for network in dict.fromkeys(str(row["network"]) for row in chosen):
            own = {str(row["key_number"]): row for row in chosen if row["network"] == network}
            shown.add_row(network, *(_cell(own.get(column)) for column in columns))
        console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip() or "These findings have no key numbers; measure again with this version."


def _cell(row: "Mapping[str, Any] | None") -> str:
    """The value with its interval; below it the layer or class it was taken at, and the baseline."""
    if row is None:
        return "–"
    lines = [str(row["text"])]
    if row.get("at"):
        lines.append(f"at {row['at']}")
    if row.get("baseline_text"):
        lines.append(f"{row['baseline_name']} {row['baseline_text']}")
    return "\n".join(lines)
