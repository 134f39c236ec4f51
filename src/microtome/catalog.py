"""What exists, read without importing it: analyses and edits of this package by their syntax trees, others by their entry points.

So `microtome --help`, the app's forms and the docs know every option without a second of torch. A third-party package adds an
analysis or an edit with an entry point in the group `microtome.analyses` or `microtome.edits`, written
`stem = "package.module:Class"`.
"""

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from microtome import prose
from microtome.errors import UnknownName, did_you_mean

GROUP = "microtome.analyses"
EDITS = "microtome.edits"
KINDS = ("Analysis", "Census", "Collation")
E = TypeVar("E")


@dataclass(frozen=True)
class OptionCard:
    """One option of an analysis or edit: its name, type as written, default, help, range and choices."""

    name: str
    type: str
    default: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One analysis, as far as it is known without importing it."""

    name: str
    module: str
    cls: str
    kind: str
    title: str
    summary: str
    body: str
    source: str
    needs: str
    question: str
    with_twin: bool
    options: tuple[OptionCard, ...]

    def load(self) -> Any:
        """The class itself (imports torch)."""
        return getattr(importlib.import_module(self.module), self.cls)


@dataclass(frozen=True)
class EditEntry:
    """One edit, as far as it is known without importing it."""

    name: str
    module: str
    cls: str
    title: str
    summary: str
    body: str
    source: str
    options: tuple[OptionCard, ...]

    def load(self) -> Any:
        """The class itself (imports torch)."""
        return getattr(importlib.import_module(self.module), self.cls)


@functools.cache
def entries() -> dict[str, Entry]:
    """Every analysis by name, our own first, then those of installed packages."""
    return _found(GROUP, _read)


@functools.cache
def edits() -> dict[str, EditEntry]:
    """Every edit by name, our own first, then those of installed packages."""
    return _found(EDITS, _read_edit)


def _found(group: str, read: Callable[[Path, str], E | None]) -> dict[str, E]:
    """What the files of one folder of ours hold, by stem, then what other packages announce for the group of that name."""
    folder = Path(__file__).parent / group.rpartition(".")[2]
    files = {path.stem: (path, f"{group}.{path.stem}") for path in folder.glob("[a-z]*.py")}
    files |= {
        path.stem: (path, f"{group}.{path.stem}.{path.stem}") for path in folder.glob("*/*.py") if path.stem == path.parent.name
    }
    found = {name: entry for name, place in sorted(files.items()) if (entry := read(*place))}
    for point in importlib.metadata.entry_points(group=group):
        spec = importlib.util.find_spec(point.module)
        if point.name not in found and spec is not None and spec.origin and (entry := read(Path(spec.origin), point.module)):
            found[point.name] = entry
    return found


def entry(name: str) -> Entry:
    """The analysis of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = entries()
    if name not in known:
        raise UnknownName(f"There is no analysis '{name}'.{did_you_mean(name, known)} List them: microtome list")
    return known[name]


def edit(name: str) -> EditEntry:
    """The edit of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = edits()
    if name not in known:
        raise UnknownName(f"There is no edit '{name}'.{did_you_mean(name, known)} List them: microtome list")
    return known[name]


def _read_edit(path: Path, module: str) -> EditEntry | None:
    """The entry of one edit file, or None where the file holds no edit."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_base_name(base) == "Edit" for base in node.bases):
            told = prose.read(ast.get_docstring(tree, clean=False))
            title = str(_constants(node).get("title") or path.stem.replace("_", " ").capitalize())
            return EditEntry(path.stem, module, node.name, title, told.summary, told.body, told.source, tuple(_options(node)))
    return None


def _read(path: Path, module: str) -> Entry | None:
    """The entry of one analysis file, or None where the file holds no analysis."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        kind = next((name for base in getattr(node, "bases", ()) if (name := _base_name(base)) in KINDS), None)
        if isinstance(node, ast.ClassDef) and kind:
            told = prose.read(ast.get_docstring(tree, clean=False))
            said = _constants(node)
            return Entry(
                name=path.stem,
                module=module,
                cls=node.name,
                kind=kind,
                title=str(said.get("title") or path.stem.replace("_", " ").capitalize()),
                summary=told.summary,
                body=told.body,
                source=told.source,
                needs=str(said.get("needs", "findings" if kind == "Collation" else "images")),
                question=str(said.get("question", "understand")),
                with_twin=bool(said.get("with_twin", False)),
                options=tuple(_options(node)),
            )
    return None


def _base_name(base: ast.expr) -> str:
    """The last word of a base class: `Census` for `Census`, `analysis.Census` and `Census[Rows]`."""
    if isinstance(base, ast.Subscript):
        return _base_name(base.value)
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    """Class variables whose values are literals."""
    said: dict[str, Any] = {}
    for line in node.body:
        targets = [line.target] if isinstance(line, ast.AnnAssign) else line.targets if isinstance(line, ast.Assign) else []
        value = getattr(line, "value", None)
        if value is not None and targets and isinstance(targets[0], ast.Name) and isinstance(value, ast.Constant):
            said[targets[0].id] = value.value
    return said


def _options(node: ast.ClassDef) -> list[OptionCard]:
    """The fields declared by `option(default, help, low=…, high=…)`."""
    cards: list[OptionCard] = []
    for line in node.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(line.value, ast.Call)):
            continue
        call = line.value
        if not (isinstance(call.func, ast.Name) and call.func.id == "option"):
            continue
        words = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        values = [ast.literal_eval(value) for value in call.args]
        default = values[0] if values else words.get("default")
        help_ = values[1] if len(values) > 1 else words.get("help", "")
        written = ast.unparse(line.annotation)
        cards.append(
            OptionCard(line.target.id, written, default, help_, words.get("low"), words.get("high"), _choices(line.annotation))
        )
    return cards


def _choices(annotation: ast.expr) -> tuple[str, ...]:
    """What a `Literal[...]` annotation, alone or inside a tuple, allows."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return tuple(str(part.value) for part in parts if isinstance(part, ast.Constant))
    return ()
