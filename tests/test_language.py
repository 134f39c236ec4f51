"""The words of the style guide: what a reader of code, messages and pages meets, and what variables are called."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from microtome import catalog

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "microtome"
MODULES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
WEB = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "web" / "src").rglob("*.ts*"))}
# Word of the old dialect, and what to write.
WORDS = {
    r"(?<![\w.{/`])[Pp]ictures?\b(?![/(]|\.\w)": "image",
    r"(?<![\w.{/`])[Ss]hares? of\b": "fraction of",
    r"\b([Tt]he|[Aa]|as|that|its|their) shares?\b(?! (a|an|no|one|the|it|images|memory|with|this|them)\b)": "fraction",
    r"\bbroken pixels?\b": "fractional-pixel shifts",
    r"\bby heart\b": "overfit",
    r"\blet loose\b": "is filled with",
    r"\b(no merit of|redrawn image sets|in disguise)\b": "due to, bootstrap resample, alias",
}
CELLS = r"(?<![\w.{/`])[Cc]ells?\b(?![`(=])"
# Where a cell is no position of a feature map.
CELL_MODULES = {
    "analyses/erf/erf.py": "the name of an option",
    "figures/images.py": "cells of a drawn matrix",
    "figures/tables.py": "cells of a table",
    "numerics/maps/heat.py": "grid cells with an area, which resampling divides",
    "numerics/maps/strata.py": "cells of the size by clutter grid",
    "numerics/statistics/balanced_pairs.py": "cells of a two-by-two table",
    "numerics/weights/banding.py": "cells of oriented gradients",
    "specimen/value_digest.py": "cells of a closure",
}
VAGUE = {"one", "found", "told", "said", "it"}
# Scopes that keep a vague name, and why: public parameters, or the first of a pair (one, other).
VAGUE_KEPT = {
    ("runner/analyze.py", "said"): "public parameter of mt.analyze",
    ("edit.py", "one"): "pair (one, two)",
    ("instruments/perturbation/perturber.py", "one"): "pair (one, other)",
    ("instruments/perturbation/recording.py", "one"): "pair (one, two)",
    ("networks/deeplab.py", "one"): "pair (one, two)",
    ("numerics/receptive/sums.py", "one"): "pair (one, other)",
    ("numerics/weights/banding.py", "one"): "pair (one, other)",
    ("numerics/weights/nmf.py", "one"): "pair (one, two)",
    ("specimen/blocks.py", "one"): "pair (one, two)",
    ("specimen/learnt_tensors.py", "one"): "pair (one, two)",
    ("testing.py", "one"): "pair (one, other)",
}


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every comment and of every string that holds more than one word; the code inside f-strings is left out."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and " " in token.string.strip("\"'rbfRBF "):
            text = re.sub(r"\{[^{}]*\}", "{}", token.string) if "f" in token.string[:2].lower() else token.string
            yield token.start[0], text


def dialect(text: str, words: dict[str, str]) -> list[str]:
    """The words of the old dialect in a text, each with what to write."""
    return [f"{match.group()!r}: write {better}" for word, better in words.items() for match in re.finditer(word, text)]


def vague_names(source: str) -> set[str]:
    """The names in `VAGUE` that a module gives to a variable or a parameter."""
    nodes = list(ast.walk(ast.parse(source)))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return VAGUE & (stored | {node.arg for node in nodes if isinstance(node, ast.arg)})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a picture of it", 1), ("images[0].picture", 0), ("`picture` holds it", 0), ("base=picture/", 0), ("shares of the norm", 1),
        ("the share that lies there", 1), ("units that share an image", 0), ("shifts by broken pixels", 1), ("two of them share it", 0),
    ],
)  # fmt: skip
def test_dialect_is_known_from_other_words(text: str, count: int) -> None:
    assert len(dialect(text, WORDS)) == count


def test_prose_and_vague_names_are_read_from_code() -> None:
    code = 'x = f"a {one} picture"  # of one cell\nfor found in (1,):\n    """two words"""\nlabel = "name"\n'
    assert [text for _, text in prose(code)] == ['f"a {} picture"', "# of one cell", '"""two words"""']
    assert vague_names(code) == {"found"} and vague_names("def f(said): return lambda one: one") == {"said", "one"}


@pytest.mark.parametrize("path", MODULES)
def test_code_speaks_the_words_of_the_field(path: str) -> None:
    words = WORDS if path in CELL_MODULES else WORDS | {CELLS: "position"}
    texts = prose(MODULES[path].read_text(encoding="utf-8"))
    assert [(line, *hits) for line, text in texts if (hits := dialect(text, words))] == []


@pytest.mark.parametrize("path", PAGES)
def test_pages_speak_the_words_of_the_field(path: str) -> None:
    lines = PAGES[path].read_text(encoding="utf-8").splitlines()
    assert [(number, *hits) for number, line in enumerate(lines, 1) if (hits := dialect(line, WORDS))] == []


@pytest.mark.parametrize("path", WEB)
def test_the_page_in_the_browser_says_image(path: str) -> None:
    assert re.findall(r"(?<![\w.])[Pp]ictures?\b", WEB[path].read_text(encoding="utf-8")) == []


def test_every_exception_for_cells_is_still_needed() -> None:
    used = {path for path in CELL_MODULES if any(re.search(CELLS, text) for _, text in prose(MODULES[path].read_text("utf-8")))}
    assert sorted(set(CELL_MODULES) - used) == []


def test_variables_are_named_by_what_they_hold() -> None:
    vague = {(path, name) for path, file in MODULES.items() for name in vague_names(file.read_text(encoding="utf-8"))}
    assert sorted(vague - set(VAGUE_KEPT)) == []
    assert sorted(set(VAGUE_KEPT) - vague) == []


@pytest.mark.parametrize("name", [*catalog.analysis_entries(), *(f"edit {name}" for name in catalog.edit_entries())])
def test_summaries_have_at_most_14_words(name: str) -> None:
    word = name.removeprefix("edit ")
    summary = (catalog.edit_entries() if word != name else catalog.analysis_entries())[word].summary
    assert summary and len(summary.split()) <= 14, summary
