"""The images that a question about a concept needs: examples of it, images of the class, and what counterparts are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtome.errors import UnknownName, Unmeasurable, did_you_mean, option_hint
from microtome.images import Images

CLASS_PREFIX = "class:"
MIN_EXAMPLES = 5  # of a concept: fewer leave two for a half
MAX_POOL = 1000  # images of the set that counterparts are drawn from
Places = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ConceptExamples:
    """The examples of one concept: images outside the set, or places in it."""

    name: str
    outside: Images | None
    inside: Places
    copies: Places  # places of images of the set that are among the examples, as files of the same content

    @property
    def count(self) -> int:
        """How many examples there are."""
        return len(self.outside) if self.outside is not None else len(self.inside)


def how_to_name_a_concept() -> str:
    """How the examples of a concept are given."""
    return (
        f"name the folder of its example images, {option_hint('concept', 'stripes/')}, or a class of the images, "
        f"{option_hint('concept', 'class:NAME')}"
    )


def concept_folder(word: str) -> Images:
    """The images of a folder of examples, whatever their labels. Raises ImagesError."""
    return Images.folder(word, labels="none", masks="none", boxes="none")


def folder_digests(words: Sequence[str]) -> str:
    """A digest of the folders of examples; empty where only classes of the images are named."""
    return ",".join(concept_folder(word).digest() for word in words if not word.startswith(CLASS_PREFIX))


def find_examples(words: Sequence[str], images: Images) -> list[ConceptExamples]:
    """The examples that each of `words` names, in an order that rests on their content.

    Raises:
        ImagesError: a folder has no images.
        UnknownName: a class that the images have not.
        Unmeasurable: too few examples.
    """
    concepts = [_examples(word, images) for word in words]
    for examples in concepts:
        if examples.count < MIN_EXAMPLES:
            raise Unmeasurable(
                f"the concept '{examples.name}' has {examples.count} example images, and a vector needs at least {MIN_EXAMPLES}."
            )
    names = [examples.name for examples in concepts]
    if len(set(names)) < len(names):
        raise Unmeasurable(f"two concepts have the same name ({', '.join(names)}); give their folders different names.")
    return concepts


def _examples(word: str, images: Images) -> ConceptExamples:
    if word.startswith(CLASS_PREFIX):
        name = word.removeprefix(CLASS_PREFIX)
        places = in_content_order(images, class_places(images, name))
        return ConceptExamples(name, None, places, places)
    outside = concept_folder(word)
    outside = outside.take(outside.content_order())
    contents = {outside.source.identity(int(place)) for place in outside.places}
    same = [at for at, place in enumerate(images.places) if images.source.identity(int(place)) in contents]
    return ConceptExamples(Path(word).expanduser().absolute().name, outside, np.zeros(0, np.int64), np.array(same, np.int64))


def class_places(images: Images, name: str) -> Places:
    """Places of the images of that class of the set. Raises UnknownName."""
    known = [*(images.classes or ()), *(images.titles or ())]
    if images.labels is None or name not in known:
        raise UnknownName(
            f"concepts: the images have no class '{name}'."
            + (did_you_mean(name, known) if known else f" They have no classes; {how_to_name_a_concept()}.")
        )
    return np.flatnonzero(images.labels == known.index(name) % len(images.classes or ()))


def in_content_order(images: Images, places: Places) -> Places:
    """The places in an order that rests on what the images hold."""
    order = images.content_order()
    return order[np.isin(order, places)]


def counterpart_pool(images: Images, examples: ConceptExamples, members: Places, noun: str) -> Places:
    """Places of the images outside the concept and the class, in content order, at most `MAX_POOL`.

    Raises:
        Unmeasurable: they are fewer than twice the examples, so no random concept can have a counterpart.
    """
    left = np.setdiff1d(np.arange(len(images)), np.concatenate([examples.inside, examples.copies, members]))
    if len(left) < 2 * examples.count:
        raise Unmeasurable(
            f"{len(left)} images lie outside the concept '{examples.name}' and the class '{noun}', and random concepts of "
            f"{examples.count} images with counterparts need {2 * examples.count}; give more images, or fewer examples."
        )
    return in_content_order(images, left)[:MAX_POOL]
