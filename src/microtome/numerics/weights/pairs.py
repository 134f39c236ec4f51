"""Pairs of weight tensors with the same role in two neighbouring blocks, matched by name and shape."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.distances import all_distances
from microtome.numerics.weights.tensors import sorted_quantiles

Shape = tuple[int, ...]
LIKE_ROLE = "same role, same shape"
MIN_NAME_LIKENESS = 0.6  # fraction of letters two names must have in common to be called near

DISTANCES = {"w1": "W1", "w1_over_sigma": "W1/σ", "w1_shape": "shape-only W1", "ks": "KS", "js": "JS"}


class TensorPair(NamedTuple):
    """Two tensors to compare, by full name, and why these two."""

    first: str
    second: str
    role: str
    kind: Literal["same role, same shape", "same role, other shape", "nearest name", "neighbours"]


def tensor_roles(names: Sequence[str], block: str) -> dict[str, str]:
    """Role -> full name of the tensors of one block: the name without the block's path, or "weight" for its only tensor.

    Tensors outside the block's path (a group of plain layers) are numbered.
    """
    if len(names) == 1:
        return {"weight": names[0]}
    prefix = block + "."
    return {name.removeprefix(prefix) if name.startswith(prefix) else f"weight {n}": name for n, name in enumerate(names, 1)}


def match_roles(
    first: Mapping[str, str], second: Mapping[str, str], shapes: Mapping[str, Shape]
) -> tuple[list[TensorPair], list[str]]:
    """The pairs of like role between two blocks (role -> full name each), and the full names left without a partner.

    Roles of the same name go together. Of the rest, kernels of the same size with the nearest names do (Inception modules of
    different design), greedily and the nearest first.
    """
    pairs = [
        TensorPair(
            name,
            second[role],
            role,
            LIKE_ROLE if shapes[name] == shapes[second[role]] else "same role, other shape",
        )
        for role, name in first.items()
        if role in second
    ]
    left, right = ([role for role in roles if role not in other] for roles, other in ((first, second), (second, first)))
    near = sorted(
        (-_name_likeness(a, b), a, b)
        for a in left
        for b in right
        if len(shapes[first[a]]) == len(shapes[second[b]]) and shapes[first[a]][2:] == shapes[second[b]][2:]
    )
    for score, a, b in near:
        if -score >= MIN_NAME_LIKENESS and a in left and b in right:
            pairs.append(TensorPair(first[a], second[b], f"{a} | {b}", "nearest name"))
            left.remove(a)
            right.remove(b)
    return pairs, [*(first[role] for role in left), *(second[role] for role in right)]


def outermost_groups(groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The groups without the empty ones and those that lie inside another, so that no tensor meets itself."""
    kept: dict[str, list[str]] = {}
    for name, inside in sorted(groups.items(), key=lambda item: -len(item[1])):
        if inside and not any(set(inside) <= set(other) for other in kept.values()):
            kept[name] = list(inside)
    return {name: kept[name] for name in groups if name in kept}


def pair_neighbours(names: Sequence[str]) -> list[TensorPair]:
    """Each tensor with the next one, whatever their roles: for layers that were chosen one by one."""
    return [TensorPair(a, b, "chosen", "neighbours") for a, b in pairwise(names)]


def pair_distances(weights: Mapping[str, Tensor], pairs: Sequence[TensorPair]) -> Float[Array, "pair measure"]:
    """The measures of `DISTANCES` for each pair; not numbers where a tensor is missing or holds values that are not finite."""
    names = {name for pair in pairs for name in (pair.first, pair.second) if name in weights}
    ordered = {name: sorted_quantiles(weights[name]) for name in names}
    usable = {name for name, values in ordered.items() if np.isfinite(values).all()}
    distances = np.full((len(pairs), len(DISTANCES)), np.nan)
    for place, pair in enumerate(pairs):
        if pair.first in usable and pair.second in usable:
            measured = all_distances(ordered[pair.first], ordered[pair.second])
            distances[place] = [measured[name] for name in DISTANCES]
    return distances


def largest_roles(
    layers: Sequence[str], families: Sequence[Sequence[str]], sizes: Mapping[str, float], most: int
) -> tuple[str, ...]:
    """At most `most` of the layers, in their order: all, or whole families of one role, largest weights first."""
    if len(layers) <= most:
        return tuple(layers)
    chosen: set[str] = set()
    for family in sorted(families, key=lambda names: -max(sizes[name] for name in names)):
        if len(chosen | set(family)) <= most:
            chosen |= set(family)
    return tuple(name for name in layers if name in chosen) or tuple(layers[-most:])


def _name_likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()
