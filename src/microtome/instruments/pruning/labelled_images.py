"""The images that a pruning gets, in two halves: one to choose channels and estimate statistics by, one to measure accuracy on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.images.words import generate_images, is_generated
from microtome.instruments.class_matching import match_classes
from microtome.scan import Pace, batches
from microtome.specimen import Specimen

BATCH = 32  # images
MAX_IMAGES = 1024  # used of those given
LEAST = 4  # images, two in either half


@dataclass(frozen=True)
class ImageHalf:
    """Batches of inputs on the CPU, and the right output of each image; None where labels do not answer to outputs."""

    batches: tuple[Tensor, ...]
    targets: Tensor | None

    def __len__(self) -> int:
        return sum(map(len, self.batches))


@dataclass(frozen=True)
class PruningImages:
    """Half of the images to choose by, half to report on; `reason` says why there are no right outputs."""

    chosen: ImageHalf
    reported: ImageHalf
    reason: str


def open_images_word(word: str) -> Images:
    """The images of a folder, or of a generator such as `scenes:N`.

    Raises:
        BadOption: a generator's word that is not understood.
    """
    return generate_images(word) if is_generated(word) else Images.folder(word)


def split_images(specimen: Specimen, images: Images) -> PruningImages:
    """The images in two halves, in the order of their content; only labelled ones where labels answer to the network's outputs.

    Raises:
        Unmeasurable: fewer than four images.
    """
    wanted: np.ndarray[Any, Any] | None = None
    reason = ""
    try:
        if images.labels is None or not specimen.outputs:
            raise Unmeasurable(f"{images.name} has no labels, or {specimen.name} gives no class scores.")
        wanted = match_classes(specimen, images, specimen.outputs).targets(images.labels)
    except Unmeasurable as error:
        reason = str(error)
    order = images.content_order()
    if wanted is not None:
        order = order[wanted[order] >= 0]
    order = order[:MAX_IMAGES]
    if len(order) < LEAST:
        raise Unmeasurable(
            f"prune_channels needs {LEAST} images at least, and {images.name} has {len(order)} that it could use."
        )
    halves = [_half(specimen, images, order[start::2], wanted) for start in (0, 1)]
    return PruningImages(halves[0], halves[1], reason)


def top1_accuracy(specimen: Specimen, net: nn.Module, half: ImageHalf) -> float:
    """The fraction of a half of the images whose largest score, as `net` gives it, is that of the right output."""
    assert half.targets is not None
    like = next(net.parameters())
    with torch.inference_mode():
        answers = [
            specimen.class_scores(specimen.pick(net(x.to(like.device, like.dtype)))).argmax(1).cpu() for x in half.batches
        ]
    return float((torch.cat(answers) == half.targets).double().mean())


def _half(specimen: Specimen, images: Images, places: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any] | None) -> ImageHalf:
    pace = Pace(batch=BATCH, device="cpu")
    parts = tuple(batch.x.cpu().float() for batch in batches(specimen, images.take(places.tolist()), pace))
    return ImageHalf(parts, None if wanted is None else torch.from_numpy(wanted[places]).long())
