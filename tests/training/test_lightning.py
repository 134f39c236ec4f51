"""The callback for Lightning's Trainer: called as the Trainer calls it; the real Trainer was tried by hand (docs/train.md)."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import microtome as mt
from microtome.errors import BadOption, MissingExtra
from tiny_trainables import conv_net

IMAGES = mt.Images.scenes(12, size=16)


class Callback:
    """What pytorch_lightning.Callback is to its children: hooks that do nothing."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None: ...
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...


class Module(nn.Module):
    """A module with a network inside, and a trainer beside it that must not be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.network = conv_net()


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, imported beside a package that has nothing but the base class."""
    package = types.ModuleType("pytorch_lightning")
    package.Callback = Callback  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", package)
    monkeypatch.delitem(sys.modules, "microtome.training.lightning", raising=False)
    yield importlib.import_module("microtome.training.lightning")
    sys.modules.pop("microtome.training.lightning", None)


def test_the_weights_before_training_and_after_each_due_epoch_are_recorded(callback: Any, tmp_path: Path) -> None:
    made = callback.RecordFindings(
        IMAGES, net="network", every=2, analyses=["weights"], out=tmp_path, recipe={"size": 16}, twins=0, device="cpu"
    )
    assert isinstance(made, Callback)
    module = Module()
    trainer = types.SimpleNamespace(is_global_zero=True, current_epoch=0)
    made.on_train_start(trainer, module)
    for epoch in range(4):
        trainer.current_epoch = epoch
        made.on_train_epoch_end(trainer, module)
    kept = sorted(path.stem for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["epoch-0000", "epoch-0002", "epoch-0004"]  # epochs are counted from 1
    trainer.is_global_zero = False  # another process of the same training
    trainer.current_epoch = 5
    made.on_train_epoch_end(trainer, module)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_an_attribute_that_is_no_network_is_named(callback: Any) -> None:
    trainer = types.SimpleNamespace(is_global_zero=True, current_epoch=0)
    with pytest.raises(BadOption, match="no network 'net'; it has network"):
        callback.RecordFindings(IMAGES, net="net").on_train_start(trainer, Module())


def test_without_lightning_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "microtome.training.lightning", raising=False)
    with pytest.raises(MissingExtra, match="pip install lightning"):
        importlib.import_module("microtome.training.lightning")
