"""The documentation says what is there, all of it, and nothing that is not."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from types import ModuleType

import numpy as np
import pytest
from docs_reading import DOCS, ROOT, anchors, files, first_column, links, prose, shown

from microtome import catalog
from microtome.cli.verbs import build_group
from microtome.finding import DIMENSIONS, Finding, array
from microtome.key_numbers import KeyNumber
from microtome.panels import Heat
from microtome.store import Store

DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = [entry for entry in catalog.analysis_entries().values() if entry.module.startswith("microtome.")]
EDITS = [entry for entry in catalog.edit_entries().values() if entry.module.startswith("microtome.")]


def test_generated_pages_are_fresh() -> None:
    told = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"run make docs:\n{told.stdout}{told.stderr}"


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("generate")


def test_a_stale_page_is_named(generate, monkeypatch, capsys) -> None:
    monkeypatch.setattr(generate, "stale", lambda: [generate.DOCS / "cli.md"])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "stale: docs/cli.md (make docs)\n"


def finding(specimen: str, headline: str) -> Finding:
    """A finding of cost with an image too rich for a small file, and two arrays that belong to layers."""
    noise = np.random.default_rng(0).random((400, 400))
    arrays = {
        "noise": array(noise, ("row", "col"), "1", title="noise"),
        "map/layer1": array([1.0], ("unit",), "px"),
        "map/layer2": array([1.0], ("unit",), "px"),
    }
    panels = (Heat(title="Noise", z="noise"),)
    number = KeyNumber(name="latency", value=1.5, unit="ms", baseline=2)
    origin = {"specimen": {"name": specimen}, "images": {"name": "photos", "count": 7}, "key": "00"}
    return Finding(
        analysis="cost",
        arrays=arrays,
        panels=panels,
        headline=headline,
        key_numbers=(number,),
        caveats=("One caveat.",),
        origin=origin,
    )


def test_pages_show_what_findings_hold(generate, tmp_path, monkeypatch) -> None:
    store = Store.create(tmp_path / "results")
    store.save(finding("microtome:mini_vgg", "Line 1."))
    store.save(finding("microtome:mini_resnet", "Line 2."))  # a favourite, so it is the one shown
    monkeypatch.setattr(generate, "ARRAYS", tmp_path / "arrays.json")
    monkeypatch.setattr(generate, "FIGURES", tmp_path / "figures")
    generate.note_arrays(store.root)
    generate.draw_figures(store.root)
    page = next(text for path, text in generate.pages().items() if path.name == "cost.md")
    assert "Result for `microtome:mini_resnet` on 7 images of `photos`:\n\n> Line 2." in page
    assert "| latency | 1.50 ms | 2 ms (untrained twin) |  |" in page
    assert "| `noise` | row, col | 1 | noise |\n| `map/LAYER` | unit | px |  |\n\n## Interpretation" in page
    assert "- One caveat." in page
    assert "](../figures/cost.png)" in page
    assert 0 < (tmp_path / "figures" / "cost.png").stat().st_size <= generate.LARGEST


def test_generating_imports_no_torch() -> None:
    code = f"import sys; sys.path.insert(0, {str(DOCS)!r}); import generate; generate.pages(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", files(), ids=shown)
def test_every_link_leads_somewhere(path) -> None:
    assert len(links(path)) == len(re.findall(r"\]\((?![a-z]+:)", prose(path))), "a link that is not understood"
    for target in links(path):
        place, _, anchor = target.partition("#")
        file = (path.parent / place).resolve() if place else path
        assert file.exists(), f"{shown(path)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{shown(path)} links to {target}, which has {sorted(anchors(file))}"


def test_every_verb_and_analysis_is_documented() -> None:
    help_page = (DOCS / "cli.md").read_text(encoding="utf-8")
    overview = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(OURS) > 20 and {"analyze", "compare", "table"} <= build_group().commands.keys()
    for name in build_group().commands:
        assert f"## microtome {name}\n" in help_page
    for entry in OURS:
        assert f"(docs/analyses/{entry.name}.md)" in overview
        page = (DOCS / "analyses" / f"{entry.name}.md").read_text(encoding="utf-8")
        assert all(f"| `{one.name}` |" in page for one in entry.options)


def test_every_edit_is_documented() -> None:
    overview, help_page = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", DOCS / "cli.md"))
    assert len(EDITS) > 8
    for entry in EDITS:
        assert f"(docs/edits/{entry.name}.md)" in overview
        page = (DOCS / "edits" / f"{entry.name}.md").read_text(encoding="utf-8")
        assert all(f"| `{one.name}` |" in page for one in entry.options)
        assert all(f"  {one.name}=" in help_page for one in entry.options)


def test_verbs_named_in_prose_exist() -> None:
    known = {*build_group().commands, "VERB", "NAME"}
    named = {word: shown(path) for path in files() for word in re.findall(r"`microtome (\S+?)[ `]", prose(path))}
    assert {"analyze", "view", "rerun"} <= named.keys()
    assert {word: path for word, path in named.items() if word not in known and not word.startswith("-")} == {}


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        word: shown(path)
        for path in files()
        for word in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"test", "demo"} <= named.keys()
    assert {word: path for word, path in named.items() if word not in targets} == {}


def test_glossary_has_every_option_and_no_other() -> None:
    used = {one.name for entry in [*OURS, *EDITS] for one in entry.options}
    assert set(first_column(DOCS / "glossary.md", "Options")) == used


def test_glossary_has_every_dimension_and_no_other() -> None:
    assert set(first_column(DOCS / "glossary.md", "Dimensions")) == DIMENSIONS


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{place + 1:04}" for place in range(len(DECISIONS))]


@pytest.mark.parametrize("path", DECISIONS, ids=shown)
def test_a_decision_has_its_parts_and_is_listed(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    assert [part for part in ("**Context.**", "**Decision.**", "**Why", "**Consequences.**") if part not in text] == []
    assert f"decisions/{path.name}" in links(DOCS / "index.md")


def test_every_dependency_has_its_reason_and_licence() -> None:
    wanted = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    wanted += [one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[\[<>=~! ]", one)[0] for one in wanted} - {"microtome"}
    names |= set(json.loads((ROOT / "web" / "package.json").read_text(encoding="utf-8"))["devDependencies"])
    page = DOCS / "decisions" / "0009-dependencies.md"
    assert set(first_column(page, "")) == names
    rows = re.findall(r"^\| [\w-]+ \|.*\| ([^|]+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    licences = [row for row in rows if row != "licence"]
    assert len(licences) == len(names)
    named = ("MIT", "BSD", "Apache", "PSF", "HPND", "MPL")  # MPL: two tools of the tests, said so on the page
    assert all(any(word in licence for word in named) for licence in licences)
    assert sum("MPL" in licence for licence in licences) == 2


def test_the_layers_told_are_the_layers_enforced() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    told = re.search(r"```text\n(.*?)\n```", text, re.DOTALL)
    assert told is not None
    assert told.group(1).splitlines() == PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]


def test_the_licence_is_the_whole_licence() -> None:
    # sha256 of https://www.apache.org/licenses/LICENSE-2.0.txt, as Debian ships it in /usr/share/common-licenses/Apache-2.0
    import hashlib

    said = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert said == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
