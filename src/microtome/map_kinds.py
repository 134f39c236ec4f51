"""The kinds of class activation map that exist, read without importing them: our own files, and those of other packages.

A kind is one file with one class that derives from `MapKind`, `GradientKind` or `PixelKind`. The stem of the file is its name, with
`_plus_plus` written ++.
"""

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome import plugins, prose
from microtome.class_files import base_name, class_constants
from microtome.errors import UnknownName, did_you_mean

GROUP = "microtome.map_kinds"
BASE_CLASSES = ("MapKind", "GradientKind", "PixelKind")
PIXEL_CLASS = "PixelKind"
PACKAGE = "microtome.instruments.attribution.kinds"


@dataclass(frozen=True)
class MapKindEntry:
    """One kind of map, as far as it is known without importing it."""

    name: str
    module: str
    cls: str
    title: str
    summary: str
    body: str
    source: str
    on_input: bool  # whether it maps the pixels

    def load(self) -> Any:
        """The class itself (imports torch)."""
        return getattr(importlib.import_module(self.module), self.cls)


@functools.cache
def map_kind_entries() -> dict[str, MapKindEntry]:
    """Every kind by name, our own first, then those of installed packages that can be read."""
    own = own_entries()
    return own | {kind_name(stem): entry for stem, entry in _read_foreign()[0].items()}


@functools.cache
def own_entries() -> dict[str, MapKindEntry]:
    """The kinds of this package by name."""
    folder = Path(__file__).parent.joinpath(*PACKAGE.split(".")[1:])
    entries = {
        kind_name(path.stem): _read_kind_file(path, f"{PACKAGE}.{path.stem}") for path in sorted(folder.glob("[a-z]*.py"))
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def foreign_entries() -> list[MapKindEntry]:
    """The kinds of other packages that can be read."""
    return [entry for name, entry in map_kind_entries().items() if name not in own_entries()]


def broken_kinds() -> list[plugins.BrokenPlugin]:
    """The kinds of other packages that cannot be read."""
    return _read_foreign()[1]


def map_kind_names() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(map_kind_entries())


def layer_kind_names() -> tuple[str, ...]:
    """The names of the kinds that map a layer."""
    return tuple(name for name, entry in map_kind_entries().items() if not entry.on_input)


def pixel_kind_names() -> tuple[str, ...]:
    """The names of the kinds that map the pixels."""
    return tuple(name for name, entry in map_kind_entries().items() if entry.on_input)


def map_kind_entry(name: str) -> MapKindEntry:
    """The kind of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = map_kind_entries()
    if name not in known:
        reason = next((f" {plugin.text}" for plugin in broken_kinds() if kind_name(plugin.name) == name), "")
        raise UnknownName(
            f"There is no kind of map '{name}'.{reason}{did_you_mean(name, known)} There are: {', '.join(known)}."
        )
    return known[name]


def kind_name(stem: str) -> str:
    """The name of the kind in a file of that stem."""
    return stem.replace("_plus_plus", "++")


def _read_foreign() -> tuple[dict[str, MapKindEntry], list[plugins.BrokenPlugin]]:
    stems = {entry.module.rpartition(".")[2] for entry in own_entries().values()}
    return plugins.read_plugins(GROUP, _read_kind_file, stems)


def _read_kind_file(path: Path, module: str) -> MapKindEntry | None:
    """The entry of one file, or None where it holds no kind."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(base_name(base) in BASE_CLASSES for base in node.bases):
            parts = prose.read_docstring(ast.get_docstring(tree, clean=False))
            title = str(class_constants(node).get("title") or kind_name(path.stem))
            on_input = PIXEL_CLASS in map(base_name, node.bases)
            name = kind_name(path.stem)
            return MapKindEntry(name, module, node.name, title, parts.summary, parts.body, parts.source, on_input)
    return None
