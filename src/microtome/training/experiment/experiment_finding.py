"""An experiment as a finding, for the page that shows it together with the findings of every run."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import xarray as xr

from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.panels import Bars, Curve, Panel, Table
from microtome.training.experiment.wording import (
    changes_text,
    coverage_lines,
    experiment_headline,
    few_seeds_line,
    interval_text,
    per_cent_note,
    seeds_text,
)

NAME = "experiment"
CURVES = {"loss": "training loss", "validation_loss": "validation loss", "validation_accuracy": "validation accuracy"}
MAX_KEY_NUMBERS = 6


def experiment_finding(summary: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> Finding:
    """The finding of an experiment.json."""
    arrays: dict[str, xr.DataArray] = {}
    panels: list[Panel] = []
    for add in (_difference_table, _variant_table, _number_bars, _epoch_curves, _training_curves):
        add(summary, arrays, panels)
    key = hashlib.sha256(json.dumps(summary, sort_keys=True, default=str).encode()).hexdigest()[:16]
    runs = [f"{run['variant']}, seed {run['seed']}" for run in summary["runs"]]
    return Finding(
        analysis=NAME,
        arrays=arrays,
        panels=tuple(panels),
        key_numbers=tuple(_key_numbers(summary)),
        headline=experiment_headline(summary),
        caveats=tuple(_caveats(summary)),
        title=summary["title"] or "Experiment",
        summary=summary["question"],
        source=summary["source"],
        origin={"specimen": {}, "specimens": runs, "key": key, "findings": [], **(origin or {})},
    )


def _key_numbers(summary: Mapping[str, Any]) -> list[KeyNumber]:
    """The differences of the first number, one for each variant."""
    first = summary["numbers"][0]["name"] if summary["numbers"] else ""
    rows = [row for row in summary["differences"] if row["number"] == first]
    numbers: list[KeyNumber] = []
    for row in rows[:MAX_KEY_NUMBERS]:
        value, low, high = (nan if each is None else each for each in row["over_seeds"])
        name = f"{first}: {row['variant']} minus {summary['reference']}"
        numbers.append(KeyNumber(name=name, value=value, low=low, high=high, has_interval=True, unit=row["unit"]))
    return numbers


def _caveats(summary: Mapping[str, Any]) -> list[str]:
    unfinished = [f"{run['variant']}, seed {run['seed']}" for run in summary["runs"] if run["state"] != "finished"]
    lines = [few_seeds_line(len(summary["seeds"]), summary["min_seeds"]), per_cent_note(summary["numbers"])]
    lines += [line.replace("**", "") for line in coverage_lines(summary["min_seeds"])]
    lines += [f"Not finished: {'; '.join(unfinished)}."] if unfinished else []
    return [line for line in [*lines, *summary["notes"]] if line]


def _difference_table(summary: Mapping[str, Any], arrays: dict[str, xr.DataArray], panels: list[Panel]) -> None:
    rows = summary["differences"]
    if not rows:
        return
    pair = {"pair": [f"{row['variant']}: {row['number']}" for row in rows]}
    columns: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
        "each_seed": ("each seed", seeds_text),
        "over_seeds": ("over seeds", lambda row: interval_text(row["over_seeds"], row["unit"])),
        "over_images": ("over images", lambda row: interval_text(row["over_images"], row["unit"])),
        "verdict": ("verdict over seeds", lambda row: str(row["verdict"])),
    }
    for name, (title, write) in columns.items():
        arrays[name] = array([write(row) for row in rows], ("pair",), "text", pair, title)
    note = "95% intervals. Not significant never means equal."
    panels.append(Table(title=f"Minus {summary['reference']}", rows="pair", columns=tuple(columns), note=note))


def _variant_table(summary: Mapping[str, Any], arrays: dict[str, xr.DataArray], panels: list[Panel]) -> None:
    names = {"variant": [variant["name"] for variant in summary["variants"]]}
    changes = [changes_text(variant["changes"]) for variant in summary["variants"]]
    sizes = [nan if variant["parameters"] is None else variant["parameters"] for variant in summary["variants"]]
    arrays["changes"] = array(changes, ("variant",), "text", names, "what is changed")
    arrays["parameters"] = array(np.array(sizes, float), ("variant",), "1", names, "parameters")
    panels.append(Table(title="Variants", rows="variant", columns=("changes", "parameters")))


def _number_bars(summary: Mapping[str, Any], arrays: dict[str, xr.DataArray], panels: list[Panel]) -> None:
    """Bars of each number: a group for each variant, a bar for each seed."""
    seeds, variants = summary["seeds"], [variant["name"] for variant in summary["variants"]]
    runs = {(run["variant"], run["seed"]): run for run in summary["runs"]}
    coords = {"seed": [f"seed {seed}" for seed in seeds], "variant": variants}
    for number in summary["numbers"]:
        name = number["name"]
        kept = {
            (variant, seed): runs[variant, seed].get("numbers", {}).get(name) or {} for variant in variants for seed in seeds
        }
        for kind in ("value", "low", "high"):
            values = [[_known(kept[variant, seed].get(kind)) for variant in variants] for seed in seeds]
            arrays[f"{kind}/{name}"] = array(np.array(values, float), ("seed", "variant"), number["unit"], coords, name)
        low, high = ("", "") if np.isnan(arrays[f"low/{name}"]).all() else (f"low/{name}", f"high/{name}")
        panels.append(Bars(title=name.capitalize(), y=(f"value/{name}",), x="variant", by="seed", low=low, high=high))


def _epoch_curves(summary: Mapping[str, Any], arrays: dict[str, xr.DataArray], panels: list[Panel]) -> None:
    """Numbers at every checkpoint, a line for each run."""
    names = dict.fromkeys(name for run in summary["runs"] for name in run.get("over_epochs", {}))
    units = {number["name"]: number["unit"] for number in summary["numbers"]}
    for name in names:
        series = {_run_name(run): dict(run.get("over_epochs", {}).get(name, [])) for run in summary["runs"]}
        _add_lines(arrays, panels, f"epochs/{name}", series, units.get(name, "1"), name, f"{name} over epochs")


def _training_curves(summary: Mapping[str, Any], arrays: dict[str, xr.DataArray], panels: list[Panel]) -> None:
    for key, title in CURVES.items():
        series = {
            _run_name(run): {point["epoch"]: point.get(key) for point in run.get("curves", [])} for run in summary["runs"]
        }
        if any(value is not None for line in series.values() for value in line.values()):
            unit = "fraction" if key == "validation_accuracy" else "1"
            _add_lines(arrays, panels, f"curve/{key}", series, unit, title, title.capitalize())


def _add_lines(
    arrays: dict[str, xr.DataArray],
    panels: list[Panel],
    name: str,
    series: Mapping[str, Mapping[int, float | None]],
    unit: str,
    title: str,
    panel: str,
) -> None:
    epochs: Sequence[int] = sorted({epoch for line in series.values() for epoch in line})
    values = [[_known(line.get(epoch)) for epoch in epochs] for line in series.values()]
    arrays[name] = array(
        np.array(values, float), ("specimen", "epoch"), unit, {"specimen": list(series), "epoch": epochs}, title
    )
    panels.append(Curve(title=panel, y=(name,), x="epoch", by="specimen"))


def _run_name(run: Mapping[str, Any]) -> str:
    return f"{run['variant']}, seed {run['seed']}"


def _known(value: float | None) -> float:
    return nan if value is None else float(value)
