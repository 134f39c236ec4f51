"""The targets that the options of `cam` ask for: classes by name, the label's class, or reference images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.analyses.cam.targets import ClassScore, EmbeddingSimilarity, MapTarget, Prototype, RegionScore, embedding
from microtome.errors import BadOption, UnknownName, did_you_mean, option_hint, option_name
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, named_outputs, why_no_head, why_no_scores
from microtome.scan import Pace, batches
from microtome.specimen import Specimen
from microtome.specimen.layers import kind_of

CLASS_PREFIX = "class:"
TWIN_REFERENCES = 16  # images of a reference that an untrained twin is shown at least, where there are as many
MAX_REFERENCES = 256  # images of a class whose embeddings are averaged


def how_to_refer() -> str:
    """How a reference is given."""
    return (
        f"give one: {option_hint('reference', 'IMAGE')} (a file, or the name or index of an image of the set; several are averaged), "
        f"or {option_hint('reference', 'class:NAME')} for the mean embedding of a class"
    )


def gives_class_map(specimen: Specimen) -> bool:
    """Whether the network gives scores (image, class, row, col): maps with as many units as it has names, or from its last convolution.

    Maps that a norm or a rectifier has passed are features.
    """
    trace = specimen.anatomy.trace
    shape = _output_shape(specimen)
    if specimen.outputs is not None or len(shape) != 4:
        return False
    units = shape[1]
    if specimen.labels is not None and len(specimen.labels) == units:
        return True
    last = max((number for number, call in enumerate(trace.calls) if kind_of(call.module) in ("conv", "linear")), default=None)
    if last is None or any(kind_of(call.module) in ("norm", "act") for call in trace.calls[last + 1 :]):
        return False
    return any(len(shape) == 4 and shape[1] == units for shape in trace.calls[last].outputs)


def embedding_head(specimen: Specimen) -> str:
    """The layer whose input is the embedding: a head whose outputs are known to be classes; empty where the output is the embedding."""
    classes = specimen.labels is not None or int(getattr(specimen.net, "num_classes", 0) or 0) == specimen.outputs
    if specimen.head is None or not classes or why_no_head(specimen):
        return ""
    return specimen.layer(specimen.head).name


def reason_for_no_target(
    specimen: Specimen, images: Images, target: str, classes: Sequence[str], reference: Sequence[str]
) -> str:
    """Why nothing can be mapped with these options, as a clause; empty where it can."""
    if target == "embedding":
        if not reference:
            return f"target embedding is the similarity to a reference; {how_to_refer()}"
        return (
            "classes name class scores; with target embedding write " + option_hint("reference", "class:NAME")
            if classes
            else ""
        )
    if reference:
        return "a reference is compared by embeddings; add " + option_hint("target", "embedding")
    if gives_class_map(specimen):
        if target == "label" and not images.has_masks:
            return "target label of a segmentation network is the object's mask, and the images have none; try " + option_hint(
                "target", "predicted"
            )
        return ""
    reason = why_no_scores(specimen, images)
    return (
        f"{reason}; or map the similarity to a reference image: {option_hint('target', 'embedding')} {option_hint('reference', 'IMAGE')}"
        if reason
        else ""
    )


def class_targets(specimen: Specimen, taken: Images, target: str, classes: Sequence[str]) -> list[MapTarget]:
    """One target for each of `classes`, or the predicted class or the label's of each image.

    Raises:
        UnknownName: a class that the network has not.
        BadOption: the label is asked for and some image has none.
    """
    dense = gives_class_map(specimen)
    wanted = class_indices(specimen, classes)
    masks = taken.masks(specimen.recipe) if dense and target == "label" else None
    asked: list[np.ndarray[Any, Any] | None] = [np.full(len(taken), output, dtype=np.int64) for output in wanted]
    if not wanted and target == "label":
        answers = match_classes(specimen, taken, _output_count(specimen))  # refuses images without any label
        labels = answers.targets(np.asarray(taken.labels))
        if (labels < 0).any():
            raise BadOption(
                "cam: target is label, but some images have none. Try "
                + option_hint("target", "predicted")
                + f", or name {option_name('classes')}."
            )
        asked = [labels]
    return [RegionScore(specimen, each, masks) if dense else ClassScore(specimen, each) for each in asked or [None]]


def embedding_target(
    networks: Sequence[Specimen], images: Images, places: Sequence[int], reference: Sequence[str], pace: Pace
) -> EmbeddingSimilarity:
    """The similarity to the mean unit embedding of the reference images, for the images of the set at `places`.

    `networks` are the network and its untrained twins; of many reference images each twin is shown a part.

    Raises:
        UnknownName: a reference that is no image of the set, no file and no class.
    """
    inside, outside = reference_images(images, reference)
    specimen, *twins = networks
    head = embedding_head(specimen)
    place_of = {place: index for index, place in enumerate(places)}  # in the images shown

    def prototype(network: Specimen, some: Sequence[int]) -> Prototype:
        own = _unit_embeddings(network, images.take(some), head, pace) if some else []
        more = [vector for file in outside for vector in _unit_embeddings(network, file, head, pace)]
        members = {place_of[place]: vector for place, vector in zip(some, own, strict=True) if place in place_of}
        return Prototype(torch.stack([*own, *more]).sum(0), members)

    shown = _unit_embeddings(specimen, images.take(places), head, pace)
    parts = len(twins) if len(inside) > len(twins) * TWIN_REFERENCES else 1
    return EmbeddingSimilarity(
        ", ".join(reference),
        head,
        prototype(specimen, inside),
        Prototype(torch.stack(shown).sum(0), dict(enumerate(shown))),
        tuple(prototype(twin, inside[number % parts :: parts]) for number, twin in enumerate(twins)),
    )


def reference_images(images: Images, reference: Sequence[str]) -> tuple[list[int], list[Images]]:
    """Places in the set, and files outside it, that the words of `reference` name. Raises UnknownName."""
    names = list(images.names)
    inside: list[int] = []
    outside: list[Images] = []
    for word in reference:
        if word.startswith(CLASS_PREFIX):
            inside += _class_places(images, word.removeprefix(CLASS_PREFIX))
        elif word in names:
            inside.append(names.index(word))
        elif word.isdigit() and int(word) < len(images):
            inside.append(int(word))
        elif Path(word).is_file():
            outside.append(Images.one(word))
        else:
            raise UnknownName(
                f"cam: the reference '{word}' is no file, and there is no such image among the {len(images)}; {how_to_refer()}."
                f"{did_you_mean(word, names)}"
            )
    return list(dict.fromkeys(inside)), outside


def file_digest(reference: Sequence[str]) -> str:
    """A digest of the files that `reference` may name; empty where it names none."""
    return "".join(Images.one(word).digest() for word in reference if not word.isdigit() and Path(word).is_file())


def _class_places(images: Images, name: str) -> list[int]:
    """Places of the images of a class, evenly spread where there are many. Raises UnknownName."""
    known = [*(images.classes or ()), *(images.titles or ())]
    if images.labels is None or name not in known:
        hint = did_you_mean(name, known) if known else " The images have no classes."
        raise UnknownName(f"cam: the images have no class '{name}'.{hint}")
    count = len(images.classes or ())
    places = np.flatnonzero(np.asarray(images.labels) == known.index(name) % count)
    if not len(places):
        raise UnknownName(f"cam: no image has the class '{name}'.")
    if len(places) > MAX_REFERENCES:
        places = places[np.linspace(0, len(places) - 1, MAX_REFERENCES).round().astype(int)]
    return places.tolist()


def _unit_embeddings(network: Specimen, images: Images, head: str, pace: Pace) -> list[Tensor]:
    """The embedding of each image, scaled to length 1; zero stays zero."""
    rows: list[Tensor] = []
    with torch.no_grad():
        for batch in batches(network, images, pace):
            rows += list(F.normalize(embedding(network, batch.x, head), dim=1))
    return rows


def _output_shape(specimen: Specimen) -> tuple[int, ...]:
    """The shape of the measured output for the traced batch; empty where there is none."""
    choice = specimen.anatomy.trace.choice
    return choice.chosen.shape if choice is not None else ()


def _output_count(specimen: Specimen) -> int:
    return int(specimen.classes or (_output_shape(specimen)[1] if gives_class_map(specimen) else 0))


def class_indices(specimen: Specimen, classes: Sequence[str]) -> list[int]:
    """The outputs that `classes` name: by name (any of the synonyms), WordNet id, or number."""
    return named_outputs("cam", specimen, classes, _output_count(specimen))
