"""Which images are compared, and what of each is masked: parts of masks or boxes, or what was marked by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.errors import BadOption, UnknownName, Unmeasurable, did_you_mean, option_name
from microtome.images import Images
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.maps.parts import PART_NAMES, part_of
from microtome.specimen import Specimen

GROUPS = 3  # classes looked at where none is named
MAX_PART_AREA = 0.4  # of the image: a larger part has no other place to go
MIN_IMAGES = 3  # images of a class with the part
Values = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ClassGroup:
    """Images of one class, with the masks of each part (image, row, col)."""

    title: str
    places: Values
    masks: Mapping[str, Values]


def class_groups(
    specimen: Specimen,
    images: Images,
    parts: Sequence[str],
    marks: Sequence[str],
    size: int,
    classes: Sequence[str],
    count: int,
) -> list[ClassGroup]:
    """`count` images of each class with the masks of each part: halves of their masks, or what is marked by hand.

    Raises:
        UnknownName: a part, class or image that is not there.
        BadOption: marks that cannot be read, lie outside, or are too few.
        Unmeasurable: no class has enough images whose mask is small enough to go elsewhere.
    """
    if marks:
        return [_marked_group(specimen, images, marks, size)]
    for part in parts:
        if part not in PART_NAMES:
            raise UnknownName(
                f"correspondence: there is no part '{part}'; masks have {', '.join(PART_NAMES)}.{did_you_mean(part, PART_NAMES)}"
            )
    groups: list[ClassGroup] = []
    for title, places in _positions_by_class(images, classes):
        masks = images.masks(specimen.recipe, places)
        area = masks.mean((1, 2))
        fit = np.flatnonzero((area > 0) & (area <= MAX_PART_AREA) & (masks.sum((1, 2)) >= 8))[:count]
        if len(fit) >= MIN_IMAGES:
            halves = {part: np.stack([part_of(mask, part) for mask in masks[fit]]) for part in parts}
            groups.append(ClassGroup(title, places[fit], halves))
        if len(groups) == GROUPS and not classes:
            break
    if not groups:
        raise Unmeasurable(
            f"No class has {MIN_IMAGES} images whose mask covers at most {format_value(MAX_PART_AREA, FRACTION)} of what the "
            f"network sees; name parts by hand ({option_name('marks')}), or other images."
        )
    return groups


def _positions_by_class(images: Images, wanted: Sequence[str]) -> list[tuple[str, Values]]:
    """Name and places of the masked images of each class: those wanted, or all, the most frequent first."""
    masked = np.flatnonzero(images.has_mask)
    if images.labels is None or images.classes is None or not (images.labels[masked] >= 0).any():
        if wanted:
            raise BadOption("correspondence: classes are named, but the images have no labels.")
        return [("no class known", masked)]
    for name in wanted:
        if name not in images.classes:
            raise UnknownName(f"correspondence: the images have no class '{name}'.{did_you_mean(name, images.classes)}")
    labels = images.labels[masked]
    numbers = [images.classes.index(name) for name in wanted] or list(
        np.argsort(-np.bincount(labels[labels >= 0]), kind="stable")
    )
    words = images.titles or images.classes
    return [(words[int(number)], masked[labels == number]) for number in numbers]


def _marked_group(specimen: Specimen, images: Images, marks: Sequence[str], size: int) -> ClassGroup:
    """The images that have every part marked, with boxes as masks."""
    boxes: dict[str, dict[int, Values]] = {}
    names = list(images.names)
    for mark in marks:
        words = mark.split(":")
        if len(words) not in (4, 6) or not all(word.lstrip("-").isdigit() for word in words[2:]):
            raise BadOption(f"correspondence: the mark '{mark}' is not image:part:row:col or image:part:row:col:height:width.")
        if words[0] not in names and not (words[0].isdigit() and int(words[0]) < len(images)):
            raise UnknownName(f"correspondence: there is no image '{words[0]}'.{did_you_mean(words[0], names)}")
        place = names.index(words[0]) if words[0] in names else int(words[0])
        boxes.setdefault(words[1], {})[place] = _box_mask(
            specimen, images, place, mark, [int(word) for word in words[2:]], size
        )
    places = sorted(set.intersection(*(set(by_place) for by_place in boxes.values())))
    if len(places) < MIN_IMAGES:
        raise BadOption(f"correspondence: {len(places)} images have every part marked; at least {MIN_IMAGES} are needed.")
    return ClassGroup(
        "the marked", np.array(places), {part: np.stack([by_place[at] for at in places]) for part, by_place in boxes.items()}
    )


def _box_mask(specimen: Specimen, images: Images, place: int, mark: str, numbers: Sequence[int], size: int) -> Values:
    cols, rows = images[place].picture.size
    row, col = numbers[:2]
    if len(numbers) == 2:  # a point: a square around it
        side = size or round(min(specimen.recipe.size) / 7)
        wide = max(1, round(side * min(rows, cols) * specimen.recipe.crop / min(specimen.recipe.size)))
        row, col, height, width = row - wide // 2, col - wide // 2, wide, wide
    else:
        height, width = numbers[2:]
    mask = np.zeros((rows, cols), dtype=bool)
    mask[max(row, 0) : max(row + height, 0), max(col, 0) : max(col + width, 0)] = True
    made = np.asarray(specimen.recipe.mask(mask), dtype=bool)
    if not made.any():
        raise BadOption(
            f"correspondence: the mark '{mark}' lies outside of what the network sees of the image ({rows} x {cols} px)."
        )
    return made
