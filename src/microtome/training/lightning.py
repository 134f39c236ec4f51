"""A callback for Lightning's Trainer (packages `lightning` or `pytorch_lightning`) that records findings during its training."""

import importlib
import sys
from typing import Any

from torch import nn

from microtome._torchvision import torchvision
from microtome.errors import BadOption, MissingExtra
from microtome.images import Images
from microtome.training.recording import Recorder, record

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def callback_class() -> type[Any]:
    """The class that the Trainer's callbacks derive from: of the package that is imported already, else of one that is installed.

    Raises: MissingExtra where there is none.
    """
    torchvision()  # Lightning imports it directly, which only works once the door has been opened
    for name in sorted(PACKAGES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ImportError:
            continue
    raise MissingExtra("The callback needs Lightning's Trainer; install it with: pip install lightning.")


_Callback: Any = callback_class()


class RecordFindings(_Callback):
    """Records before the first epoch and after each that is due; the options are those of `microtome.record`.

    `net` names the attribute of the LightningModule that holds the network; without it the module itself is measured.
    """

    def __init__(self, images: Images, *, net: str = "", **options: Any) -> None:
        super().__init__()
        self.images, self.attribute, self.options = images, net, options
        self.recorder: Recorder | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record epoch 0, the weights before training."""
        self.recorder = record(self._network(pl_module), self.images, **self.options)
        if trainer.is_global_zero and int(trainer.current_epoch) == 0:
            self.recorder.step(0)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the epoch that has ended, counted from 1."""
        if self.recorder is not None and trainer.is_global_zero:
            self.recorder.step(int(trainer.current_epoch) + 1)

    def _network(self, pl_module: Any) -> nn.Module:
        if not self.attribute:
            return pl_module
        network = getattr(pl_module, self.attribute, None)
        if not isinstance(network, nn.Module):
            names = ", ".join(name for name, _ in pl_module.named_children())
            raise BadOption(f"The module has no network '{self.attribute}'; it has {names}.")
        return network
