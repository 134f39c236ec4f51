"""Names that tell the specimens of one run apart: by their weights files, else by what else they were opened with."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any


def distinguishing_words(asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """For each specimen the words that tell it from others of its name; empty where the name does, or where nothing can.

    `asked`: the name and what it was opened with (weights, state, options, recipe, seed, ...), the most telling first. Of weights files
    the parts of the path are taken from which on they differ: "epoch1", or "runA/best" and "runB/best".
    """
    words = [""] * len(asked)
    groups: dict[str, list[int]] = {}
    for place, (name, _) in enumerate(asked):
        groups.setdefault(name, []).append(place)
    for places in groups.values():
        if len(places) < 2:
            continue
        facts = [asked[place][1] for place in places]
        for key in dict.fromkeys(key for each in facts for key in each):
            values = [each.get(key) for each in facts]
            if len({repr(value) for value in values}) == 1:
                continue
            for place, text in zip(places, _texts(key, values), strict=True):
                words[place] = ", ".join(filter(None, (words[place], text)))
    return words


def _texts(key: str, values: Sequence[Any]) -> list[str]:
    if key == "weights":
        return _file_words(["" if value is None else str(value) for value in values])
    return [
        "" if value in (None, "", {}, ()) else f"{key} {_plain(value)}" if key not in ("state", "options") else _plain(value)
        for value in values
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return str(value)


def _file_words(paths: Sequence[str]) -> list[str]:
    """Each path by the last parts that tell it from the others: the file's stem where that is enough, else with its folders.

    A folder that all the paths share in the same place below the part that differs is left out.
    """
    if len({PurePath(path).stem for path in paths}) == len(set(paths)):
        return [PurePath(path).stem or "untrained" for path in paths]
    if len({PurePath(path).name for path in paths}) == len(set(paths)):
        return [PurePath(path).name or "untrained" for path in paths]
    parts = [PurePath(path).parts for path in paths]
    most = max(map(len, parts))
    for kept in range(2, most + 1):
        result = [part[-kept:] for part in parts]
        if len(set(result)) == len(set(paths)):
            for with_ending in (False, True):
                words = ["/".join(_without_shared(each, result, with_ending)).lstrip("/") or "untrained" for each in result]
                if len(set(words)) == len(set(paths)):
                    return words
    return list(paths)


def _without_shared(path: tuple[str, ...], all_paths: Sequence[tuple[str, ...]], with_ending: bool) -> list[str]:
    """The parts of a path from the end that are not the same in all, and the file's name, with its ending or without."""
    kept = [
        part
        for place, part in enumerate(path[:-1])
        if len({each[place - len(path)] if len(each) >= len(path) - place else "" for each in all_paths}) > 1
    ]
    file = PurePath(path[-1]) if path else PurePath()
    return [*kept, file.name if with_ending else file.stem]
