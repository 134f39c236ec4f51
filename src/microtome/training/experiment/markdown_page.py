"""The Markdown page of an experiment, written from its experiment.json alone, so that a committed result can be written again.

Needs no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from microtome.key_numbers import format_value
from microtome.prose import plural
from microtome.training.experiment.wording import (
    changes_text,
    coverage_lines,
    few_seeds_line,
    interval_text,
    mean_text,
    number_text,
    per_cent_note,
    seeds_text,
)

Summary = Mapping[str, Any]


def markdown_page(summary: Summary, source: str = "experiment.json", definition: str = "", notes: str = "") -> str:
    """The page; `source` is the file that it is written from, `definition` the TOML that repeats it, `notes` text for its end."""
    parts = [f"# {summary['title'] or summary['name']}", summary["question"], _origin(summary, source, definition)]
    parts += ["## Protocol", _protocol(summary), _table(["variant", "what is changed", "parameters"], _variant_rows(summary))]
    parts += ["## Results", _result_section(summary)]
    parts += ["## Differences", _difference_section(summary), *_epoch_sections(summary)]
    parts += ["## What the intervals cover", "\n".join(f"- {line}" for line in coverage_lines(summary["min_seeds"]))]
    parts += [_problems(summary)]
    if summary["notes"] or notes:
        parts += ["## Interpretation and limits", "\n".join(f"- {note}" for note in summary["notes"]), notes.strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(summary: Summary, source: str, definition: str) -> str:
    text = f"Source: {summary['source'].rstrip('.')}.\n\n" if summary["source"] else ""
    file = definition or f"{summary['name']}.toml"
    command = f"microtome experiment {file} --out runs/{summary['name']}"
    text += f"*This page is written from [{source}]({source}); measured by:*\n\n```sh\n{command}\n```"
    return text


def _protocol(summary: Summary) -> str:
    recipe, machine = summary["recipe"], summary["machine"]
    network, data, run = recipe["network"], recipe["data"], recipe["run"]
    optimiser = recipe["optimiser"]
    validation = f"validated on `{data['validation']}`" if data["validation"] else (
        f"validated on {format_value(data['validation_fraction'], 'fraction')} of them"
    )  # fmt: skip
    options = f" with {changes_text(network['options'])}" if network["options"] else ""
    return (
        f"`{network['name']}`{options}, from {_weights(network['weights'])}; `{data['images']}`, {validation}; "
        f"{plural(run['epochs'], 'epoch')} in batches of {run['batch'] * run['accumulate']} by {optimiser['name']}, learning rate "
        f"{optimiser['lr']:g} ({optimiser['schedule']}), weight decay {optimiser['weight_decay']:g}; seeds "
        f"{', '.join(map(str, summary['seeds']))}. Measured on {summary['date']} with torch {machine['torch']} on "
        f"{machine['processor']}, {plural(run['threads'], 'thread')}. The reference is *{summary['reference']}*."
    )


def _weights(word: str) -> str:
    return {"none": "fresh weights", "default": "published weights"}.get(word, f"the weights of `{word}`")


def _variant_rows(summary: Summary) -> list[list[str]]:
    def size(variant: Mapping[str, Any]) -> str:
        return "–" if variant["parameters"] is None else f"{variant['parameters']:,}"

    return [[each["name"], f"`{changes_text(each['changes'])}`", size(each)] for each in summary["variants"]]


def _result_section(summary: Summary) -> str:
    if not summary["numbers"]:
        return "No run is finished."
    judged = sorted({run["judged"] for run in summary["runs"] if run.get("judged")})
    lines = ["Each seed, in brackets its 95% interval over images or units where it has one, and the mean over seeds."]
    if judged:
        lines[0] += f" Validation images: {' to '.join(f'{count:,}' for count in dict.fromkeys((judged[0], judged[-1])))}."
    heads = ["variant", *(f"seed {seed}" for seed in summary["seeds"]), "mean"]
    for number in summary["numbers"]:
        rows = [_number_row(summary, variant["name"], number) for variant in summary["variants"]]
        lines += [f"**{number['name']}**", _table(heads, rows)]
    return "\n\n".join(lines)


def _number_row(summary: Summary, variant: str, number: Mapping[str, Any]) -> list[str]:
    runs = {run["seed"]: run for run in summary["runs"] if run["variant"] == variant}
    cells, values = [], list[float]()
    for seed in summary["seeds"]:
        run = runs[seed]
        value = run.get("numbers", {}).get(number["name"])
        cells.append(number_text(value) if run["state"] == "finished" else run["state"])
        if value is not None and value["value"] is not None:
            values.append(value["value"])
    return [variant, *cells, mean_text(values, number["unit"])]


def _difference_section(summary: Summary) -> str:
    if not summary["differences"]:
        return "There is nothing to compare yet."
    lines = [few_seeds_line(len(summary["seeds"]), summary["min_seeds"]), per_cent_note(summary["numbers"])]
    heads = ["variant", "number", "each seed", "over seeds", "over images", "verdict over seeds"]
    rows = [
        [row["variant"], row["number"], seeds_text(row), interval_text(row["over_seeds"], row["unit"]),
         interval_text(row["over_images"], row["unit"]), row["verdict"]]
        for row in summary["differences"]
    ]  # fmt: skip
    reasons = sorted({row["no_image_interval"] for row in summary["differences"] if "no_image_interval" in row})
    lines += [f"Each variant minus *{summary['reference']}*.", _table(heads, rows)]
    lines += [f"No interval over images where {reason}." for reason in reasons]
    return "\n\n".join(line for line in lines if line)


def _epoch_sections(summary: Summary) -> list[str]:
    """A table over epochs for each number that was measured at every checkpoint: the mean over seeds, lowest to highest seed behind."""
    names = dict.fromkeys(name for run in summary["runs"] for name in run.get("over_epochs", {}))
    units = {number["name"]: number["unit"] for number in summary["numbers"]}
    sections = ["## Over epochs", "Mean over seeds, in brackets the lowest and the highest seed."] if names else []
    for name in names:
        epochs = sorted({int(epoch) for run in summary["runs"] for epoch, _ in run.get("over_epochs", {}).get(name, [])})
        rows = [
            [variant["name"], *(_epoch_cell(summary, variant["name"], name, epoch, units.get(name, "1")) for epoch in epochs)]
            for variant in summary["variants"]
        ]
        sections += [f"**{name}**", _table(["variant", *(f"epoch {epoch}" for epoch in epochs)], rows)]
    return sections


def _epoch_cell(summary: Summary, variant: str, name: str, epoch: int, unit: str) -> str:
    values = [
        value
        for run in summary["runs"]
        if run["variant"] == variant
        for at, value in run.get("over_epochs", {}).get(name, [])
        if at == epoch and value is not None
    ]
    if len(values) < 2 or min(values) == max(values):
        return mean_text(values, unit)
    return f"{mean_text(values, unit)} ({format_value(min(values), unit)} to {format_value(max(values), unit)})"


def _problems(summary: Summary) -> str:
    """Runs that failed or are not finished, and analyses that could not be made, each with its reason."""
    lines = [
        f"- {run['variant']}, seed {run['seed']}: {run['state']}{': ' + run['reason'] if run.get('reason') else ''}"
        for run in summary["runs"]
        if run["state"] != "finished"
    ]
    lines += [
        f"- {run['variant']}, seed {run['seed']}: {skipped['analysis']} not measured: {skipped['reason']}"
        for run in summary["runs"]
        for skipped in run.get("skipped", [])
    ]
    return "## What is missing\n\n" + "\n".join(lines) if lines else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])
