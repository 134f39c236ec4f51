"""All pairs of images: features kept until every image has been seen, then one U-centred Gram matrix for each layer.

A statistic of pairs that is taken within batches depends on which images share a batch. So features are kept, where they fit into
memory, and every pair is compared; elsewhere batches are compared, and `scan_batches` makes them random samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from microtome.numerics.statistics.cka import gram_matrix, u_centered
from microtome.specimen import Specimen
from microtome.tally import State, Tally

FEATURE_BYTES = 512 << 20  # features of all images that one analysis keeps during a scan
GRAM_BYTES = 256 << 20  # Gram matrices that remain
MIN_COUNT = 4  # images, below which the unbiased HSIC does not exist


def all_pairs_fit(specimen: Specimen, names: Iterable[str], count: int) -> bool:
    """Whether features of these layers for `count` images, and then their Gram matrices, fit into the memory meant for them.

    The same for every batch and shard of a set of images, since it rests on shapes and on how many images there are.
    """
    return shapes_fit([specimen.layer(name).shape for name in names], count)


def shapes_fit(shapes: Sequence[Sequence[int]], count: int) -> bool:
    """As `all_pairs_fit`, for layers whose outputs for one image have these shapes."""
    features = 4 * count * sum(prod(shape) for shape in shapes)
    return features <= FEATURE_BYTES and 8 * count * count * len(shapes) <= GRAM_BYTES


class BatchFeatures:
    """Features (image, feature) of one batch. Several analyses may hold the same object; what is made of it is made once."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values
        self.grams: dict[tuple[int, ...], np.ndarray[Any, Any]] = {}  # by the objects of all batches of which this is the first


def flat_features(value: Tensor) -> BatchFeatures:
    """A copy of a layer's output as float32 (image, feature) on the CPU; float64 stays float64.

    The features of a map go by position, then by unit, in every batch alike: so most maps lie in memory.
    """
    value = value.detach()
    ordered = value.permute(0, 2, 3, 1) if value.dim() == 4 else value
    flat = ordered.flatten(1) if value.dim() > 1 else value[:, None]
    kind = torch.float64 if flat.dtype == torch.float64 else torch.float32
    return BatchFeatures(flat.to("cpu", kind, copy=True).contiguous().numpy())


@final
class ImagePairs(Tally):
    """Features of every image, by layer, in the order of the scan; once all are there, only their Gram matrices."""

    def __init__(self) -> None:
        self._rank: list[np.ndarray[Any, Any]] = []
        self._features: dict[str, list[BatchFeatures]] = {}
        self._grams: dict[str, np.ndarray[Any, Any]] = {}
        self._total = 0

    @property
    def count(self) -> int:
        """How many images it has seen."""
        return len(next(iter(self._grams.values()))) if self._grams else sum(map(len, self._rank))

    def add(self, rank: Any, total: int, features: Mapping[str, BatchFeatures]) -> None:
        """Add one batch: `rank` (image,) are its images' places in the scan of `total` images."""
        self._total = total
        self._rank.append(np.asarray(rank, dtype=np.int64))
        for name, values in features.items():
            self._features.setdefault(name, []).append(values)
        self._reduce()

    def grams(self, names: Iterable[str]) -> Tensor:
        """U-centred Gram matrices of these layers, float64 (layer, image, image), images in the order of the scan."""
        return torch.stack([torch.from_numpy(self._grams[name] if self._grams else self._gram(name)) for name in names])

    def state(self) -> State:
        if self._grams:
            return {f"gram.{name}": gram for name, gram in self._grams.items()}
        if not self._rank:
            return {}
        features = {f"feature.{name}": _stack_rows(parts) for name, parts in self._features.items()}
        return {"rank": np.concatenate(self._rank), "total": np.array([self._total], dtype=np.int64)} | features

    def restore(self, state: State) -> None:
        self._grams = {name.removeprefix("gram."): value.copy() for name, value in state.items() if name.startswith("gram.")}
        self._rank = [state["rank"].copy()] if "rank" in state else []
        self._total = int(state["total"][0]) if "total" in state else 0
        self._features = {
            name.removeprefix("feature."): [BatchFeatures(value.copy())]
            for name, value in state.items()
            if name.startswith("feature.")
        }

    def merge(self, other: Tally) -> None:
        if not isinstance(other, ImagePairs):
            raise TypeError(f"ImagePairs cannot merge a {type(other).__name__}")
        if other._grams:  # it has seen all images, so this one none
            self._grams = dict(other._grams)
            return
        self._total = max(self._total, other._total)
        self._rank.extend(other._rank)
        for name, parts in other._features.items():
            self._features.setdefault(name, []).extend(parts)
        self._reduce()

    def _reduce(self) -> None:
        """Once every image is there, keep the Gram matrices in place of the features."""
        if self._total >= MIN_COUNT and sum(map(len, self._rank)) == self._total:
            for name in self._features:  # names may stand for the same features, so they go together
                self._grams[name] = self._gram(name)
            self._features, self._rank = {}, []

    def _gram(self, name: str) -> np.ndarray[Any, Any]:
        parts = self._features[name]
        grams, key = parts[0].grams, tuple(map(id, parts))  # all of them are held here, so no other object has their ids
        if key not in grams:
            rank, features = np.concatenate(self._rank), _stack_rows(parts)
            if (np.diff(rank) < 0).any():  # shards
                features = features[np.argsort(rank, kind="stable")]
            grams[key] = u_centered(gram_matrix(torch.from_numpy(features))).numpy()
        return grams[key]


def _stack_rows(parts: Sequence[BatchFeatures]) -> np.ndarray[Any, Any]:
    return parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts])
