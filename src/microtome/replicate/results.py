"""Results of claims: what was measured, when, on what, at which commit, under which protocol; one JSON file for each claim."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from microtome.atomic_write import write_json
from microtome.errors import FindingError
from microtome.key_numbers import format_interval
from microtome.replicate.cards import ClaimCard

RESULT_FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class ClaimResult:
    """What one run of a claim gave. `digest` is that of its protocol, `commit` where it ran (empty outside of a repository).

    `fixed_before` says whether the protocol stood in that commit as it ran.
    """

    claim: str
    preset: str
    digest: str
    verdict: str
    value: float
    low: float
    high: float
    unit: str
    covers: str
    rows: tuple[tuple[str, str], ...]
    date: str
    seconds: float
    hardware: str
    versions: Mapping[str, str]
    commit: str
    fixed_before: bool

    @property
    def text(self) -> str:
        """The effect with its interval and unit."""
        return format_interval(self.value, self.low, self.high, self.unit)

    def json(self) -> dict[str, Any]:
        """Plain JSON values; not-a-number as null."""
        fields = asdict(self)
        fields |= {name: None if math.isnan(fields[name]) else fields[name] for name in ("value", "low", "high")}
        return fields | {"rows": [list(row) for row in self.rows], "versions": dict(self.versions)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ClaimResult":
        """The result that `json` wrote."""
        values = dict(fields)
        values |= {name: math.nan if values[name] is None else float(values[name]) for name in ("value", "low", "high")}
        values["rows"] = tuple((str(name), str(text)) for name, text in values["rows"])
        return cls(**values)

    def save(self, folder: Path) -> Path:
        """Write the result into a folder; the path of the file comes back.

        Raises:
            WriteError: the folder cannot be written to.
        """
        path = folder / f"{self.claim}.json"
        write_json(path, self.json())
        return path


def load_result(path: Path) -> ClaimResult:
    """The result in a file.

    Raises:
        FindingError: the file is damaged.
    """
    try:
        return ClaimResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FindingError(
            f"{path} is no result of a claim ({type(error).__name__}: {str(error)[:120]}); delete it and run the claim again."
        ) from error


def committed_result(card: ClaimCard) -> ClaimResult | None:
    """The result that ships with the package, or None where the claim was not run, or has another protocol by now."""
    path = RESULT_FOLDER / f"{card.name}.json"
    if not path.is_file():
        return None
    result = load_result(path)
    return result if result.digest == card.digest(result.preset) else None
