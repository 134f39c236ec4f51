"""The networks and images that claims are run on: trained ones in the data folder, and the small ones that ship with the package."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import Unmeasurable, hint
from microtome.images import Images
from microtome.opening.opening import open as open_specimen
from microtome.replicate.claim import RunContext
from microtome.specimen import Specimen
from microtome.specimen.watching import watch

Values = np.ndarray[Any, Any]
BATCH = 50
CIFAR = {"size": 32, "crop": 1.0}
_LATER = CIFAR | {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.201)}
# file -> (factory, input recipe, labels); means and deviations are those of the data folder's MANIFEST.json
TRAINED: dict[str, tuple[str, dict[str, Any] | None, str]] = {
    "cifar10_resnet20": ("CifarResNet(depth=20, opt='A')", CIFAR, ""),
    "cifar10_resnet56": ("CifarResNet(depth=56, opt='A')", CIFAR, ""),
    "cifar10_densenet_bc100_k12": ("densenet_bc_cifar", _LATER, ""),
    "cifar10_vit64": ("vit_cifar_64", CIFAR | {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}, ""),
    "cifar10_vit128_postnorm": ("PostNormViT", _LATER, ""),
    "cifar10_mobilenetv3_small_se": ("mobilenetv3_small_se_cifar", _LATER | {"size": 224, "std": (0.247, 0.2435, 0.2616)}, ""),
    "googlenet_bvlc": ("bvlc_googlenet", None, "imagenet"),
}


def trained_network(context: RunContext, name: str) -> Specimen:
    """A trained network of the data folder.

    Raises:
        Unmeasurable: the data folder is not there.
    """
    factory, recipe, labels = TRAINED[name]
    weights = data_file(context, f"safetensors/{name}.safetensors")
    options: dict[str, Any] = {"labels": labels} if labels else {}
    return open_specimen(f"{context.data}/loaders/archs.py:{factory}", weights=weights, recipe=recipe, **options)


def small_network(name: str, **options: Any) -> Specimen:
    """A network of the mini zoo with its weights."""
    return open_specimen(f"microtome:{name}", **options)


def photographs(context: RunContext, folder: str, count: int) -> Images:
    """At most `count` images of a folder of the data, drawn evenly from its classes.

    Raises:
        Unmeasurable: the data folder is not there.
    """
    return Images.folder(data_file(context, f"images/{folder}"), limit=count)


def data_file(context: RunContext, path: str) -> Path:
    """A file or folder of the data folder.

    Raises:
        Unmeasurable: it is not there.
    """
    place = context.data / path
    if not place.exists():
        shell = "set MICROTOME_DATA to the folder that holds it"
        raise Unmeasurable(
            f"This claim needs {path}, which is not in {context.data}; {hint(shell, 'give its folder as data=…')}. "
            "Its last result stays in the ledger."
        )
    return place


def inputs_of(specimen: Specimen, images: Images) -> Iterator[Tensor]:
    """The images in their order, as the network takes them, in batches."""
    for start in range(0, len(images), BATCH):
        places = np.arange(start, min(start + BATCH, len(images)))
        yield specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, places)))


def labels_of(images: Images) -> Values:
    """The class of each image; every one is known."""
    assert images.labels is not None
    return np.asarray(images.labels, dtype=np.int64)


def photograph_labels(context: RunContext, specimen: Specimen, images: Images) -> Values:
    """The class of each ImageNet photograph, by the WordNet id that its file name begins with."""
    assert specimen.wordnet is not None
    return np.array([specimen.wordnet.index(name.rpartition("/")[2].split("_")[0]) for name in images.names])


def scores_of(specimen: Specimen, batches: Iterator[Tensor], change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """The class scores (image, class) of the images, each batch changed first where asked for."""
    return torch.cat([specimen.run(x if change is None else change(x)) for x in batches])


def right_answers(specimen: Specimen, images: Images, labels: Values | None = None) -> Values:
    """1 for each image that is classified as labelled, else 0."""
    truth = labels_of(images) if labels is None else labels
    return (scores_of(specimen, inputs_of(specimen, images)).argmax(1).numpy() == truth).astype(np.float64)


def layer_values(
    specimen: Specimen, images: Images, layers: Sequence[str], reduce: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """What `reduce` makes of each layer's output (image, …), for all images in their order."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for x in inputs_of(specimen, images):
        with watch(specimen, list(layers), lambda name, value: parts[name].append(reduce(value.detach()))):
            specimen.run(x)
    return {layer: torch.cat(part) for layer, part in parts.items()}


def mean_over_positions(value: Tensor) -> Tensor:
    """(image, unit): the mean over all positions of a map, or over tokens."""
    return value.flatten(2).mean(2) if value.ndim == 4 else value.mean(1)
