"""How far a loss is from each layer: path lengths in weight layers, on the graph that a forward pass left behind.

The graph is the one that gradients flow along, so it holds every path that was executed, however the network is written.

Source: the claim that a classifier supervises all layers of a dense network through "at most two or three transition layers", Huang et
al. 2017, arXiv:1608.06993, section 5; paths of a residual network, Veit et al. 2016, arXiv:1605.06431. The count is ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from torch import Tensor

from microtome.numerics.arrays import Array

PRODUCTS = ("Convolution", "Addmm", "Mm", "Bmm", "Baddbmm", "Linear")  # operations that may be a layer with weights


class PathLength(NamedTuple):
    """Paths from a loss down to a tensor, by the weight layers passed on the way: the shortest, the mean, how many (log10)."""

    shortest: int
    mean: float
    paths: float


def path_lengths(loss: Tensor, picture: Tensor) -> Callable[[Tensor | Any], PathLength | None]:
    """A function that gives the length from `loss` to a tensor (or to its `grad_fn`), None for one that `loss` does not hang on.

    A weight layer is a convolution or matrix product of something computed from `picture` with something that is not and hangs on
    a parameter of two axes or more. The layer whose output is asked for does not count, nor does one below it. Parameters and
    `picture` must require gradients.
    """
    root: Any = loss.grad_fn
    order = _topological_order(root)
    seen = _ancestry(order, picture)
    lengths: dict[Any, tuple[int, int, int]] = {root: (0, 0, 1)}  # shortest, sum over paths, number of paths
    for node in order:
        if not seen[node][0]:
            continue  # the weights' own side
        shortest, total, paths = lengths[node]
        step = int(_is_layer(node, seen))
        for child, _ in node.next_functions:
            if child is None or not seen[child][0]:
                continue
            before = lengths.get(child, (shortest + step, 0, 0))
            lengths[child] = (min(before[0], shortest + step), before[1] + total + step * paths, before[2] + paths)

    def length(tensor: Tensor | Any) -> PathLength | None:
        node: Any = tensor.grad_fn if isinstance(tensor, Tensor) else tensor
        if node not in lengths:
            return None
        shortest, total, paths = lengths[node]
        return PathLength(shortest, float(total / paths), math.log10(paths))

    return length


def _topological_order(root: Any) -> list[Any]:
    """All nodes below `root`, each before what it was computed from."""
    done: list[Any] = []
    state: dict[Any, bool] = {}
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        node, left = waiting.pop()
        if left:
            done.append(node)
        elif node not in state:
            state[node] = True
            waiting.append((node, True))
            waiting += [(child, False) for child, _ in node.next_functions if child is not None and child not in state]
    return done[::-1]


def _ancestry(order: Sequence[Any], picture: Tensor) -> Mapping[Any, tuple[bool, bool]]:
    """For every node whether it was computed from the image, and whether from a parameter of two axes or more."""
    seen: dict[Any, tuple[bool, bool]] = {}
    for node in reversed(order):
        leaf = cast(Tensor | None, getattr(node, "variable", None))
        below = [seen[child] for child, _ in node.next_functions if child is not None]
        from_picture = leaf is picture or any(seen for seen, _ in below)
        from_weight = (leaf is not None and leaf is not picture and leaf.dim() > 1) or any(seen for _, seen in below)
        seen[node] = (from_picture, from_weight)
    return seen


def _is_layer(node: Any, seen: Mapping[Any, tuple[bool, bool]]) -> bool:
    name = str(node.name()).removesuffix("0").removesuffix("Backward")
    if not any(name == product or (product in ("Convolution", "Linear") and product in name) for product in PRODUCTS):
        return False
    return any(child is not None and not seen[child][0] and seen[child][1] for child, _ in node.next_functions)


class DepthProfile(NamedTuple):
    """How a gradient is spread over depth: decades from the last third of the layers to the first (negative where it vanishes
    downwards), and the standard deviation of its logarithm over layers, in decades.
    """

    decades: float
    spread: float


def depth_profile(strength: Float[Array, " layer"]) -> DepthProfile:
    """The profile of a positive number for each layer, in order of execution; zeros and NaN are left out.

    Not numbers for fewer than three layers.
    """
    known = np.log10(strength[np.isfinite(strength) & (strength > 0)])
    third = len(known) // 3
    if not third:
        return DepthProfile(math.nan, math.nan)
    return DepthProfile(float(known[:third].mean() - known[-third:].mean()), float(known.std()))


def centre_profile(strength: Float[Array, " layer"]) -> Float[Array, " layer"]:
    """The numbers over their geometric mean, so that only the shape over depth is left; zeros and NaN stay what they are."""
    known = strength[np.isfinite(strength) & (strength > 0)]
    return strength / np.exp(np.log(known).mean()) if len(known) else strength
