"""Matching of a network's outputs to the classes of the images: by WordNet id, by name, or by order, never by guess."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from microtome.errors import UnknownName, Unmeasurable, did_you_mean, hint
from microtome.images import Images
from microtome.images.listing import number_key
from microtome.prose import plural
from microtome.specimen import Specimen
from microtome.specimen.labels import imagenet_labels


@dataclass(frozen=True)
class ClassMatch:
    """`output[c]` is the network's output for class c of the images (int64); `how` names the kind of match."""

    output: np.ndarray[Any, Any]
    how: str

    def targets(self, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The right output of each image (image,) int64; -1 where the label is unknown."""
        return np.where(labels >= 0, self.output[np.maximum(labels, 0)], -1)


def match_classes(specimen: Specimen, images: Images, outputs: int) -> ClassMatch:
    """The match between the images' classes and the network's `outputs`; one output stands for two classes.

    Raises:
        Unmeasurable: the images have no labels, or their classes are not the network's; the message says which.
    """
    if outputs != 1:
        return _match(specimen, images, outputs)
    if images.classes is not None and len(images.classes) != 2 and len(specimen.labels or ()) != 2:
        raise Unmeasurable(f"{specimen.name} {_one_output(images)}.")
    match = _match(specimen, images, 2)
    assert images.classes is not None
    yes = next((name for name, output in zip(images.classes, match.output, strict=True) if output == 1), "the other class")
    return ClassMatch(match.output, f"{match.how}; it has one output, which above 0 (a probability above 50%) is '{yes}'")


def _match(specimen: Specimen, images: Images, outputs: int) -> ClassMatch:
    if images.labels is None or images.classes is None:
        raise Unmeasurable(f"{images.name} has no labels; sort the images into one folder for each class.")
    if specimen.wordnet is not None and (matching := _match_positions(images.classes, specimen.wordnet)) is not None:
        return ClassMatch(matching, "by wordnet id")
    if specimen.labels is not None:
        matching = _match_positions(
            [_first_synonym(name) for name in images.classes], [_first_synonym(name) for name in specimen.labels]
        )
        if matching is not None:
            return ClassMatch(matching, "by class name")
        missing = [
            name for name in images.classes if _first_synonym(name) not in {_first_synonym(label) for label in specimen.labels}
        ]
        raise Unmeasurable(
            f"{specimen.name} has no output for {len(missing)} of the {len(images.classes)} classes "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}), so its own answers cannot be scored; the probe can."
        )
    if (
        outputs == 1000
        and images.classes_are_wordnet
        and (matching := _match_positions(images.classes, imagenet_labels()[1] or ())) is not None
    ):
        return ClassMatch(matching, "by order: its 1,000 outputs are taken for ImageNet-1k's classes in their usual order")
    if (numbered := _match_numbers(images.classes, outputs)) is not None:
        return numbered
    if len(images.classes) == outputs:
        return ClassMatch(
            np.arange(outputs, dtype=np.int64), f"by order: output 0 is taken for '{images.classes[0]}', and so on"
        )
    raise Unmeasurable(
        f"{specimen.name} has {plural(outputs, 'output')} of unknown meaning and the images have {len(images.classes)} classes, "
        "so its own answers cannot be scored; the probe can. Name the outputs: "
        + hint("--outputs imagenet, or --outputs FILE.", "labels='imagenet', or labels=[…].")
    )


def _match_numbers(classes: Sequence[str], outputs: int) -> ClassMatch | None:
    """The match of classes that are whole numbers: class k is output k, or output k - 1 where they go from 1 to the number of outputs.

    None where they are no numbers, or where neither 0 nor the largest number shows at which one they begin.
    """
    numbers = number_key(classes)
    if numbers is None:
        return None
    values = np.array([numbers[name] for name in classes], np.int64)
    if (values.min() != 0 and values.max() != outputs) or values.max() - (values.min() != 0) >= outputs:
        return None
    output = values - (values.min() != 0)
    how = f"by number: class '{classes[0]}' is taken for output {output[0]}, and so on"
    if values.max() >= 10:
        how += " in numeric order (torchvision's ImageFolder sorts 10 before 2: name outputs that are sorted so, " + hint(
            "--outputs FILE)", "labels=[…])"
        )
    return ClassMatch(output, how)


@lru_cache(maxsize=4096)
def _first_synonym(name: str) -> str:
    """The first synonym of a class name, lower case, without punctuation: 'Great_white_shark, white shark' → 'great white shark'."""
    return re.sub(r"[\W_]+", " ", name.split(",")[0]).strip().lower()


def _match_positions(wanted: Any, known: Any) -> np.ndarray[Any, Any] | None:
    """Where each wanted name first stands among the known ones; None unless all do and no two share a place."""
    place: dict[str, int] = {}
    for number, name in enumerate(known):
        place.setdefault(name, number)
    if any(name not in place for name in wanted):
        return None
    indices = np.array([place[name] for name in wanted], dtype=np.int64)
    return indices if len(set(indices.tolist())) == len(indices) else None


def named_outputs(analysis: str, specimen: Specimen, classes: Sequence[str], outputs: int) -> list[int]:
    """The outputs that `classes` name: by name (any of the synonyms), WordNet id, or number.

    Raises:
        UnknownName: a class that the network has not; the message begins with `analysis`.
    """
    known = {str(place): place for place in range(outputs)}
    for place, name in reversed(list(enumerate((specimen.labels or ())[:outputs]))):
        known |= {part.strip().lower(): place for part in (*name.split(","), name)}
    known |= {name: place for place, name in enumerate(specimen.wordnet or ()) if name}
    for name in classes:
        if name.lower() not in known:
            remedy = (
                did_you_mean(name, specimen.labels)
                if specimen.labels
                else f" Its classes have no names; give 0 to {outputs - 1}."
            )
            raise UnknownName(f"{analysis}: {specimen.name} has no class '{name}'.{remedy}")
    return [known[name.lower()] for name in classes]


def why_no_scores(specimen: Specimen, images: Images | None) -> str:
    """Why this network gives no class scores for these images, or an empty text."""
    if reason := why_no_head(specimen):
        return reason
    if specimen.outputs == 1 and len(specimen.labels or ()) != 2 and (images is None or len(images.classes or ()) != 2):
        return f"it {_one_output(images)}"
    return ""


def _one_output(images: Images | None) -> str:
    """The clause that refuses a network of one output on images that are not of two classes."""
    count = len(images.classes or ()) if images is not None else 0
    known = f"the images have {plural(count, 'class', 'classes')}" if count else "nothing says which two those are"
    remedy = hint("name both, --outputs FILE", "name both, labels=[…]")
    return f"has one output, which answers yes or no between two classes, and {known}; give images of two classes, or {remedy}"


def why_no_head(specimen: Specimen) -> str:
    """Why this network's outputs are no class scores, whatever the images, or an empty text."""
    if specimen.outputs is None:
        return "it gives no single score for each class (a segmentation or detection network)"
    if specimen.labels is None and not _looks_like_classifier(specimen):
        return "it has no head: its outputs are features, not class scores; give it one, or name its outputs " + hint(
            "(--outputs FILE)", "(labels=…)"
        )
    return ""


def _looks_like_classifier(specimen: Specimen) -> bool:
    """Whether the last weight layer looks like a classifier: as many units as outputs, no window, no norm after it."""
    if specimen.head is None or getattr(specimen.net, "num_classes", None) == 0:
        return False
    head = specimen.layer(specimen.head)
    weight = specimen.net.get_submodule(head.path).weight
    windowed = isinstance(weight, Tensor) and weight.dim() == 4 and weight.shape[-1] > 1
    return not windowed and not any(layer.kind == "norm" and layer.order > head.order for layer in specimen.layers)
