"""Findings: what is saved comes back, half-written ones do not count, damage is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import FindingError, UnknownName, WriteError
from microtome.finding import ARRAYS, CARD, Finding, array, card
from microtome.panels import Curve, Heat, Table


def example() -> Finding:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    return Finding(
        analysis="similarity",
        arrays={
            "cka": array(values, ("layer", "layer_"), "1", {"layer": ["a", "b"], "layer_": ["c", "d", "e"]}, "CKA"),
            "map/stage.0": array(np.full((1, 2, 2), np.nan, np.float32), ("unit", "row", "col"), "1"),
            "name": array(["é", "b"], ("layer",), "text", {"layer": ["a", "b"]}),
            "hit": array([True, False], ("layer",), "1"),
        },
        panels=(Heat(title="H", z="cka"), Table(title="T", columns=("name", "hit"), rows="layer")),
        headline="CKA is 5.",
        caveats=("One.",),
        origin={"specimen": {"name": "n"}, "options": {"at": ("a", "b")}, "nothing": float("nan"), "count": np.int64(3)},
    )


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    finding = example()
    loaded = Finding.load(finding.save(tmp_path / "f"))
    for name, values in finding.arrays.items():
        assert loaded[name].dims == values.dims
        assert loaded[name].attrs == values.attrs
        np.testing.assert_array_equal(loaded[name].values, values.values)
        assert loaded[name].dtype == values.dtype or values.dtype.kind == "U"
    assert loaded["cka"].sel(layer="b", layer_="e").item() == 5.0
    assert loaded.panels == finding.panels
    assert (loaded.headline, loaded.caveats) == (finding.headline, finding.caveats)
    assert loaded.origin == {"specimen": {"name": "n"}, "options": {"at": ["a", "b"]}, "nothing": None, "count": 3}


def test_same_arrays_same_bytes(tmp_path: Path) -> None:
    one, two = example().save(tmp_path / "1"), example().save(tmp_path / "2")
    assert (one / ARRAYS).read_bytes() == (two / ARRAYS).read_bytes()


def test_saving_again_replaces(tmp_path: Path) -> None:
    example().save(tmp_path / "f")
    example().save(tmp_path / "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == sorted([ARRAYS, CARD])


def test_a_failed_save_leaves_the_old_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example().save(tmp_path / "f")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        example().save(tmp_path / "f")
    assert Finding.load(tmp_path / "f").headline == "CKA is 5."
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_damage_is_noticed(tmp_path: Path) -> None:
    folder = example().save(tmp_path / "f")
    payload = bytearray((folder / ARRAYS).read_bytes())
    payload[-1] ^= 1
    (folder / ARRAYS).write_bytes(payload)
    with pytest.raises(FindingError, match="does not match its checksum"):
        Finding.load(folder)


def test_what_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(FindingError, match=r"holds no finding"):
        card(tmp_path)
    (tmp_path / CARD).write_text("{")
    with pytest.raises(FindingError, match="cannot be read"):
        card(tmp_path)
    (tmp_path / CARD).write_text(json.dumps({"format": 99}))
    with pytest.raises(FindingError, match="newer microtome"):
        card(tmp_path)


def test_unknown_dimension_and_missing_unit_are_refused() -> None:
    with pytest.raises(FindingError, match="dimension 'layr'.*'layer'"):
        Finding(analysis="x", arrays={"a": array([1.0], ("layr",), "1")})
    bare = array([1.0], ("layer",), "1")
    del bare.attrs["unit"]
    with pytest.raises(FindingError, match="has no unit"):
        Finding(analysis="x", arrays={"a": bare})


def test_panel_of_a_missing_array_is_refused() -> None:
    with pytest.raises(FindingError, match="wants the array 'b'"):
        Finding(analysis="x", arrays={"a": array([1.0], ("layer",), "1")}, panels=(Curve(title="t", y=("b",), x="layer"),))


def test_unknown_array_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'cka'"):
        example()["ckaa"]


def test_reading_needs_no_torch() -> None:
    code = "import sys, microtome.finding, microtome.store, microtome.catalog, microtome.panels; microtome.catalog.analysis_entries(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
