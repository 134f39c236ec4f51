"""Packages that import on demand: every name they list is there, is imported only when asked for, and a wrong one is named."""

import subprocess
import sys
from types import ModuleType

import pytest

import microtome
from microtome import analyses, edits


@pytest.mark.parametrize("package", [microtome, analyses, edits], ids=lambda package: package.__name__)
def test_every_listed_name_is_there(package: ModuleType) -> None:
    names = [name for name in dir(package) if not name.startswith("_")]
    assert len(names) > 5 and names == sorted(names)
    assert [name for name in names if getattr(package, name, None) is None] == []


def test_a_wrong_name_is_named_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no analysis 'similarty'.*'similarity'"):
        _ = analyses.similarty
    with pytest.raises(AttributeError, match=r"'dropuot'.*'dropout'"):
        _ = edits.dropuot
    with pytest.raises(AttributeError, match=r"no attribute 'opne'; it has .*open"):
        _ = microtome.opne


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, microtome, microtome.analyses; print('torch' in sys.modules, 'microtome.analyses.cam' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["False"] * 2
    )
