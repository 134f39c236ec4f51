"""Trained networks from outside, found in `MICROTOME_DATA` or beside the checkout: how each is opened, and on which images."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import microtome as mt
from benchmarks.machine import ROOT

CIFAR_MEAN, CIFAR_SPREAD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)
SMALL = {"size": 32, "crop": 1.0}
CIFAR, PHOTOGRAPHS = "cifar10_test", "imagenet200"


def data_folder() -> Path:
    """The folder of real networks and images; it may be absent."""
    return Path(os.environ.get("MICROTOME_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class RealNetwork:
    """One network: `factory` of the loaders (or a name that `open` knows), its weights (none: its own), its images and how many at most."""

    name: str
    factory: str
    weights: str
    family: str
    recipe: dict[str, Any] = field(default_factory=lambda: dict(SMALL))
    images: str = CIFAR
    count: int = 2000
    slow: bool = False  # so that benchmarks measure fewer points of it

    def open(self) -> mt.Specimen:
        """The network with its weights."""
        if not self.weights:
            return mt.open(self.factory)
        data = data_folder()
        name = self.factory if self.factory.startswith("torchvision:") else f"{data}/loaders/archs.py:{self.factory}"
        return mt.open(name, weights=data / "safetensors" / f"{self.weights}.safetensors", recipe=self.recipe)

    def open_images(self) -> mt.Images:
        """Its images, with their classes."""
        kind, _, count = self.images.partition(":")
        if kind == "scenes":
            return mt.Images.scenes(int(count))
        return mt.Images.folder(data_folder() / "images" / self.images)


REAL = (
    RealNetwork("CIFAR ResNet-20", "CifarResNet(depth=20, opt='A')", "cifar10_resnet20", "deeper"),
    RealNetwork(
        "CIFAR ViT-64", "vit_cifar_64", "cifar10_vit64", "attention", {**SMALL, "mean": (0, 0, 0), "std": (1, 1, 1)}
    ),
    RealNetwork(
        "CIFAR ViT-128", "PostNormViT", "cifar10_vit128_postnorm", "attention",
        {**SMALL, "mean": CIFAR_MEAN, "std": CIFAR_SPREAD}, slow=True,
    ),
    RealNetwork("CIFAR ResNet-56", "CifarResNet(depth=56, opt='A')", "cifar10_resnet56", "deeper", slow=True),
    RealNetwork(
        "SqueezeNet 1.1", "torchvision:squeezenet1_1", "squeezenet1_1_gluon", "wider", {"size": 224, "crop": 0.875},
        PHOTOGRAPHS, 200, True,
    ),
    RealNetwork(
        "CIFAR MobileNetV3-SE", "mobilenetv3_small_se_cifar", "cifar10_mobilenetv3_small_se", "attention",
        {"size": 224, "crop": 1.0, "mean": CIFAR_MEAN, "std": (0.247, 0.2435, 0.2616)}, count=600, slow=True,
    ),
    RealNetwork("GoogLeNet", "bvlc_googlenet", "googlenet_bvlc", "wider", {"size": 224, "crop": 0.875}, PHOTOGRAPHS, 200, True),
    RealNetwork(
        "CIFAR DenseNet-BC", "densenet_bc_cifar", "cifar10_densenet_bc100_k12", "deeper",
        {**SMALL, "mean": CIFAR_MEAN, "std": CIFAR_SPREAD}, count=600, slow=True,
    ),
)  # fmt: skip


def real_networks() -> tuple[RealNetwork, ...]:
    """All of them, or none where the data are absent."""
    return REAL if data_folder().is_dir() else ()
