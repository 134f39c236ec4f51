"""Networks of our own: the mini zoo, seven families small enough to ship with their weights, trained on generated scenes.

Every one takes 64 x 64 images (mean 0.5, standard deviation 0.25 per colour) and answers with `scenes.CLASSES`.
"""

import importlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from microtome.errors import CheckpointError, UnknownName, did_you_mean

_HOME = {
    "mini_vgg": "vgg",
    "mini_resnet": "resnet",
    "mini_densenet": "densenet",
    "mini_inception": "inception",
    "mini_hrnet": "hrnet",
    "mini_seresnet": "resnet",
    "mini_deit": "deit",
}
NAMES: tuple[str, ...] = tuple(_HOME)
FAMILIES: dict[str, str] = {
    "mini_vgg": "deeper",
    "mini_resnet": "deeper",
    "mini_densenet": "deeper",
    "mini_inception": "wider",
    "mini_hrnet": "wider",
    "mini_seresnet": "attention",
    "mini_deit": "attention",
}
SIZE = (64, 64)  # rows, cols in px
MEAN = (0.5, 0.5, 0.5)  # of pixels in 0..1
STD = (0.25, 0.25, 0.25)


def build(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    """The network called `name` with fresh weights from torch's current random state; options are its factory's own.

    Raises: UnknownName.
    """
    _known(name)
    return getattr(importlib.import_module(f"microtome.networks.{_HOME[name]}"), name)(num_classes, **options)


def weights(name: str) -> Path:
    """The safetensors file (float32) shipped for `name`.

    Raises: UnknownName, CheckpointError where the file is not part of this installation.
    """
    return _shipped(name, "safetensors")


def card(name: str) -> dict[str, Any]:
    """What is known of the shipped weights: recipe, command, sizes, accuracy on unseen scenes with its interval, by area.

    Raises: UnknownName, CheckpointError where the card is not part of this installation.
    """
    return json.loads(_shipped(name, "json").read_text(encoding="utf-8"))


def _known(name: str) -> None:
    if name not in _HOME:
        raise UnknownName(f"There is no network of ours called '{name}'.{did_you_mean(name, NAMES)}")


def _shipped(name: str, suffix: str) -> Path:
    _known(name)
    path = Path(__file__).parent / "weights" / f"{name}.{suffix}"
    if not path.exists():
        raise CheckpointError(
            f"The weights of '{name}' are not installed ({path} is missing); reinstall microtome, or train them: "
            f"python -m microtome.training {name} --out DIR"
        )
    return path
