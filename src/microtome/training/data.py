"""The labelled images of a training: opened, checked, and split into those that train and those that validate."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.errors import BadOption, ImagesError, did_you_mean
from microtome.images import Images
from microtome.images.turning import turn_images
from microtome.images.words import generate_images, is_generated
from microtome.prose import plural
from microtome.specimen import Recipe
from microtome.training.recipe import DataChoice

Places = npt.NDArray[np.int64]
LEAST = 2  # images that train, at least


@dataclass(frozen=True)
class LabelledImages:
    """Images with a class number for each; where pixels have classes of their own, 0 is background and label + 1 the object."""

    images: Images
    labels: Places  # (image,), 0 where only masks count
    segments: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, framing: Recipe, chosen: Places) -> npt.NDArray[Any]:
        """Pixels or bands (image, row, col, channel) of the chosen images in the geometry of the network."""
        return self.images.inputs(framing, chosen)

    def targets(self, framing: Recipe, chosen: Places) -> Places:
        """The class of each chosen image (image,), or of each of its pixels (image, row, col)."""
        labels = self.labels[chosen]
        if not self.segments:
            return labels
        return self.images.masks(framing, chosen).astype(np.int64) * (labels + 1)[:, None, None]

    def take(self, places: Places) -> "LabelledImages":
        """Those at the given places."""
        return LabelledImages(self.images.take(places), self.labels[places], self.segments)


@dataclass(frozen=True)
class TrainingData:
    """What trains, what validates (None: nothing), and the names of the classes in the order of their numbers."""

    training: LabelledImages
    validation: LabelledImages | None
    classes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """One text for the content of both sets, their order and labels."""
        parts = [self.training.images.digest()]
        return "+".join(parts if self.validation is None else [*parts, self.validation.images.digest()])


def open_labelled(word: str) -> Images:
    """The images that a word names: a folder, a generator's word such as scenes:400,seed=7, or an .npz file of images and labels.

    Raises: ImagesError or BadOption.
    """
    if is_generated(word):
        return _kept_images(word)
    if Path(word).suffix == ".npz":
        return _open_npz(Path(word))
    return Images.folder(word)


@lru_cache(maxsize=4)
def _kept_images(word: str) -> Images:
    """Generated images, kept with the pixels that were drawn: the runs of an experiment share them."""
    return generate_images(word)


def open_training_data(choice: DataChoice, seed: int, *, segments: bool = False) -> TrainingData:
    """The images of a recipe, split by `seed`: of each class the same fraction validates.

    Raises: ImagesError where labels are missing, there is one class only, or a class of the validation images is unknown.
    """
    images = turn_images(open_labelled(choice.images), choice.turn, seed)
    classes = _class_names(images, choice.images, segments)
    known = _labelled(images, classes, segments)
    if choice.validation:
        own = turn_images(open_labelled(choice.validation), choice.turn, seed)
        validation = _matched(own, classes, segments)
        training = np.arange(len(known))
    else:
        chosen = validation_places(known.labels, choice.validation_fraction, seed)
        validation = known.take(chosen) if len(chosen) else None
        training = np.setdiff1d(np.arange(len(known)), chosen)
    training = limit_per_class(known.labels, training, choice.per_class, seed)
    if len(training) < LEAST:
        raise ImagesError(f"'{choice.images}' leaves {plural(len(training), 'image')} to train on; give more images.")
    return TrainingData(known.take(training), validation, classes)


def validation_places(labels: Places, fraction: float, seed: int) -> Places:
    """Which images validate, ascending: of each class the same fraction, at least one where two are there and the fraction is not 0."""
    if fraction <= 0:
        return np.zeros(0, dtype=np.int64)
    chosen: list[Places] = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        chosen.append(np.random.default_rng([seed, int(label), 1]).permutation(own)[:count])
    return np.sort(np.concatenate(chosen))


def limit_per_class(labels: Places, places: Places, most: int, seed: int) -> Places:
    """Of the given places at most so many of each class, drawn by `seed`, ascending; all for 0.

    A smaller number draws a subset of what a larger one draws.
    """
    if most <= 0:
        return places
    kept = [
        np.random.default_rng([seed, int(label), 2]).permutation(places[labels[places] == label])[:most]
        for label in np.unique(labels[places])
    ]
    return np.sort(np.concatenate(kept))


def _some_labels(images: Images) -> Places | None:
    """The label of each image, -1 where it is not known; None where none is."""
    labels = images.labels
    return None if labels is None or not bool((labels >= 0).any()) else labels.astype(np.int64)


def _class_names(images: Images, word: str, segments: bool) -> tuple[str, ...]:
    """The names of the classes by number. Raises ImagesError where there are none, or one only."""
    if segments and not images.has_masks:
        raise ImagesError(
            f"The network gives a class for every pixel, and '{word}' has no masks; put NAME_mask.png beside each image, or take "
            "a network that gives one score for each class."
        )
    labels = _some_labels(images)
    if labels is None:
        if segments:
            return ("object",)
        raise ImagesError(
            f"'{word}' has no labels to learn; put the images of each class into a folder of its own, or a labels.csv beside them."
        )
    classes = images.classes or tuple(str(number) for number in range(int(labels.max()) + 1))
    present = np.unique(labels[labels >= 0])
    if len(present) < 2 and not segments:
        raise ImagesError(
            f"'{word}' has one class only ('{classes[int(present[0])]}'); learning to classify takes two or more."
        )
    return tuple(classes)


def _labelled(images: Images, classes: Sequence[str], segments: bool) -> LabelledImages:
    """The images whose label is known; for masks without labels all that have a mask."""
    labels = _some_labels(images)
    if labels is None:
        places = np.flatnonzero(images.has_mask)
        return LabelledImages(images.take(places), np.zeros(len(places), dtype=np.int64), segments)
    wanted = labels >= 0
    if segments:
        wanted &= images.has_mask
    places = np.flatnonzero(wanted)
    return LabelledImages(images.take(places), labels[places], segments)


def _matched(images: Images, classes: Sequence[str], segments: bool) -> LabelledImages:
    """Validation images with the class numbers of the training images. Raises ImagesError for a class that is not known."""
    own = _class_names(images, images.name, segments)
    known = _labelled(images, own, segments)
    for name in own:
        if name not in classes:
            raise ImagesError(
                f"The validation images have a class '{name}' that the training images lack.{did_you_mean(name, classes)}"
            )
    numbers = np.array([classes.index(name) for name in own], dtype=np.int64)
    return LabelledImages(known.images, numbers[known.labels], segments)


def _open_npz(path: Path) -> Images:
    """An .npz file of `images` (image, row, col, rgb) uint8 and `labels` (image,); `classes` and `masks` if they are there."""
    if not path.is_file():
        raise ImagesError(f"There is no file '{path}'.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ImagesError(f"'{path}' cannot be read as .npz ({error}).") from None
    pixels = next((arrays[name] for name in ("images", "pixels", "x") if name in arrays), None)
    labels = next((arrays[name] for name in ("labels", "y") if name in arrays), None)
    if pixels is None or labels is None:
        raise BadOption(f"'{path}' has the arrays {', '.join(arrays) or 'none'}; training takes 'images' and 'labels'.")
    classes = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    return Images.tensors(pixels, labels, classes, arrays.get("masks"))
