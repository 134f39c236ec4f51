"""Networks of our own: the mini zoo, small enough to ship with its weights, and networks of the literature without weights.

Every mini network takes 64 x 64 images (mean 0.5, standard deviation 0.25 per colour) and answers with `scenes.CLASSES`; those that
segment answer for every pixel, with the background as class 0. The others are there where timm and torchvision have no such form:
any depth, growth, ratio or pooling that their papers try.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from microtome.errors import CheckpointError, UnknownName, did_you_mean, hint

_FOLDER = {
    "mini_vgg": "vgg",
    "mini_resnet": "resnet",
    "mini_densenet": "densenet",
    "mini_inception": "inception",
    "mini_hrnet": "hrnet",
    "mini_seresnet": "resnet",
    "mini_deit": "deit",
}
NAMES: tuple[str, ...] = tuple(_FOLDER)  # the mini zoo: one class for one image
_SEGMENTING = {"mini_deeplab": "deeplab"}
SEGMENTING: tuple[str, ...] = tuple(_SEGMENTING)  # one class for every pixel; background first, then `scenes.CLASSES`
SHIPPED: tuple[str, ...] = (*NAMES, *SEGMENTING)  # what has weights here
_LITERATURE = {
    "densenet121": "dense",
    "densenet169": "dense",
    "densenet201": "dense",
    "densenet264": "dense",
    "densenet_cifar": "dense",
    "resnet_cifar": "cifar_resnet",
    "se_resnet18": "se",
    "se_resnet34": "se",
    "se_resnet50": "se",
    "se_resnet101": "se",
    "se_resnet152": "se",
    "banding_net": "banding",
    "alexnet_zf": "zeiler",
    "zfnet": "zeiler",
}
_FILES = _FOLDER | _SEGMENTING | _LITERATURE
LITERATURE: tuple[str, ...] = tuple(_LITERATURE)  # without weights; their options are their factories' own
FAMILIES: dict[str, str] = {
    "mini_vgg": "deeper",
    "mini_resnet": "deeper",
    "mini_densenet": "deeper",
    "mini_inception": "wider",
    "mini_hrnet": "wider",
    "mini_seresnet": "attention",
    "mini_deit": "attention",
    "mini_deeplab": "deeper",
} | {name: "attention" if home == "se" else "deeper" for name, home in _LITERATURE.items()}
SIZE = (64, 64)  # rows, cols in px
MEAN = (0.5, 0.5, 0.5)  # of pixels in 0..1
STD = (0.25, 0.25, 0.25)


def build(name: str, num_classes: int | None = None, **options: Any) -> nn.Module:
    """The network called `name` with fresh weights from torch's current random state; options are its factory's own.

    `num_classes` is 10 for the mini zoo, 11 for networks that segment, and what their papers have for the others.

    Raises: UnknownName, BadOption.
    """
    _check_name(name)
    factory = factory_of(name)
    if num_classes is None and name in NAMES:
        num_classes = 10
    return factory(**options) if num_classes is None else factory(num_classes=num_classes, **options)


def factory_of(name: str) -> Callable[..., nn.Module]:
    """The function that makes the network called `name`; its docstring and parameters describe the options.

    Raises: UnknownName.
    """
    _check_name(name)
    return getattr(importlib.import_module(f"microtome.networks.{_FILES[name]}"), name)


def input_recipe(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The input recipe of a network: the name of a recipe, and its size if the options give one.

    Raises: UnknownName.
    """
    _check_name(name)
    kind = "mini" if name in SHIPPED else "cifar" if name.endswith("_cifar") else "imagenet"
    return {"name": kind, "size": options.get("size")}


def weights_file(name: str) -> Path:
    """The safetensors file (float32) shipped for `name`.

    Raises: UnknownName, CheckpointError where the file is not part of this installation.
    """
    return _shipped_file(name, "safetensors")


def weights_card(name: str) -> dict[str, Any]:
    """What is known of the shipped weights: recipe, command, sizes, accuracy on unseen scenes with its interval, by area.

    Raises: UnknownName, CheckpointError where the card is not part of this installation.
    """
    return json.loads(_shipped_file(name, "json").read_text(encoding="utf-8"))


def _check_name(name: str) -> None:
    if name not in _FILES:
        raise UnknownName(f"microtome has no network called '{name}'.{did_you_mean(name, _FILES)}")


def _shipped_file(name: str, suffix: str) -> Path:
    _check_name(name)
    if name in _LITERATURE:
        raise CheckpointError(
            f"'{name}' ships without weights: take it untrained ({hint('--weights none', 'weights=None')}) or give a file of your own."
        )
    path = Path(__file__).parent / "weights" / f"{name}.{suffix}"
    if not path.exists():
        raise CheckpointError(
            f"The weights of '{name}' are not installed ({path} is missing); reinstall microtome, or train them: "
            + hint(f"python -m microtome.training {name} --out DIR", "microtome.training.zoo.loop.train_zoo_network")
        )
    return path
