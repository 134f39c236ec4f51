"""The baseline file: which (rule, layer) pairs of a network are known and need no second telling."""

import json
from pathlib import Path
from typing import Any

from microtome.analyses.audit.sarif import RuleLocation, fault_locations
from microtome.atomic_write import atomic_write
from microtome.errors import BadOption, hint
from microtome.finding import Finding

FORMAT = 1


def read_baseline(path: str | Path) -> frozenset[RuleLocation]:
    """The pairs that a baseline file holds.

    Raises:
        BadOption: it cannot be read, or is no baseline file.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise BadOption(f"The baseline {path} has format {content['format']}; this microtome reads {FORMAT}.")
        return frozenset((str(entry["rule"]), str(entry["layer"])) for entry in content["known"])
    except OSError as error:
        raise BadOption(f"The baseline {path} cannot be read ({error.strerror}). {_how_to_write(path)}") from None
    except (ValueError, KeyError, TypeError):
        raise BadOption(f"{path} is no baseline file. {_how_to_write(path)}") from None


def write_baseline(path: str | Path, finding: Finding) -> Path:
    """The file written, with all that the audit found."""
    content = {
        "format": FORMAT,
        "specimen": finding.specimen,
        "known": [{"rule": rule, "layer": layer} for rule, layer in fault_locations(finding)],
    }
    path = Path(path)
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
    return path


def _how_to_write(path: object) -> str:
    return "Write one: " + hint(f"--write-baseline {path}", f"mt.analyses.audit.baseline.write_baseline(…, '{path}')") + "."
