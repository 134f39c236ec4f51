"""A claim of another package: the one that the docs show is listed and run; a broken one costs only itself, and is named."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microtome.replicate import cards
from microtome.replicate.cards import broken_claims, claim_cards
from microtome.replicate.running import replicate_claim
from shell import call

PAGE = Path(__file__).parents[2] / "docs" / "does_it_hold.md"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package with this text as wet.py, announced as a claim."""

    def put(code: str) -> None:
        (tmp_path / "wet.py").write_text(code)
        facts = tmp_path / "mine-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text("[microtome.claims]\nwet = wet:Wet\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        cards._foreign_claims.cache_clear()

    yield put
    sys.modules.pop("wet", None)
    cards._foreign_claims.cache_clear()


def code_of_the_page() -> str:
    return PAGE.read_text().split("```python\n")[-1].split("```")[0]


def test_the_claim_of_the_docs_is_listed_and_run(install) -> None:
    install(code_of_the_page())
    assert claim_cards()["wet"].sentence == "Water is wet." and broken_claims() == []
    result = replicate_claim("wet")
    assert (result.verdict, result.text, result.fixed_before) == ("holds", "100% [100%, 100%]", False)
    assert "wet " in call("replicate", "--list")[1]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('    null = "It is dry."\n', "", "its protocol has no null"),
        ('"a glass"', "cup()", "ValueError"),
        ("class Wet(Claim)", "class Wet(Mug)", "derives from Analysis, Census, Collation, Edit, MapKind or Claim"),
    ],
)
def test_a_broken_one_is_named_and_the_others_stay(install, old: str, new: str, reason: str) -> None:
    assert old in code_of_the_page()
    install(code_of_the_page().replace(old, new))
    (plugin,) = broken_claims()
    assert "wet" not in claim_cards() and plugin.package == "mine 1.0" and reason in plugin.text
    assert plugin.text in call("replicate", "--list")[1]
