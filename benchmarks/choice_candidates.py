"""Candidates of the benchmark of choice, and the features that a new head is given: what the network's own classifier reads."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import microtome as mt
from benchmarks.choice_real import DATA
from microtome import networks
from microtome.specimen import Specimen

SMALL, CIFAR = 64, 32  # px that networks of ImageNet and of CIFAR-10 are shown here
_ARCHS = DATA / "loaders" / "archs.py"
_WEIGHTS = DATA / "safetensors"


@dataclass(frozen=True)
class Candidate:
    """A network to choose: how it is called here, what it learnt, how it is opened."""

    name: str
    source: str  # what it was trained on
    px: int
    what: str
    weights: str = ""  # file below safetensors/, without suffix

    def open(self) -> Specimen:
        if not self.weights:
            return mt.open(self.what)
        recipe = {"size": self.px, "crop": 1.0} | _statistics(self.weights)
        return mt.open(self.what, weights=_WEIGHTS / f"{self.weights}.safetensors", recipe=recipe)


def candidates() -> list[Candidate]:
    """The mini networks, and the real ones where they are: those that one core can fine-tune on a task in seconds."""
    mini = [Candidate(name, "scenes", networks.SIZE[0], f"microtome:{name}") for name in networks.NAMES]
    if not _WEIGHTS.is_dir():
        return mini
    own = f"{_ARCHS}:"
    return [
        *mini,
        Candidate("resnet20", "CIFAR-10", CIFAR, f"{own}CifarResNet(depth=20, opt='A')", "cifar10_resnet20"),
        Candidate("vit64", "CIFAR-10", CIFAR, f"{own}vit_cifar_64", "cifar10_vit64"),
        Candidate("vit128_postnorm", "CIFAR-10", CIFAR, f"{own}PostNormViT", "cifar10_vit128_postnorm"),
        Candidate("squeezenet1_1", "ImageNet", SMALL, "torchvision:squeezenet1_1", "squeezenet1_1_gluon"),
        Candidate("mobilenetv2", "ImageNet", SMALL, "timm:mobilenetv2_100(pad_type='same')", "mobilenetv2_100_tfquant"),
    ]


def _statistics(weights: str) -> dict[str, Any]:
    """Mean and standard deviation of the inputs, where they are not those of ImageNet."""
    known: Mapping[str, dict[str, Any]] = {
        "cifar10_vit64": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        "cifar10_vit128_postnorm": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.201)},
        "mobilenetv2_100_tfquant": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    }
    return known.get(weights, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})


def classifier_of(net: nn.Module, x: Tensor) -> nn.Module | None:
    """The linear layer or 1 x 1 convolution that gives the logits of `x`; None for a network that gives features."""
    called: list[nn.Module] = []
    linear = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    hooks = [module.register_forward_hook(lambda module, *_: called.append(module)) for module in linear]
    try:
        with torch.inference_mode():
            output = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    last: Any = called[-1]
    width = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    small = isinstance(last, nn.Linear) or last.kernel_size == (1, 1)
    is_head = small and width == output.shape[1] and not _is_inside_block(net, last)
    return last if is_head else None


def _is_inside_block(net: nn.Module, module: nn.Module) -> bool:
    """Whether the module is a part of a stage, as the last convolution of a trunk without a head is."""
    name = next(name for name, each in net.named_modules() if each is module)
    return name.startswith(("stages.", "layer", "blocks."))


@contextmanager
def feature_reader(net: nn.Module, classifier: nn.Module | None) -> Any:
    """A function from images to what the classifier is given, averaged over positions (image, feature); with gradients."""
    held: list[Tensor] = []
    hook = classifier.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0])) if classifier is not None else None

    def features(x: Tensor) -> Tensor:
        held.clear()
        output = net(x)
        value = held[-1] if classifier is not None else output
        return value.flatten(2).mean(2) if value.dim() > 2 else value

    try:
        yield features
    finally:
        if hook is not None:
            hook.remove()


Features = Callable[[Tensor], Tensor]
