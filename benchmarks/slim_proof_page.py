"""The page docs/slim_proof.md, from docs/slim_proof.json."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT, sentence
from microtome.analyses.slimming.arrays import loss_interval
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.numerics.statistics.intervals import Interval

RESULTS = ROOT / "docs" / "slim_proof.json"
PAGE = ROOT / "docs" / "slim_proof.md"
SLACK = 1.03  # how much slower, or larger, a point of Torch-Pruning may be and still count as equal
FASTER, POINT = 1.5, 0.01  # the aim: so much lower latency at so much loss
MIDDLE = 0.65
Row = dict[str, Any]


def read_results(path: Path = RESULTS) -> dict[str, Row]:
    """The results by network, in order; none where nothing was measured."""
    return {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))} if path.exists() else {}


def write_page() -> None:
    """Write the page from the kept results."""
    PAGE.write_text(page(list(read_results().values())), encoding="utf-8")


def page(rows): return ""
