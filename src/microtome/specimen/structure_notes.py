"""Sentences on the structure of a network: modules that never run, and labels that do not fit its outputs."""

from collections.abc import Sequence

from microtome.prose import plural
from microtome.specimen.layers import Layer


def structure_notes(silent: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    """What a user should know of the modules that never run (their paths), and of a network without layers."""
    notes: list[str] = []
    if paths := _outermost_paths(silent):
        verb = "never runs" if len(paths) == 1 else "never run"
        notes.append(f"{plural(len(paths), 'module')} {verb} in a forward pass and cannot be watched: {_group_paths(paths)}.")
    if not layers:
        notes.append("It has no submodules that run, so nothing inside it can be watched by name.")
    return notes


def label_note(labels: Sequence[str] | None, outputs: int | None, classes: int | None) -> str | None:
    """A sentence where there are other labels than outputs; None where they fit or one of them is not known."""
    if labels is None or outputs is None or len(labels) in (outputs, classes):
        return None
    return f"There are {plural(len(labels), 'label')} for {plural(outputs, 'output')}; labels beyond that mean nothing."


def _outermost_paths(paths: Sequence[str]) -> list[str]:
    """Paths without those that lie inside another of them."""
    every = set(paths)
    return [path for path in paths if not any(path.startswith(other + ".") for other in every)]


def _last_word(path: str) -> str:
    """The last part of a path that is not a number."""
    return next((part for part in reversed(path.split(".")) if not part.isdigit()), path)


def _group_paths(paths: Sequence[str]) -> str:
    """Paths listed by their last name: "attn_drop (12, first blocks.0.attn.attn_drop)"."""
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(_last_word(path), []).append(path)
    words = [group[0] if len(group) == 1 else f"{name} ({len(group)}, first {group[0]})" for name, group in alike.items()]
    return ", ".join(words[:6]) + (", …" if len(words) > 6 else "")
