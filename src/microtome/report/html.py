"""The report: the app's page with its data inside, one HTML file that opens from disk and asks nothing of the network.

`report_bundle` is the data of that page; `microtome.app.server` sends the same. Neither needs torch.
"""

import html
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from microtome.atomic_write import atomic_write
from microtome.errors import FindingError, hint, measure_hint, rerun_hint
from microtome.finding import CARD, Finding, card
from microtome.report.packing import pack_array, share_coordinates

FORMAT = 1
RUN = "run.json"
# The page may draw what is inside it and nothing else: even a finding with hostile text could not reach the network.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class FindingPlace:
    """Where a finding lies below the result folder, and the content of its card; `reason` is set when the card cannot be read."""

    folder: Path
    path: str  # relative to the result folder, with forward slashes
    card: dict[str, Any]
    reason: str = ""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the finding in addresses."""
        return sha256(self.path.encode()).hexdigest()[:12]


def report_bundle(folder: str | os.PathLike[str], title: str | None = None) -> dict[str, Any]:
    """All that the page shows of a result folder, as JSON values: the run, every finding with its arrays, what was damaged.

    Raises:
        FindingError: the folder does not exist or holds no finding that can be read.
    """
    folder = Path(folder)
    run = read_run(folder)
    blocks: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    findings: list[dict[str, Any]] = []
    damaged: list[dict[str, str]] = []
    for place in shown_findings(folder, run):
        try:
            findings.append(_packed_card(place, blocks, coords))
        except FindingError as error:
            damaged.append({"folder": place.path, "analysis": str(place.card.get("analysis", "")), "reason": str(error)})
    if not findings:
        reason = damaged[0]["reason"] if damaged else f"Measure something first: {measure_hint()}"
        raise FindingError(f"{folder} holds no finding that can be shown. {reason}")
    return {
        "format": FORMAT,
        "title": title or str(run.get("title") or "") or folder.resolve().name,
        "run": run,
        "findings": findings,
        "blocks": blocks,
        "coords": coords,
        "damaged": damaged,
    }


def write_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, title: str | None = None) -> Path:
    """Write the page with all findings below `folder` inside it, atomically, and return its path (`folder/report.html`).

    Raises:
        FindingError: nothing to show.
        WriteError: the file cannot be written.
    """
    folder = Path(folder)
    page = render_page(report_bundle(folder, title))
    out = Path(out) if out is not None else folder / "report.html"
    with atomic_write(
        out, "Free some space, or name another file: " + hint(f"microtome report {folder} --out FILE", "out=FILE")
    ) as file:
        file.write(page.encode())
    return out


def render_page(data: dict[str, Any]) -> str:
    """The page as one HTML text with `data` (see `report_bundle`) inside it."""
    style = page_asset("page.css").replace("</style", "<\\/style")
    script = page_asset("page.js").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    island = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    page = page_asset("index.html")
    inside = {
        "<!-- policy -->": f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        "<title>microtome</title>": f"<title>{html.escape(data['title'])}</title>",
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        "<!-- headlines -->": _plain_lines(data),
        '<script src="page.js"></script>': (
            f'<script type="application/json" id="bundle">{island}</script>\n<script>{script}</script>'
        ),
    }
    for mark, text in inside.items():
        if page.count(mark) != 1:
            raise FindingError(f"The page's template lacks '{mark}'. Build it again: make web")
        page = page.replace(mark, text)
    return page


def page_asset(name: str) -> str:
    """The text of one file of the built page.

    Raises:
        FindingError: the page was not built.
    """
    try:
        return (files("microtome.app") / "static" / name).read_text(encoding="utf-8")
    except OSError:
        raise FindingError(f"The page's file {name} is not installed. Build it: make web") from None


def read_run(folder: Path) -> dict[str, Any]:
    """The content of `run.json`, or an empty dict if there is none.

    Raises:
        FindingError: the folder does not exist, or the file is not JSON.
    """
    if not folder.is_dir():
        raise FindingError(f"{folder} is not a folder. Give one with results: {measure_hint(folder)}")
    path = folder / RUN
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise FindingError(
            f"{path} cannot be read: {error}. Remove it, or measure again: {hint('microtome analyze', 'mt.analyze')}"
        ) from None
    return content if isinstance(content, dict) else {}


def find_findings(folder: Path) -> Iterator[FindingPlace]:
    """Every finding below `folder`, sorted by path; folders that begin with a dot are scratch and not entered."""
    for root, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if CARD in names:
            here = Path(root)
            path = here.relative_to(folder).as_posix()
            try:
                content = card(here)
                _ = content["analysis"], content["origin"]  # what the choice between keys needs; their lack is damage
            except FindingError as error:
                yield FindingPlace(here, path, {}, str(error))
            except (AttributeError, KeyError, TypeError) as error:
                yield FindingPlace(
                    here,
                    path,
                    {},
                    f"{here / CARD} is not what microtome writes ({error!r}). Measure again: {rerun_hint(here)}",
                )
            else:
                yield FindingPlace(here, path, content)


def shown_findings(folder: Path, run: dict[str, Any]) -> list[FindingPlace]:
    """One finding for each specimen and analysis: the one the run names, else the newest; unreadable ones are all kept."""
    named = [str(entry.get("folder", "")) if isinstance(entry, dict) else str(entry) for entry in run.get("findings") or ()]
    rank = {path.strip("/"): place for place, path in enumerate(named)}
    chosen: dict[tuple[str, str], FindingPlace] = {}
    damaged: list[FindingPlace] = []
    for place in find_findings(folder):
        if place.reason:
            damaged.append(place)
            continue
        key = (str(place.card.get("analysis")), _subject_name(place.card))
        rival = chosen.get(key)
        if rival is None or _preference_key(place, rank) > _preference_key(rival, rank):
            chosen[key] = place
    order = {str(name): at for at, name in enumerate(run.get("specimens") or ())}
    last = len(order)
    return sorted(chosen.values(), key=lambda entry: (order.get(_subject_name(entry.card), last), entry.path)) + damaged


def _subject_name(content: dict[str, Any]) -> str:
    """The specimen of a finding; several joined; empty for an analysis of findings, of which only one is shown."""
    origin = content.get("origin") or {}
    name = str((origin.get("specimen") or {}).get("name", ""))
    if name or "findings" in origin or content.get("analysis") == "compare":
        return name
    return " + ".join(map(str, origin.get("specimens") or ()))


def _preference_key(place: FindingPlace, rank: dict[str, int]) -> tuple[bool, float, str]:
    started = (place.card.get("origin") or {}).get("started")
    moment = 0.0
    if isinstance(started, int | float):
        moment = float(started)
    elif isinstance(started, str) and started:
        try:
            moment = datetime.fromisoformat(started).timestamp()
        except ValueError:
            moment = 0.0  # a date nobody can read is older than any other
    return place.path in rank, moment, place.path


def _packed_card(place: FindingPlace, blocks: dict[str, Any], coords: dict[str, Any]) -> dict[str, Any]:
    """The card of a finding with its arrays packed into `blocks` and their coordinates into `coords`.

    Raises:
        FindingError: the card or the arrays are damaged.
    """
    if place.reason:
        raise FindingError(place.reason)
    try:
        finding = Finding.load(place.folder)
        drawn = {name for panel in finding.panels for name in panel.arrays()}
        arrays = {
            name: share_coordinates(pack_array(array, place.card["arrays"][name], blocks, name in drawn), coords)
            for name, array in finding.arrays.items()
        }
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise FindingError(
            f"{place.folder} is not a finding that can be read ({error!r}). Measure again: {rerun_hint(place.folder)}"
        ) from None
    written = {name: value for name, value in place.card.items() if name not in ("files", "dimensions")}
    return written | {"id": place.id, "folder": place.path, "arrays": arrays}


def _plain_lines(data: dict[str, Any]) -> str:
    """The headlines of all findings as HTML, network by network under each title, for readers whose browser runs no script."""
    sections: dict[str, list[str]] = {}
    for finding in data["findings"]:
        network = _subject_name(finding)
        headline = str(finding.get("headline", finding.get("line", "")))  # findings of format 1 have a line
        sections.setdefault(str(finding["title"]), []).append(f"{network}: {headline}" if network else headline)
    lists = (
        f"<h2>{html.escape(title)}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
        for title, lines in sections.items()
    )
    return f"<h1>{html.escape(data['title'])}</h1>{''.join(lists)}"
