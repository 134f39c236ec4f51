"""Which weight tensors are compared: those of like role in consecutive layers or blocks."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.numerics.weights.pairs import TensorPair, match_roles, outermost_groups, pair_neighbours, tensor_roles
from microtome.numerics.weights.tensors import execution_order, weight_tensors
from microtome.specimen import Specimen

DEFAULT = ("last3",)


class Pairing(NamedTuple):
    """Which tensors are compared: the groups they come from, the pairs, tensors without a partner, chosen layers without weights."""

    groups: dict[str, list[str]]
    pairs: list[TensorPair]
    alone: list[str]
    empty: tuple[str, ...] = ()


def ordered_weights(specimen: Specimen) -> tuple[dict[str, Tensor], list[str]]:
    """All weight tensors by name in execution order (those that never run last), and the dtypes they are stored in."""
    stored = weight_tensors(specimen.net)
    if not stored:
        raise Unmeasurable(
            f"{specimen.name} has no weight tensor of two or more axes that can be read (packed integer modules hide theirs); "
            "open the network as it was before quantisation."
        )
    orders: dict[str, int] = {}
    for layer in specimen.layers:
        orders.setdefault(layer.path, layer.order)

    names = execution_order(stored, orders, frozenset(name for name, _ in specimen.net.named_children()))
    return {name: stored[name].values for name in names}, [stored[name].dtype for name in names]


def pair_weights(specimen: Specimen, weights: Mapping[str, Tensor], at: tuple[str, ...]) -> Pairing:
    """The tensors in each chosen layer or block, and the pairs of like role between consecutive ones."""
    if at == DEFAULT and "last3" not in specimen.aliases:  # no convolutions, no blocks: the last three weights instead
        chosen = list(weights)[-3:]
        return Pairing({name: [name] for name in chosen}, pair_neighbours(chosen), [])
    names = specimen.find(at)
    chosen = _groups(specimen, weights, names)
    groups, empty = outermost_groups(chosen), tuple(name for name, inside in chosen.items() if not inside)
    blocks = {block.exit.partition("[")[0] for block in specimen.blocks}
    if all(inside == [name] for name, inside in groups.items()) and not all(name in blocks for name in names):
        return Pairing(groups, pair_neighbours(list(groups)), [], empty)
    shapes = {name: tuple(values.shape) for name, values in weights.items()}
    by_role = [tensor_roles(inside, name) for name, inside in groups.items()]
    neighbouring = [match_roles(first, second, shapes) for first, second in pairwise(by_role)]
    pairs = [pair for matched, _ in neighbouring for pair in matched]
    partners = {name for pair in pairs for name in (pair.first, pair.second)}
    alone = [name for _, unmatched in neighbouring for name in unmatched if name not in partners]
    return Pairing(groups, pairs, list(dict.fromkeys(alone)), empty)


def _groups(specimen: Specimen, weights: Mapping[str, Tensor], names: list[str]) -> dict[str, list[str]]:
    """The names of the weight tensors in each of the layers `names`, or in the block that the layer ends."""
    blocks = {block.exit.partition("[")[0]: block for block in specimen.blocks}
    groups: dict[str, list[str]] = {}
    for name in names:
        layer = specimen.layer(name)
        block = blocks.get(name.partition("[")[0]) or blocks.get(layer.path)
        if block is None:
            paths = {layer.path}
        else:
            first = min(each.order for each in specimen.layers if each.path.startswith(specimen.layer(block.entry).path))
            last = specimen.layer(block.exit).order
            spanned = specimen.layers[first : last + 1]
            paths = {each.path for each in spanned} if block.entry != block.exit else {block.name}
        inside = [weight for weight in weights if any(weight == path or weight.startswith(path + ".") for path in paths)]
        groups[block.name if block else layer.path] = inside
    return groups
