"""What git knows of a claim: a repository made here, with a protocol that is changed in its second commit."""

import subprocess

import pytest

from claim_file import FILE
from microtome.replicate import provenance
from microtome.replicate.cards import read_claim
from microtome.replicate.provenance import card_at, describe_hardware, git_text, package_versions, was_fixed


@pytest.fixture
def history(tmp_path, monkeypatch):
    """A repository with two commits of wet.py; the claim as it is now, and the commits."""
    monkeypatch.setattr(provenance.git_text, "__kwdefaults__", {"folder": tmp_path})

    def git(*words: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@x")
        return subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    commits = []
    for text in (FILE.replace("It is dry", "It is not wet"), FILE):
        (tmp_path / "wet.py").write_text(text)
        git("add", "-A")
        git("commit", "-qm", "x")
        commits.append(git("rev-parse", "HEAD"))
    return read_claim(FILE, "wet", "mine.wet"), commits


def test_a_protocol_is_fixed_in_the_commits_that_hold_it(history) -> None:
    card, (first, second) = history
    earlier = card_at(card, first)
    assert earlier is not None and earlier.null == "It is not wet."
    assert [was_fixed(card, commit, "mini") for commit in (first, second, "", "0" * 40)] == [False, True, False, False]


def test_where_git_does_not_answer(tmp_path) -> None:
    assert git_text("rev-parse", "HEAD", folder=tmp_path) is None


def test_machine_and_versions_are_known() -> None:
    assert describe_hardware().split()[-1] in ("core", "cores")
    assert {"python", "torch", "numpy"} <= package_versions().keys()
