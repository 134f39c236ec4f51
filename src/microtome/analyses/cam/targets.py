"""What a map is made for: a class score, the scores of a class over a region, or the similarity of embeddings.

Every target reads something from the network's output, asks a number of each image that can be differentiated, and a second one, its
rival, which the map is compared with; of an untrained twin it asks the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.errors import SpecimenError
from microtome.instruments.attribution import runner_up
from microtome.instruments.shown_images import output_name
from microtome.scan import Batch
from microtome.specimen import Specimen, first_tensor, watch

SAME = 1 - 1e-6  # cosine similarity from which two embeddings are one, and the gradient is rounding
BACKGROUND = ("background", "__background__", "bg", "void", "unlabelled", "unlabeled")


@dataclass(frozen=True)
class BatchAnswer:
    """What one batch was asked: the target and its rival (image,), and columns of the table.

    `again` gives both of another output of the same images; `of_twin` asks the target of the output that an untrained twin gives for some
    rows of the batch; with it go the rows and its number.
    """

    values: tuple[Tensor, Tensor]
    again: Callable[[Tensor], tuple[Tensor, Tensor]]
    of_twin: Callable[[Tensor, Tensor, int], Tensor]
    columns: Mapping[str, Any]


class MapTarget(ABC):
    """What the maps of a run are made for."""

    rival: ClassVar[str]  # with whose map it is compared
    noun: ClassVar[str]  # what evidence is for

    @abstractmethod
    def read(self, network: Specimen, x: Tensor) -> Tensor:
        """The part of the network's output that the target rests on, with its graph."""

    @abstractmethod
    def score(self, network: Specimen, x: Tensor) -> Tensor:
        """A number for each image that any layer in use has an influence on."""

    @abstractmethod
    def ask(self, output: Tensor, batch: Batch) -> BatchAnswer:
        """What is asked of one batch, from what `read` gave."""


@final
@dataclass(frozen=True)
class ClassScore(MapTarget):
    """The score of a class: the one asked for (image of the set,), or the predicted one."""

    rival: ClassVar[str] = "runner-up class"
    noun: ClassVar[str] = "the target class"
    specimen: Specimen
    asked: np.ndarray[Any, Any] | None = None

    def read(self, network: Specimen, x: Tensor) -> Tensor:
        return network.logits(x)

    def score(self, network: Specimen, x: Tensor) -> Tensor:
        return network.logits(x).max(1).values

    def ask(self, output: Tensor, batch: Batch) -> BatchAnswer:
        scores = output.detach()
        first = scores.argmax(1) if self.asked is None else torch.from_numpy(self.asked[batch.index]).to(scores.device)
        rival = runner_up(scores, first)

        def of(given: Tensor, classes: Tensor) -> Tensor:
            return given.gather(1, classes.to(given.device)[:, None])[:, 0]

        probability = of(scores.cpu().double().softmax(1), first.cpu())
        columns = {
            "predicted": [output_name(self.specimen, int(each)) for each in scores.argmax(1)],
            "probability": probability.numpy(),
            "target": [output_name(self.specimen, int(each)) for each in first],
            "runner_up": [output_name(self.specimen, int(each)) for each in rival],
        }

        def both(given: Tensor) -> tuple[Tensor, Tensor]:
            return of(given, first), of(given, rival)

        return BatchAnswer(both(output), both, lambda given, rows, _: of(given, first[rows.to(first.device)]), columns)


@final
@dataclass(frozen=True)
class RegionScore(MapTarget):
    """The sum of a class's scores over a region of a class map: where the class is predicted, or the object's mask.

    The class is the one asked for (image of the set,); -1 is the one predicted at the most positions, the background only where there
    is nothing else. Its rival is the class with the highest mean score in the same region.
    """

    rival: ClassVar[str] = "runner-up class"
    noun: ClassVar[str] = "the target class"
    specimen: Specimen
    asked: np.ndarray[Any, Any] | None = None
    masks: np.ndarray[Any, Any] | None = None  # (image of the set, row, col)

    def read(self, network: Specimen, x: Tensor) -> Tensor:
        return class_map(network, x)

    def score(self, network: Specimen, x: Tensor) -> Tensor:
        return class_map(network, x).abs().sum((1, 2, 3))

    def ask(self, output: Tensor, batch: Batch) -> BatchAnswer:
        scores = output.detach()
        asked = None if self.asked is None else torch.from_numpy(self.asked[batch.index]).to(scores.device)
        single = scores.shape[1] == 1  # a class and its absence: it is predicted where its score is positive
        predicted = (scores[:, 0] <= 0).long() if single else scores.argmax(1)
        common = torch.stack([_commonest(labels, self._background()) for labels in predicted]) * (not single)
        first = common if asked is None else asked
        if self.masks is None:
            region = predicted == first[:, None, None]
        else:
            mask = torch.from_numpy(self.masks[batch.index]).to(scores.device)
            region = F.interpolate(mask[:, None].float(), size=scores.shape[2:], mode="nearest")[:, 0] > 0
        means = (scores * region[:, None]).sum((2, 3)).scatter(1, first[:, None], -torch.inf)
        rival = means.argmax(1)

        def of(given: Tensor, classes: Tensor, part: Tensor = region) -> Tensor:
            scored = given.gather(1, classes.to(given.device).view(-1, 1, 1, 1).expand(-1, 1, *given.shape[2:]))[:, 0]
            return (scored * part.to(scored)).sum((1, 2))

        def of_twin(given: Tensor, rows: Tensor, _: int) -> Tensor:
            at = rows.to(first.device)
            return of(given, first[at], region[at])

        def both(given: Tensor) -> tuple[Tensor, Tensor]:
            return of(given, first), of(given, first) * 0.0 if single else of(given, rival)

        columns = {
            "predicted": [output_name(self.specimen, int(each)) for each in common],
            "probability": _mean_probability(scores, first, region),
            "region": region.double().mean((1, 2)).cpu().numpy(),
            "target": [output_name(self.specimen, int(each)) for each in first],
            "runner_up": ["none" if single else output_name(self.specimen, int(each)) for each in rival],
        }
        return BatchAnswer(both(output), both, of_twin, columns)

    def _background(self) -> int:
        """The output that stands for the background, -1 where its names don't say."""
        names = [name.lower() for name in self.specimen.labels or ()]
        return next((place for place, name in enumerate(names) if name in BACKGROUND), -1)


@final
@dataclass(frozen=True)
class EmbeddingSimilarity(MapTarget):
    """The cosine similarity between the embedding of each image and a reference, each network's own.

    `reference` and `mean` are sums of unit vectors of the network, `of_twins` the reference of each untrained twin; an image that is part
    of one is taken out of it, so that none is compared with itself.
    """

    rival: ClassVar[str] = "mean of the images shown"
    noun: ClassVar[str] = "the reference"
    name: str
    head: str  # the classifier whose input is the embedding; empty: the output is
    reference: "Prototype" = field(repr=False)
    mean: "Prototype" = field(repr=False)
    of_twins: "tuple[Prototype, ...]" = field(repr=False)

    def read(self, network: Specimen, x: Tensor) -> Tensor:
        return embedding(network, x, self.head)

    def score(self, network: Specimen, x: Tensor) -> Tensor:
        return embedding(network, x, self.head).abs().sum(1)

    def ask(self, output: Tensor, batch: Batch) -> BatchAnswer:
        own = self.reference.without(batch.index)
        value = _cosine(output, own)
        known = (own.any(1) & (value.detach() < SAME)).cpu()
        columns = {
            "similarity": torch.where(known, value.detach().cpu().double(), nan).numpy(),
            "target": [self.name if other else "the reference itself" for other in known],
        }
        mean = self.mean.without(batch.index)

        def both(given: Tensor) -> tuple[Tensor, Tensor]:
            return _cosine(given, own), _cosine(given, mean)

        def of_twin(given: Tensor, rows: Tensor, number: int) -> Tensor:
            return _cosine(given, self.of_twins[number].without(batch.index[rows.numpy()]))

        return BatchAnswer((value, _cosine(output, mean)), both, of_twin, columns)


@dataclass(frozen=True)
class Prototype:
    """A sum of unit vectors (unit,), and those of its parts that are images of the set, by their places."""

    total: Tensor
    members: Mapping[int, Tensor]

    def without(self, index: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """The sum for each of these images (image, unit), without its own part; zero where nothing else is in it."""
        rows: list[Tensor] = []
        for place in index:
            own = self.members.get(int(place))
            alone = own is not None and torch.allclose(self.total, own, atol=1e-6)
            rows.append(torch.zeros_like(self.total) if alone else self.total if own is None else self.total - own)
        return torch.stack(rows)


def _cosine(output: Tensor, reference: Tensor) -> Tensor:
    """The cosine similarity of each image (image,), without a gradient where both are one."""
    value = F.cosine_similarity(output, reference.to(output), dim=1)
    return torch.where(value.detach() < SAME, value, value.detach())


def class_map(network: Specimen, x: Tensor) -> Tensor:
    """Scores (image, class, row, col). Raises SpecimenError where the network gives something else."""
    scores = first_tensor(network.net(x))
    if scores is None or scores.ndim != 4:
        given = "no tensor" if scores is None else f"{tuple(scores.shape[1:])} for one image"
        raise SpecimenError(f"{network.name} gives {given}, not a score for each class at each position.")
    return scores


def embedding(network: Specimen, x: Tensor, head: str = "") -> Tensor:
    """The embedding of each image (image, unit): the output, or the input of the layer `head`; of maps and tokens the mean over positions.

    Raises SpecimenError where the network gives no tensor.
    """
    kept: list[Tensor] = []
    if head:
        with watch(network, f"<{head}", each=lambda _, vector: kept.append(vector)):
            network.net(x)
    value = kept[0] if head else first_tensor(network.net(x))
    if value is None:
        raise SpecimenError(f"{network.name} gives no tensor, so there is no embedding.")
    return value.flatten(2).mean(2) if value.ndim == 4 else value.mean(1) if value.ndim == 3 else value


def _commonest(predicted: Tensor, background: int) -> Tensor:
    """The class at the most positions, the background only where there is no other."""
    counts = torch.bincount(predicted.flatten())
    if 0 <= background < len(counts) and int(counts.sum() - counts[background]) > 0:
        counts[background] = 0
    return counts.argmax()


def _mean_probability(scores: Tensor, classes: Tensor, region: Tensor) -> np.ndarray[Any, Any]:
    """The mean probability of each image's class over its region; NaN where that is empty."""
    every = scores.double()
    chance = every.sigmoid() if every.shape[1] == 1 else every.softmax(1)
    asked = chance.gather(1, classes.view(-1, 1, 1, 1).expand(-1, 1, *every.shape[2:]))[:, 0]
    return ((asked * region).sum((1, 2)) / region.sum((1, 2))).cpu().numpy()  # 0 / 0 is not a number
