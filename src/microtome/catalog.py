"""What exists, read without importing it: analyses and edits of this package by their syntax trees, others by their entry points.

So `microtome --help`, the app's forms and the docs know every option without a second of torch. A third-party package adds an
analysis or an edit with an entry point in the group `microtome.analyses` or `microtome.edits`, written
`stem = "package.module:Class"`.
"""

import ast
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from microtome import map_kinds, plugins, prose
from microtome.class_files import base_name, class_constants
from microtome.errors import UnknownName, did_you_mean, hint

ENTRY_POINT_GROUP = "microtome.analyses"
EDIT_GROUP = "microtome.edits"
BASE_CLASSES = ("Analysis", "Census", "Collation")
AnyEntry = TypeVar("AnyEntry")


@dataclass(frozen=True)
class OptionCard:
    """One option of an analysis or edit: its name, type as written, default, help, range, choices, values at other efforts."""

    name: str
    type: str
    default: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    quick: Any = None
    full: Any = None


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
    command: str
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
def analysis_entries() -> dict[str, Entry]:
    """Every analysis by name, our own first, then those of installed packages that can be read."""
    own = _own(ENTRY_POINT_GROUP, _read_analysis_file)
    return own | plugins.read_plugins(ENTRY_POINT_GROUP, _read_analysis_file, set(own))[0]


@functools.cache
def edit_entries() -> dict[str, EditEntry]:
    """Every edit by name, our own first, then those of installed packages that can be read."""
    own = _own(EDIT_GROUP, _read_edit_file)
    return own | plugins.read_plugins(EDIT_GROUP, _read_edit_file, set(own))[0]


@functools.cache
def broken_plugins() -> tuple[plugins.BrokenPlugin, ...]:
    """The plug-ins that cannot be read, each with its package, the reason and the remedy."""
    analyses = plugins.read_plugins(ENTRY_POINT_GROUP, _read_analysis_file, set(_own(ENTRY_POINT_GROUP, _read_analysis_file)))
    edits = plugins.read_plugins(EDIT_GROUP, _read_edit_file, set(_own(EDIT_GROUP, _read_edit_file)))
    return (*analyses[1], *edits[1], *map_kinds.broken_kinds())


def unusable_plugins() -> list[plugins.BrokenPlugin]:
    """The plug-ins that cannot be read, imported or made with their defaults; imports those of other packages."""
    listed = list(broken_plugins())
    foreign = [analysis_entries().get(name) or edit_entries()[name] for name in plugin_names()]
    for entry in (*foreign, *map_kinds.foreign_entries()):
        try:
            entry.load()()
        except Exception as error:  # whatever a foreign module does when it is imported
            package = plugins.package_named(entry.module.rpartition(".")[2])
            reason = plugins.describe_error(error)
            listed.append(plugins.BrokenPlugin(entry.name, package, reason, f"Mend {entry.module}, or uninstall the package."))
    return listed


def plugin_names() -> list[str]:
    """The names of the analyses and edits of other packages."""
    own = set(_own(ENTRY_POINT_GROUP, _read_analysis_file)) | set(_own(EDIT_GROUP, _read_edit_file))
    return [name for name in (*analysis_entries(), *edit_entries()) if name not in own]


@functools.cache  # these files do not change while we run; several questions about them are asked
def _own(group: str, read: Callable[[Path, str], AnyEntry | None]) -> dict[str, AnyEntry]:
    """What the files of one folder of ours hold, by stem: NAME.py, or NAME/NAME.py."""
    folder = Path(__file__).parent / group.rpartition(".")[2]
    files = {path.stem: (path, f"{group}.{path.stem}") for path in folder.glob("[a-z]*.py")}
    files |= {
        path.stem: (path, f"{group}.{path.stem}.{path.stem}") for path in folder.glob("*/*.py") if path.stem == path.parent.name
    }
    return {name: entry for name, place in sorted(files.items()) if (entry := read(*place))}


def _list_hint() -> str:
    return hint("microtome list", "dir(mt.analyses), dir(mt.edits)")


def analysis_entry(name: str) -> Entry:
    """The analysis of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = analysis_entries()
    if name not in known:
        raise UnknownName(
            f"There is no analysis '{name}'.{_refused(name)}{did_you_mean(name, known)} List them: {_list_hint()}"
        )
    return known[name]


def edit_entry(name: str) -> EditEntry:
    """The edit of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = edit_entries()
    if name not in known:
        raise UnknownName(f"There is no edit '{name}'.{_refused(name)}{did_you_mean(name, known)} List them: {_list_hint()}")
    return known[name]


def _refused(name: str) -> str:
    """A clause about a plug-in of that name that cannot be read, or an empty text."""
    return next((f" {plugin.text}" for plugin in broken_plugins() if plugin.name == name), "")


def _read_edit_file(path: Path, module: str) -> EditEntry | None:
    """The entry of one edit file, or None where the file holds no edit."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(base_name(base) == "Edit" for base in node.bases):
            summary_parts = prose.read_docstring(ast.get_docstring(tree, clean=False))
            title = str(class_constants(node).get("title") or path.stem.replace("_", " ").capitalize())
            options = tuple(_option_cards(node, class_constants(tree)))
            return EditEntry(
                path.stem, module, node.name, title, summary_parts.summary, summary_parts.body, summary_parts.source, options
            )
    return None


def _read_analysis_file(path: Path, module: str) -> Entry | None:
    """The entry of one analysis file, or None where the file holds no analysis."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = class_constants(tree)
    for node in tree.body:
        kind = next((name for base in getattr(node, "bases", ()) if (name := base_name(base)) in BASE_CLASSES), None)
        if isinstance(node, ast.ClassDef) and kind:
            summary_parts = prose.read_docstring(ast.get_docstring(tree, clean=False))
            values = class_constants(node)
            return Entry(
                name=path.stem,
                module=module,
                cls=node.name,
                kind=kind,
                title=str(values.get("title") or path.stem.replace("_", " ").capitalize()),
                summary=summary_parts.summary,
                body=summary_parts.body,
                source=summary_parts.source,
                needs=str(values.get("needs", "findings" if kind == "Collation" else "images")),
                question=str(values.get("question", "understand")),
                with_twin=bool(values.get("with_twin", False) or values.get("draws_twins", False)),
                command=str(values.get("command", "")),
                options=tuple(_option_cards(node, constants)),
            )
    return None


def _option_cards(node: ast.ClassDef, constants: dict[str, Any]) -> list[OptionCard]:
    """The fields declared by `option(default, help, low=…, high=…)`; `constants` are those of the module.

    Raises:
        ValueError: a value that is neither a literal nor a constant of the module.
    """
    cards: list[OptionCard] = []
    for line in node.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(line.value, ast.Call)):
            continue
        call = line.value
        if base_name(call.func) != "option":
            continue
        words = {word.arg: _literal(word.value, constants) for word in call.keywords if word.arg}
        values = [_literal(value, constants) for value in call.args]
        default = values[0] if values else words.get("default")
        help_ = values[1] if len(values) > 1 else words.get("help", "")
        written = ast.unparse(line.annotation)
        rest = (words.get(word) for word in ("quick", "full"))
        choices = (
            (*map_kinds.map_kind_names(), *words.get("further", ()))
            if words.get("map_kind")
            else _literal_choices(line.annotation)
        )
        cards.append(OptionCard(line.target.id, written, default, help_, words.get("low"), words.get("high"), choices, *rest))
    return cards


def _literal(node: ast.expr, constants: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError:
        written = ast.unparse(node)
        raise ValueError(
            f"'{written}' is neither a literal nor a constant of the file, which an option's default must be"
        ) from None


def _literal_choices(annotation: ast.expr) -> tuple[str, ...]:
    """What a `Literal[...]` annotation, alone or inside a tuple, allows."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return tuple(str(part.value) for part in parts if isinstance(part, ast.Constant))
    return ()
