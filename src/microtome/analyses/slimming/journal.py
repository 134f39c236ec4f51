"""The rows of a search that survive a kill: one line of JSON for each network measured, added as soon as it is known.

A line that was cut off in the middle of writing is left out, and its network measured again.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Journal:
    """Answers (image,) by key, read from `path` and written to it; `path=None` keeps them in memory alone."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[str, np.ndarray[Any, Any]] = dict(_read_rows(path)) if path is not None else {}
        self.resumed = len(self.rows)
        self._torn = path is not None and _ends_torn(path)

    def answers(self, parts: Sequence[Any], measure: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Right or wrong (image,) under that key, measured only where no row has them."""
        key = json.dumps(list(parts))
        if key not in self.rows:
            self.add(key, measure())
        return self.rows[key]

    def knows(self, parts: Sequence[Any]) -> bool:
        """Whether a row has that key."""
        return json.dumps(list(parts)) in self.rows

    def add(self, key: str, answers: np.ndarray[Any, Any]) -> None:
        """Keep one row, on the disk before this returns."""
        right = np.asarray(answers, dtype=bool)
        self.rows[key] = right
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._torn else "") + json.dumps(_to_row(key, right)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._torn = False


def _to_row(key: str, right: np.ndarray[Any, Any]) -> dict[str, Any]:
    packed = base64.b64encode(np.packbits(right).tobytes()).decode("ascii")
    return {"key": key, "images": len(right), "right": int(right.sum()), "answers": packed}


def _from_row(row: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    bits = np.unpackbits(np.frombuffer(base64.b64decode(row["answers"]), dtype=np.uint8))[: row["images"]]
    return bits.astype(bool)


def _ends_torn(path: Path) -> bool:
    """Whether the last line of the file was cut off."""
    text = path.read_bytes() if path.exists() else b""
    return bool(text) and not text.endswith(b"\n")


def _read_rows(path: Path) -> list[tuple[str, np.ndarray[Any, Any]]]:
    if not path.exists():
        return []
    rows: list[tuple[str, np.ndarray[Any, Any]]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            answers = _from_row(row)
        except (ValueError, KeyError, TypeError):  # cut off when the process was killed
            continue
        if len(answers) == row["images"] and int(answers.sum()) == row["right"]:
            rows.append((row["key"], answers))
    return rows
