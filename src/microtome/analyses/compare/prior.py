"""Published results of many models, from a CSV file, joined by model name: prior knowledge, never a measurement.

The file has a column `model` and columns of numbers, as timm's results-imagenet.csv has.
"""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from microtome.errors import BadOption, did_you_mean, option_name
from microtome.key_numbers import FRACTION

MODEL = "model"
PERCENT = ("top1", "top5")  # columns that hold per cent
MOST_COLUMNS = 6
LEAD = "top1"


class Prior(NamedTuple):
    """The file's name, its columns of numbers (network,) by name, and the networks that several of its rows could mean."""

    source: str
    columns: dict[str, np.ndarray]
    ambiguous: list[str]

    @property
    def lead(self) -> str:
        """The column that ranks: top1, or the first; empty without any."""
        return LEAD if LEAD in self.columns else next(iter(self.columns), "")


def column_unit(name: str) -> str:
    """The unit of a column of the file."""
    return FRACTION if name in PERCENT else "1"


def read_prior(path: str, networks: Sequence[str]) -> Prior:
    """The rows of the file that belong to these networks.

    Raises:
        BadOption: the file cannot be read, or has no column `model` or no numbers.
    """
    rows, fields = _read_rows(path)
    byname = {row[MODEL].strip(): row for row in rows if row.get(MODEL)}
    matches, ambiguous = [], list[str]()
    for network in networks:
        row, several = _match(network, byname)
        matches.append(row)
        ambiguous += [network] if several else []
    columns: dict[str, np.ndarray] = {}
    for field in fields:
        values = np.array([_number(row.get(field, "")) if row else np.nan for row in matches])
        if field != MODEL and not np.isnan(values).all() and len(columns) < MOST_COLUMNS:
            scale = 0.01 if field in PERCENT and np.nanmax(values) > 1 else 1.0
            columns[field] = scale * values
    return Prior(Path(path).name, columns, ambiguous)


def prior_digest(path: str) -> str:
    """A digest of the file, for the key of the finding; empty where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _read_rows(path: str) -> tuple[list[dict[str, str]], list[str]]:
    option = option_name("prior")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows, fields = list(reader), [str(name) for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise BadOption(f"compare: {option} {path} cannot be read as CSV ({reason}).") from None
    if MODEL not in fields:
        raise BadOption(f"compare: {option} {path} has no column '{MODEL}'.{did_you_mean(MODEL, fields)}")
    if not any(not np.isnan(_number(row.get(field) or "")) for row in rows for field in fields if field != MODEL):
        raise BadOption(f"compare: {option} {path} holds no numbers beside the column '{MODEL}', for example top1.")
    return rows, fields


def _match(network: str, byname: dict[str, dict[str, str]]) -> tuple[dict[str, str] | None, bool]:
    """The row of a network; and whether several rows could be meant, of which none is then taken.

    Names are compared whole, with and without `timm:`. A name without a tag (`resnet50`) takes the row of its only tag.
    """
    name = network.partition(" ")[0]
    plain = name.removeprefix("timm:")
    for candidate in (network, name, plain):
        if candidate in byname:
            return byname[candidate], False
    tags = [model for model in byname if model.partition(".")[0] == plain] if "." not in plain else []
    return (byname[tags[0]], False) if len(tags) == 1 else (None, len(tags) > 1)


def _number(text: str | None) -> float:
    """The number in a field of the file, thousands separated by commas; NaN for anything else."""
    try:
        return float((text or "").replace(",", "").strip())
    except ValueError:
        return float("nan")
