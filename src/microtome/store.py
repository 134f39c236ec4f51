"""A folder of findings: DIR/<specimen>/<analysis>/<key>/, with `run.json` listing those of the last run.

A finding whose key is there is fresh; another key under the same specimen and analysis is an older one, kept. No database: the
folders are the truth, and whatever a killed run left half-written is swept away when the next one opens the store.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from microtome.atomic_write import atomic_write, sweep_leftovers
from microtome.errors import FindingError, hint
from microtome.finding import CARD, Finding, card

RUN_FILE = "run.json"
COLLATIONS_FOLDER = "_together"  # where findings over several specimens live


def slug(name: str) -> str:
    """`name` as a folder name: letters, digits, dot, dash and underscore; empty names become '_'."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "_"


class Store:
    """Findings below one folder, by specimen, analysis and key."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @classmethod
    def create(cls, root: str | os.PathLike[str]) -> "Store":
        """The store at `root` for writing: made if missing, swept of half-written leftovers.

        Raises:
            FindingError: the folder cannot be made or written to.
        """
        store = cls(root)
        try:
            store.root.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(store.root)
            with tempfile.TemporaryFile(dir=store.root):
                pass
        except OSError as error:
            raise FindingError(
                f"{root} cannot hold results ({error.strerror}). Name another folder: {hint('--out DIR', 'out=DIR')}"
            ) from None
        return store

    def place(self, specimen: str, analysis: str, key: str) -> Path:
        """The folder of that finding, whether it exists or not."""
        return self.root / (slug(specimen) if specimen else COLLATIONS_FOLDER) / analysis / key

    def fresh(self, specimen: str, analysis: str, key: str) -> Finding | None:
        """The saved finding of that key, or None; a damaged one counts as missing."""
        folder = self.place(specimen, analysis, key)
        if not (folder / CARD).is_file():
            return None
        try:
            return Finding.load(folder)
        except FindingError:
            return None

    def history(self, specimen: str, analysis: str) -> list[Finding]:
        """The findings of that specimen and analysis under any key; damaged ones are left out."""
        folder = self.place(specimen, analysis, "")
        keys = sorted(path.parent.name for path in folder.glob(f"*/{CARD}"))
        findings = [self.fresh(specimen, analysis, key) for key in keys]
        return [finding for finding in findings if finding is not None]

    def save(self, finding: Finding) -> Path:
        """Save under the finding's own specimen, analysis and key.

        Raises:
            WriteError: the disk is full or the folder is not writable; what was saved before is untouched.
        """
        return finding.save(self.place(finding.specimen, finding.analysis, str(finding.origin["key"])))

    @property
    def tally_folder(self) -> Path:
        """Where unfinished tallies live until their finding is saved."""
        return self.root / ".unfinished"

    def folders(self) -> Iterator[Path]:
        """The folders of all complete findings, in a fixed order."""
        for path in sorted(self.root.rglob(CARD)):
            if not any(part.startswith(".") for part in path.relative_to(self.root).parts):
                yield path.parent

    def current(self) -> list[Path]:
        """The findings that the last run stands for; without a run.json the newest of each specimen and analysis."""
        listed = self.run().get("findings")
        if listed is not None:
            return [self.root / path for path in listed if (self.root / path / CARD).is_file()]
        newest: dict[tuple[str, str], tuple[str, Path]] = {}
        for folder in self.folders():
            content = card(folder)
            place = (str(content["origin"].get("specimen", {}).get("name", "")), content["analysis"])
            began = str(content["origin"].get("started", ""))
            if place not in newest or began >= newest[place][0]:
                newest[place] = (began, folder)
        return [folder for _, folder in newest.values()]

    def run(self) -> dict[str, Any]:
        """The content of run.json, or an empty dict.

        Raises:
            FindingError: the file is there and is not JSON.
        """
        path = self.root / RUN_FILE
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FindingError(f"{path} cannot be read ({error}); delete it, the findings below it are not touched.") from None

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write run.json, atomically."""
        with atomic_write(self.root / RUN_FILE) as file:
            file.write((json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n").encode())
