"""Analyses, edits and kinds of map of other packages, each loaded in isolation: a broken plug-in affects nothing else.

A package announces an analysis with an entry point in the group `microtome.analyses`, an edit in `microtome.edits`, a kind of class
activation map in `microtome.map_kinds`, written `stem = "package.module:Class"`.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

E = TypeVar("E")
GROUPS = ("microtome.analyses", "microtome.edits", "microtome.map_kinds", "microtome.claims")


@dataclass(frozen=True)
class BrokenPlugin:
    """A plug-in that cannot be used: its name, the package it comes from, why, and what would help."""

    name: str
    package: str
    reason: str
    remedy: str

    @property
    def text(self) -> str:
        """All of it in one sentence or two."""
        return f"The plug-in '{self.name}' of {self.package} cannot be used: {self.reason}. {self.remedy}"


def read_plugins(
    group: str, parse: Callable[[Path, str], E | None], taken: set[str]
) -> tuple[dict[str, E], list[BrokenPlugin]]:
    """What the entry points of one group hold, by name, and those that cannot be read; names that are `taken` are refused."""
    entries: dict[str, E] = {}
    broken: list[BrokenPlugin] = []
    for point in sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name):
        try:
            if point.name in taken or point.name in entries:
                raise _Refused("the name is taken", "Give the file and its entry point another name.")
            entries[point.name] = _read_point(point, parse)
        except _Refused as refused:
            broken.append(BrokenPlugin(point.name, package_of(point), refused.reason, refused.remedy))
        except Exception as error:  # whatever a foreign file does while it is found and parsed
            broken.append(
                BrokenPlugin(
                    point.name, package_of(point), describe_error(error), f"Mend {point.module}, or uninstall the package."
                )
            )
    return entries, broken


def package_of(point: importlib.metadata.EntryPoint) -> str:
    """The package that announces an entry point, with its version where it is known."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.module.partition(".")[0]


def package_named(name: str) -> str:
    """The package that announces the analysis or edit of that name."""
    points = [point for group in GROUPS for point in importlib.metadata.entry_points(group=group, name=name)]
    return package_of(points[0]) if points else "an unknown package"


def describe_error(error: BaseException) -> str:
    """An exception in one line: its class and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _read_point(point: importlib.metadata.EntryPoint, parse: Callable[[Path, str], E | None]) -> E:
    spec = importlib.util.find_spec(point.module)
    if spec is None or not spec.origin:
        raise _Refused(
            f"there is no module {point.module}", "Correct the entry point in its pyproject.toml, and install it again."
        )
    path = Path(spec.origin)
    if path.stem != point.name:
        raise _Refused(
            f"its entry point is called '{point.name}' and its file {path.name}; both have to be the same word",
            f"Call the entry point '{path.stem}', or the file {point.name}.py.",
        )
    entry = parse(path, point.module)
    if entry is None:
        raise _Refused(
            f"{path.name} holds no class that derives from Analysis, Census, Collation, Edit, MapKind or Claim",
            "Write the base class by that name, for example class Mine(Census[Rows]).",
        )
    return entry


class _Refused(Exception):
    """A plug-in that is refused, with the reason and the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy
