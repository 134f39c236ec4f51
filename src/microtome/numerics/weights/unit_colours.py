"""Maps of many units made comparable: the same factor the same colour in every unit, units in order of likeness, in groups.

Source: that factors want matching colours is said in Petrov et al. 2021 (doi:10.23915/distill.00024.009), how is not; matching to
a template is ours. The best of the orders of three factors is what the Hungarian method (Kuhn 1955) finds; Ward 1963; k-means
from Ward's centres, Milligan 1980, doi:10.1007/BF02293907.
"""

from itertools import permutations

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

from microtome.numerics.arrays import Array

ROUNDS = 3  # of matching; after that the template hardly moves


def align_factors(
    maps: Float[Array, "unit row col factor"], *, horizontal: bool, rounds: int = ROUNDS
) -> Float[Array, "unit row col factor"]:
    """The maps with the factors of every unit put in the order of one template for all of them.

    It starts from each unit's factors in the order of their centres along the ruling axis (rows for `horizontal` stripes), is the
    mean of the matched maps in each of the `rounds`, and is at last itself put in order along that axis: factor 0 is nearest
    the top, or the left.
    """
    units, rows, cols, factors = maps.shape
    if not units:
        return maps
    flat = maps.reshape(units, rows * cols, factors).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    shapes = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    place = (np.arange(rows * cols) // cols if horizontal else np.arange(rows * cols) % cols).astype(float)
    order = np.argsort(_map_centres(shapes, place), axis=1, kind="stable")
    orders = np.array(list(permutations(range(factors))))
    for _ in range(rounds):
        template = np.take_along_axis(shapes, order[:, None], axis=2).mean(0)
        alike = np.einsum("upf,pt->uft", shapes, template)  # factor f of the unit, factor t of the template
        fits = sum(alike[:, orders[:, t], t] for t in range(factors))
        order = orders[np.argmax(fits, axis=1)]
    template = np.take_along_axis(shapes, order[:, None], axis=2).mean(0)
    last = np.argsort(_map_centres(template[None], place)[0], kind="stable")
    return np.take_along_axis(maps, order[:, last][:, None, None], axis=3)


def to_colours(maps: Float[Array, "unit row col factor"]) -> Float[Array, "unit row col factor"]:
    """Each unit's maps over its largest value, so that they can be seen as colours in [0, 1]; NaN for a unit of only zeros."""
    largest = maps.max(axis=(1, 2, 3), keepdims=True) if maps.size else maps[:, :1, :1, :1]
    return np.divide(maps, largest, out=np.full_like(maps, np.nan), where=largest > 0)


def ward_tree(maps: Float[Array, "unit row col factor"]) -> Float64[Array, "merge four"]:
    """Ward's tree (scipy's linkage matrix) over the units' maps, each of length 1."""
    return linkage(_unit_length(maps), "ward")


def leaf_order(tree: Float64[Array, "merge four"]) -> Int[Array, " unit"]:
    """The units in the order of the tree's leaves: alike ones stand together."""
    return leaves_list(tree).astype(np.int64)


def cluster_units(
    maps: Float[Array, "unit row col factor"], tree: Float64[Array, "merge four"], count: int, rounds: int = 100
) -> Int[Array, " unit"]:
    """The group of each unit by k-means on maps of length 1, from the means of Ward's groups; the largest group is 0.

    Nothing is drawn at random. There are fewer groups than `count` only where units are equal.
    """
    points = _unit_length(maps)
    groups = fcluster(tree, count, "maxclust").astype(np.int64) - 1
    squares = (points**2).sum(1)
    for _ in range(rounds):
        sizes = np.bincount(groups)
        alive = np.flatnonzero(sizes)
        means = np.stack([points[groups == group].mean(0) for group in alive])
        new = np.argmin(squares[:, None] - 2 * points @ means.T + (means**2).sum(1), axis=1)
        if np.array_equal(new, groups):
            break
        groups = new
    sizes = np.bincount(groups)
    ranks = np.empty(len(sizes), dtype=np.int64)
    ranks[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return ranks[groups]


def _map_centres(maps: Float[Array, "unit place factor"], place: Float[Array, " place"]) -> Float[Array, "unit factor"]:
    """The centre of each map along an axis; an empty one lies in the middle."""
    weight = maps.sum(1)
    return np.divide(np.einsum("upf,p->uf", maps, place), weight, out=np.full_like(weight, place.mean()), where=weight > 0)


def _unit_length(maps: Float[Array, "unit row col factor"]) -> Float64[Array, "unit value"]:
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
