"""The documentation as tests see it: files, fenced blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OWN = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


@dataclass(frozen=True)
class Block:
    """A fenced block: its file, its language, its text."""

    path: Path
    language: str
    text: str


def files() -> list[Path]:
    return [*(ROOT / name for name in OWN), *sorted(DOCS.rglob("*.md"))]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> Iterator[Block]:
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if not languages or language in languages:
            yield Block(path, language, text)


def prose(path: Path) -> str:
    """The text of a file without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """The words of every `microtome …` line in the shell blocks, but for those shown with the message they fail with."""
    found: list[list[str]] = []
    for block in blocks(path, "sh", "bash", "console"):
        lines = block.text.replace("\\\n", " ").splitlines()
        for place, line in enumerate(lines):
            line = line.removeprefix("$ ")
            fails = place + 1 < len(lines) and lines[place + 1].startswith("microtome: ")
            if line.startswith("microtome ") and not fails:
                found.append(shlex.split(line, comments=True)[1:])
    return found


def anchors(path: Path) -> set[str]:
    """The names that links into a file may end with: its headings, as GitHub spells them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def links(path: Path) -> list[str]:
    """The targets of links and images to files of this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def first_column(path: Path, heading: str) -> list[str]:
    """The first cells, without backquotes, of the tables below a heading (or of the whole file for an empty one)."""
    text = path.read_text(encoding="utf-8")
    if heading:
        text = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
        text = re.split(r"^#+ ", text, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| *([^|]+?) *\|", text, re.MULTILINE)
    rows = [cell for place, cell in enumerate(cells) if not (place + 1 < len(cells) and set(cells[place + 1]) <= {"-"})]
    return [cell.strip("`") for cell in rows if not set(cell) <= {"-"}]
