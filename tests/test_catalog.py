"""The catalog: what it reads without importing is what importing gives, and every analysis is tested by the common suite."""

import ast
import dataclasses
from pathlib import Path

import pytest

from microtome import catalog
from microtome.analysis import Collation, build_analysis
from microtome.edit import build_edit
from microtome.errors import BadOption, UnknownName

NAMES = list(catalog.analysis_entries())


@pytest.mark.parametrize("name", NAMES)
def test_read_is_what_is_imported(name: str) -> None:
    entry = catalog.analysis_entry(name)
    kind = entry.load()
    assert kind.name() == name
    assert kind.__name__ == "".join(part.capitalize() for part in name.split("_"))
    assert (entry.needs, entry.question, entry.title) == (kind.needs, kind.question, kind.title)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert [one.name for one in entry.options] == list(fields)
    plain = kind()
    for one in entry.options:
        assert one.help
        read = tuple(one.default) if isinstance(one.default, list) else one.default
        assert build_analysis(kind, {one.name: read}) == plain
        assert (one.low, one.high) == (fields[one.name].metadata["low"], fields[one.name].metadata["high"])


@pytest.mark.parametrize("name", NAMES)
def test_every_analysis_says_what_it_is(name: str) -> None:
    entry = catalog.analysis_entry(name)
    assert entry.summary.endswith(".")
    assert entry.source
    assert entry.title
    assert entry.question in ("choose", "understand", "slim", "repair")


@pytest.mark.parametrize("name", NAMES)
def test_every_analysis_has_a_test_that_runs_the_common_suite(name: str) -> None:
    folder = Path(__file__).parent / "analyses"
    path = next(path for path in (folder / f"test_{name}.py", folder / name / f"test_{name}.py") if path.is_file())
    kind = catalog.analysis_entry(name).load()
    if issubclass(kind, Collation):  # takes findings, so it has no network to run on
        assert "testing.check_finding(found, " in path.read_text(encoding="utf-8")
    else:
        assert kind.__name__ in checked_classes(path.read_text(encoding="utf-8"), "check")


@pytest.mark.parametrize("name", catalog.edit_entries())
def test_an_edit_read_is_the_edit_imported(name: str) -> None:
    entry = catalog.edit_entry(name)
    kind = entry.load()
    assert kind.name() == name
    assert kind.__name__ == "".join(part.capitalize() for part in name.split("_"))
    assert entry.title == kind.title
    assert entry.summary.endswith(".") and entry.source
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert [one.name for one in entry.options] == list(fields)
    for one in entry.options:
        assert one.help
        read = tuple(one.default) if isinstance(one.default, list) else one.default
        assert build_edit(name, {one.name: read}) == kind()
        assert (one.low, one.high) == (fields[one.name].metadata["low"], fields[one.name].metadata["high"])


@pytest.mark.parametrize("name", catalog.edit_entries())
def test_every_edit_has_a_test_that_runs_the_law_of_edits(name: str) -> None:
    path = Path(__file__).parent / "edits" / f"test_{name}.py"
    kind = catalog.edit_entry(name).load().__name__
    assert kind in checked_classes(path.read_text(encoding="utf-8"), "check_edit")


def checked_classes(text: str, suite: str) -> set[str]:
    """The classes that are built in the first argument of `testing.SUITE(…)` within a test, by their own names."""
    tree = ast.parse(text)
    names = {one.asname or one.name: one.name for node in tree.body if isinstance(node, ast.ImportFrom) for one in node.names}
    named = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute)]
    names |= {ast.unparse(node.targets[0]): node.value.attr for node in named if isinstance(node.value, ast.Attribute)}
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    calls = [node for test in tests for node in ast.walk(test) if isinstance(node, ast.Call) and node.args]
    built = [call.args[0] for call in calls if ast.unparse(call.func) == f"testing.{suite}"]
    called = [ast.unparse(one.func) for one in built if isinstance(one, ast.Call)]
    return {names.get(name, name) for name in called}


def test_a_call_of_the_suite_is_told_from_its_name() -> None:
    text = "from m import Own as C\n# testing.check(A())\ndef helper():\n    testing.check(B())\n"
    text += "def test_c():\n    x = testing.check(C(at=1), net)\n"
    assert checked_classes(text, "check") == {"Own"} and checked_classes(text, "check_edit") == set()


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match="'similarity'.*dir.mt.analyses."):
        catalog.analysis_entry("similarty")
    with pytest.raises(UnknownName, match="no edit 'squeeze'.*'squeeze_excitation'.*dir.mt.analyses."):
        catalog.edit_entry("squeeze")
    with pytest.raises(UnknownName, match="no option 'att'.*'at'"):
        build_analysis(catalog.analysis_entry("similarity").load(), {"att": "x"})


def test_options_are_checked_and_coerced() -> None:
    compare = catalog.analysis_entry("compare").load()
    with pytest.raises(BadOption, match="price is 'tme'; it takes time, size, operations.*'time'"):
        compare(price="tme")
    cost = catalog.analysis_entry("cost").load()
    with pytest.raises(BadOption, match="takes a value of type int"):
        cost(batch="many")
    with pytest.raises(BadOption, match="it takes 1 to 1024"):
        cost(batch=0)
    assert cost(batch="8").batch == 8
    assert catalog.analysis_entry("similarity").load()(at="a, b").at == ("a", "b")


def test_public_surface() -> None:
    import microtome as mt

    for name in mt.__all__:
        assert getattr(mt, name) is not None
    assert sorted(mt.__all__) == mt.__all__
    assert mt.analyses.similarity.Similarity.name() == "similarity"
    with pytest.raises(AttributeError, match="did you mean|Did you mean"):
        _ = mt.analyses.similarty
