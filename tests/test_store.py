"""The store: what is fresh, what is current, what a killed run left behind."""

import os
from pathlib import Path

import pytest

from microtome.errors import FindingError, WriteError
from microtome.finding import ARRAYS, Finding, array
from microtome.store import Store, slug


def finding(key: str, started: str = "2026-01-01", specimen: str = "timm:net/1") -> Finding:
    origin = {"specimen": {"name": specimen}, "key": key, "started": started}
    return Finding(analysis="cost", arrays={"cost": array([1.0], ("measure",), "1")}, headline="1.", origin=origin)


def test_slug() -> None:
    assert slug("timm:resnet50.a1_in1k") == "timm-resnet50.a1_in1k"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("…") == "_"


def test_fresh_only_for_the_same_key(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    store.save(finding("k1"))
    assert store.fresh("timm:net/1", "cost", "k1") is not None
    assert store.fresh("timm:net/1", "cost", "k2") is None
    assert store.fresh("other", "cost", "k1") is None


def test_a_damaged_finding_is_not_fresh(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    folder = store.save(finding("k1"))
    (folder / ARRAYS).write_bytes(b"")
    assert store.fresh("timm:net/1", "cost", "k1") is None


def test_current_is_what_the_run_says_or_else_the_newest(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    old, new = store.save(finding("k1", "2026-01-01")), store.save(finding("k2", "2026-02-01"))
    assert store.current() == [new]
    store.write_run({"findings": [str(old.relative_to(tmp_path)), "gone/away/k"]})
    assert store.current() == [old]


def test_leftovers_are_swept_when_opened_for_writing(tmp_path: Path) -> None:
    Store.create(tmp_path).save(finding("k1"))
    (tmp_path / "timm-net-1" / "cost" / ".writing-abc").mkdir()
    store = Store.create(tmp_path)
    assert not (tmp_path / "timm-net-1" / "cost" / ".writing-abc").exists()
    assert len(list(store.folders())) == 1


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FindingError, match="cannot hold results.*out=DIR"):
        Store.create(tmp_path / "file")


def test_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device.*Earlier findings are safe"):
        store.save(finding("k1"))


def test_broken_run_json(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FindingError, match="delete it"):
        store.run()


def test_the_history_holds_every_key_but_damaged_findings(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    assert store.history("timm:net/1", "cost") == []
    store.save(finding("k1"))
    (store.save(finding("k2")) / ARRAYS).write_bytes(b"")
    store.save(finding("k3", specimen="other"))
    assert [each.origin["key"] for each in store.history("timm:net/1", "cost")] == ["k1"]
