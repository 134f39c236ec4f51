"""The door to torchvision: opened once, repaired on one exact error only, everything else passed on."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from microtome import _torchvision


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch):
    """torchvision as if it had not been imported; afterwards everything is as before."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchvision"}
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    declared: list[str] = []
    library = SimpleNamespace(define=declared.append)
    monkeypatch.setattr(torch.library, "Library", lambda *names: declared.append(":".join(names)) or library)
    monkeypatch.setattr(_torchvision, "_declared", None)
    yield declared
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    sys.modules.update(before)


def imports(monkeypatch: pytest.MonkeyPatch, *outcomes: object) -> list[str]:
    """Make each import give the next of `outcomes`; the names asked for."""
    asked, left = [], list(outcomes)

    def answer(name: str) -> object:
        asked.append(name)
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            sys.modules["torchvision.half"] = ModuleType("torchvision.half")
            raise outcome
        return outcome

    monkeypatch.setattr(_torchvision.importlib, "import_module", answer)
    return asked


def test_a_healthy_one_is_never_touched(closed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = ModuleType("torchvision")
    asked = imports(monkeypatch, healthy)
    assert _torchvision.torchvision() is healthy
    assert (asked, closed) == (["torchvision"], [])
    monkeypatch.setitem(sys.modules, "torchvision", healthy)
    assert _torchvision.torchvision() is healthy and asked == ["torchvision"]


def test_missing_operators_are_declared_and_the_half_import_is_forgotten(
    closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repaired = ModuleType("torchvision")
    asked = imports(monkeypatch, RuntimeError("operator torchvision::nms does not exist"), repaired)
    with pytest.warns(RuntimeWarning, match="compiled operators do not match this torch build"):
        assert _torchvision.torchvision() is repaired
    assert asked == ["torchvision", "torchvision"] and "torchvision.half" not in sys.modules
    assert [text.partition("(")[0] for text in closed] == ["torchvision:FRAGMENT", "nms", "qnms"]
    assert _torchvision._declared is not None  # its schemas vanish with it


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ImportError("torchvision::nms"), OSError("libcuda")])
def test_any_other_error_is_passed_on(error: Exception, closed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    imports(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        _torchvision.torchvision()
    assert closed == []


def test_the_transforms_come_through_the_same_door() -> None:
    assert _torchvision.transforms().__name__ == "torchvision.transforms.v2"
    assert callable(_torchvision.transforms().MixUp)
