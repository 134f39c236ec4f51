"""What a module's docstring says of itself: its summary, its body, and its source."""

import inspect
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Prose:
    """A docstring in three parts; each is empty where it is missing."""

    summary: str
    body: str
    source: str


def read(docstring: str | None) -> Prose:
    """The first line, what stands between, and the paragraph that begins with `Source:` (joined to one line)."""
    text = inspect.cleandoc(docstring or "")
    summary, _, rest = text.partition("\n")
    found = re.search(r"^Source:(.*?)(?=\n\s*\n|\Z)", rest, re.MULTILINE | re.DOTALL)
    source = " ".join(found.group(1).split()) if found else ""
    body = (rest[: found.start()] + rest[found.end() :] if found else rest).strip()
    return Prose(summary.strip(), body, source)
