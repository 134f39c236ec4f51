"""The result folder and the work beside it: swept after a kill, given back when a replacement was cut short, never another's."""

import json
from pathlib import Path

import pytest

from microtome.errors import BadOption
from microtome.export.folders import ResultFolder, is_ours


def ours(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "slim.json").write_text(json.dumps({"made_by": "microtome slim"}))


def test_only_our_own_folders_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ResultFolder(tmp_path / "empty")
    ours(tmp_path / "old")
    assert is_ours(tmp_path / "old") and not is_ours(tmp_path / "empty") and not is_ours(tmp_path)
    ResultFolder(tmp_path / "old")
    (tmp_path / "slim.unfinished").mkdir()
    (tmp_path / "slim.unfinished" / "thesis.txt").write_text("x")
    with pytest.raises(BadOption, match=r"slim\.unfinished is a folder with other things"):
        ResultFolder(tmp_path / "slim")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "slim.json").write_text("[]")
    assert not is_ours(tmp_path / "list")


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".writing-slim-abc").mkdir()
    (tmp_path / ".writing-slim-abc" / "half").write_text("x")
    (tmp_path / ".writing-other-abc").mkdir()
    ours(tmp_path / ".old-123" / "slim")
    (tmp_path / ".old-123" / "slim" / "README.md").write_text("earlier")
    ResultFolder(tmp_path / "slim")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-other-abc", "slim", "slim.unfinished"]
    assert (tmp_path / "slim" / "README.md").read_text() == "earlier"


def test_earlier_findings_are_at_hand(tmp_path: Path) -> None:
    ours(tmp_path / "slim")
    (tmp_path / "slim" / "findings" / "net").mkdir(parents=True)
    (tmp_path / "slim" / "findings" / "net" / "a.txt").write_text("measured")
    folder = ResultFolder(tmp_path / "slim")
    assert (folder.work / "net" / "a.txt").read_text() == "measured"
