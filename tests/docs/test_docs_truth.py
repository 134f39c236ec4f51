"""docs/truth.md: a row for every analysis, and tests that exist."""

import ast
import re

import pytest
from docs_reading import DOCS, ROOT

from microtome import catalog

PAGE = DOCS / "truth.md"
TEXT = PAGE.read_text(encoding="utf-8")
OURS = sorted(entry.name for entry in catalog.analysis_entries().values() if entry.module.startswith("microtome."))
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
ROWS = {match[1]: line for line in TEXT.splitlines() if (match := re.match(r"\| \[`(\w+)`\]", line))}


def test_every_analysis_has_one_row_with_all_columns() -> None:
    assert sorted(ROWS) == OURS
    for name, line in ROWS.items():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 5 and all(cells), name
        assert "`tests/" in cells[1], f"{name} names no test"


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_every_test_named_exists(path: str, test: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_coverage_of_every_interval_is_a_section_or_a_test() -> None:
    """A link to the whole page would send the reader to a section that may not be there."""
    headings = re.findall(r"^## (.+)$", (DOCS / "coverage.md").read_text(encoding="utf-8"), re.MULTILINE)
    sections = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for name, line in ROWS.items():
        interval = line.strip("|").split("|")[4].strip()
        linked = re.findall(r"\]\(coverage\.md#?([^)]*)\)", interval)
        assert set(linked) <= sections, name
        assert linked or "`tests/" in interval or interval.startswith("no interval"), name
