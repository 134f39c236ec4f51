"""The parts of a docstring, and counts and lists in words."""

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


def count_of(count: int, total: int, noun: str, many: str = "") -> str:
    """How many of so many: "none of the 3 layers", "1 of 3 layers", "all 3 layers", "the only layer"; "no layer" where there is none."""
    many = many or noun + "s"
    if total < 2:
        return f"the only {noun}" if count else f"no {noun}"
    return (
        f"none of the {total} {many}"
        if not count
        else f"all {total} {many}"
        if count == total
        else f"{count} of {total} {many}"
    )


def capitalise(sentence: str) -> str:
    """The sentence with a capital at its start; the rest stays as it is."""
    return sentence[:1].upper() + sentence[1:]


def agree(count: int, singular: str, plural_form: str) -> str:
    """The form of a verb after `count_of`: singular up to one, "none of the 3 layers covers"."""
    return singular if count < 2 else plural_form


def name_list(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
