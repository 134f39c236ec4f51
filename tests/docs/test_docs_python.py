"""Python in the documentation: it compiles, its analyses take the options shown, and the page about Python runs."""

import ast
import re

import pytest
from docs_reading import DOCS, Block, blocks, files, shown

import microtome as mt

BLOCKS = [block for path in files() for block in blocks(path, "python")]
NAMES = [f"{shown(block.path)}: {block.text.splitlines()[-1][:50]}" for block in BLOCKS]


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_it_compiles_and_names_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mt":
            assert hasattr(mt, node.attr), f"{shown(block.path)} names mt.{node.attr}"
        made = node.func if isinstance(node, ast.Call) else None
        if isinstance(made, ast.Attribute) and re.fullmatch(r"mt\.(analyses|edits)\.\w+\.[A-Z]\w+", ast.unparse(made)):
            eval(ast.unparse(node), {"mt": mt})  # the constructor checks every option


def test_the_page_about_python_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(DOCS / "python.md", "python"):
        exec(compile(block.text, str(block.path), "exec"), names)
    assert (tmp_path / "probe.pdf").stat().st_size > 1000
    assert (tmp_path / "results" / "report.html").stat().st_size > 10_000
    assert "Best linear probe: " in capsys.readouterr().out
    run = names["run"]
    assert run.failed == []  # type: ignore[attr-defined]
    assert set(names["again"].arrays) == set(mt.Finding.load("kept/probe").arrays)  # type: ignore[attr-defined]
