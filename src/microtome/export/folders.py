"""The two folders of a slimmed network: the work that survives a kill, beside the result that is there whole or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from microtome._version import __version__
from microtome.atomic_write import atomic_folder, atomic_write, sweep_beside
from microtome.errors import BadOption, option_hint
from microtome.report.html import write_report
from microtome.store import Store

CARD_FILE, FINDINGS, REPORT = "slim.json", "findings", "report.html"
UNFINISHED = ".unfinished"


class ResultFolder:
    """The folder `out`, and beside it `out.unfinished` with the findings and rows measured so far.

    Raises:
        BadOption: `out`, or the folder beside it, holds something else.
        FindingError: they cannot be written.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out).expanduser().absolute()
        self.work = self.out.with_name(self.out.name + UNFINISHED)
        for folder in (self.out, self.work):
            _refuse_other(folder)
        self.store = Store.create(self.work)
        sweep_beside(self.out)
        if not (self.work / CARD_FILE).exists():
            if (self.out / FINDINGS).is_dir():  # an earlier result: what it measured need not be measured again
                shutil.copytree(self.out / FINDINGS, self.work, dirs_exist_ok=True)
            _write_card(self.work, {"finished": False})

    def finish(self, card: Mapping[str, Any], title: str, fill: Callable[[Path], None]) -> Path:
        """Write the result with its report and findings and what `fill` adds, all or nothing; the work folder goes away."""
        with atomic_folder(self.out) as scratch:
            fill(scratch)
            write_report(self.work, scratch / REPORT, title)
            shutil.copytree(self.work, scratch / FINDINGS, ignore=shutil.ignore_patterns(CARD_FILE, ".writing-*"))
            _write_card(scratch, {"finished": True, **card})
        shutil.rmtree(self.work, ignore_errors=True)
        return self.out


def _refuse_other(folder: Path) -> None:
    if not folder.exists() or is_ours(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    what = "a folder with other things in it" if folder.is_dir() else "a file"
    raise BadOption(f"{folder} is {what}; name a new folder: {option_hint('out', f'{folder.name}-slim')}")


def is_ours(folder: Path) -> bool:
    """Whether a folder was written here."""
    try:
        return json.loads((folder / CARD_FILE).read_text(encoding="utf-8")).get("made_by") == "microtome slim"
    except (OSError, ValueError, AttributeError):
        return False


def _write_card(folder: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(folder / CARD_FILE) as file:
        text = json.dumps({"made_by": "microtome slim", "microtome": __version__, **content}, indent=1, ensure_ascii=False)
        file.write((text + "\n").encode())
