"""Names by the style guide: no bare participle, no public class name twice, docstrings that say what comes back or what changes."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "microtome"
TREES = {
    path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))
}
IRREGULAR = (
    "begun bent bound bought brought built caught clung dealt done drawn fed felt fought found gone grown held hung kept known laid led "
    "left lent lit lost made meant met paid said sat seen sent shown shrunk slid sold sought spelt spent stood struck stuck swept swung "
    "taught thought told torn understood unheard won worn wound"
)
NO_PARTICIPLES = "embed exceed feed need seed shed speed even flatten listen open shorten specimen token"
EXCEPTIONS = {
    "Finding.trained": "an adjective of the specimen, as in its record: whether its weights are trained",
    "Mixed": "the name that the Inception papers give this block",
}


def is_bare_participle(name: str) -> bool:
    """Whether the whole name is one participle: `named` is, `named_layers` and `NamedLayers` are not."""
    word = name.strip("_").lower()
    single = "_" not in name.strip("_") and name[1:] == name[1:].lower()
    return single and (word in IRREGULAR.split() or (word.endswith(("ed", "en")) and word not in NO_PARTICIPLES.split()))


def public_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Qualified and own name of every public function, class and method of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node.name
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner.name


def test_participles_are_known_from_nouns_and_verbs() -> None:
    assert all(map(is_bare_participle, ("seated", "told", "_drawn", "Projected", "taken")))
    assert not any(map(is_bare_participle, ("seed", "named_layers", "RecordingFailed", "shorten", "place_cells", "Specimen")))


@pytest.mark.parametrize("path", TREES)
def test_no_public_name_is_a_bare_participle(path: str) -> None:
    assert [full for full, name in public_names(TREES[path]) if is_bare_participle(name) and full not in EXCEPTIONS] == []


def test_every_exception_is_still_needed() -> None:
    public = {full for tree in TREES.values() for full, _ in public_names(tree)}
    assert sorted(set(EXCEPTIONS) - public) == []


def test_no_public_class_name_is_defined_in_two_modules() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path)
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("path", TREES)
def test_no_docstring_begins_with_nothing(path: str) -> None:
    documented = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    texts = [(ast.get_docstring(node) or "").lstrip() for node in documented]
    assert [text for text in texts if text.startswith("Nothing")] == []


# Functions that a protocol calls by this very name, and what calls them.
SAME_NAME = {"main": "the entry point `microtome` and `python -m microtome.training`"}


def test_no_public_function_name_is_defined_in_two_modules() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                homes[node.name].append(path)
    assert len(homes) > 500
    repeated = {name: paths for name, paths in homes.items() if len(paths) > 1}
    assert repeated.keys() == SAME_NAME.keys(), repeated
