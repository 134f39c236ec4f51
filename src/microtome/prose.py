"""The parts of a module's docstring: summary, body and source."""

import inspect
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Prose:
    """A docstring in three parts; each is empty where it is missing."""

    summary: str
    body: str
    source: str


def read_docstring(docstring: str | None) -> Prose:
    """The first line, what stands between, and the paragraph that begins with `Source:` (joined to one line)."""
    text = inspect.cleandoc(docstring or "")
    summary, _, rest = text.partition("\n")
    match = re.search(r"^Source:(.*?)(?=\n\s*\n|\Z)", rest, re.MULTILINE | re.DOTALL)
    source = " ".join(match.group(1).split()) if match else ""
    body = (rest[: match.start()] + rest[match.end() :] if match else rest).strip()
    return Prose(summary.strip(), body, source)


def plural(count: int, noun: str, many: str = "") -> str:
    """The number with its noun: "1 layer", "2 layers"; `many` where the plural is not the noun with an s."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def name_list(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
