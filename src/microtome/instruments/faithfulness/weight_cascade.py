"""A network whose weights are drawn anew from the head downwards, part by part: a map that stays the same does not explain it.

Every learnt tensor counts, those that belong to no layer (class tokens, positions, layer scales) too. Its values are shuffled, each tensor
by its own seed, so that mean, spread and every other statistic of the tensor stay; the running statistics of norms that were
reached are estimated again on the images. Parts follow the order of execution, not that of registration.

Source: cascading randomisation, Adebayo et al. 2018, arXiv:1810.03292, sec. 3.1; shuffling instead of the initialiser is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.specimen import Specimen
from microtome.specimen.calibration import estimate_statistics
from microtome.specimen.copying import copy_network
from microtome.specimen.learnt_tensors import learnt_tensors

STATISTICS = ("running_mean", "running_var")
FIRST_SEED = 7_000_003


@dataclass(frozen=True)
class CascadePart:
    """A part of the network: the lowest of its modules, and the names of its learnt tensors."""

    lowest: str
    tensors: tuple[str, ...]


def cascade_parts(specimen: Specimen, most: int) -> list[CascadePart]:
    """The head, then the rest in up to `most` - 1 parts of about as many modules each, from the last to run to the first.

    Raises:
        Unmeasurable: no learnt tensor has two different values.
    """
    tensors = learnt_tensors(specimen.net)
    owners: dict[str, list[str]] = {}
    for name in tensors:
        if name.rpartition(".")[2] not in STATISTICS:
            owners.setdefault(name.rpartition(".")[0], []).append(name)
    if not any(value.numel() > 1 and bool((value != value.flatten()[0]).any()) for value in tensors.values()):
        raise Unmeasurable(f"{specimen.name} has no weights that could be drawn anew, so nothing can be randomised.")
    begun = {path: max(call.begun for call in calls) for path, calls in specimen.anatomy.trace.by_path().items()}
    ordered = sorted(owners, key=lambda path: (_place(path, begun), path), reverse=True)
    head, rest = ordered[:1], ordered[1:]
    count = min(most - 1, len(rest))
    groups = [head, *(rest[len(rest) * at // count : len(rest) * (at + 1) // count] for at in range(count))]
    return [CascadePart(group[-1] or "the whole", tuple(name for path in group for name in owners[path])) for group in groups]


def randomised_networks(specimen: Specimen, parts: list[CascadePart], x: Tensor, seed: int = 0) -> Iterator[Specimen]:
    """After each part, the network with this part and all above it drawn anew: one copy, changed further with every step."""
    net = copy_network(specimen.net)
    worker = specimen.with_net(net, name=f"{specimen.name}, randomised")
    worker.__dict__["anatomy"] = specimen.anatomy  # the same structure
    values, modules = learnt_tensors(net), dict(net.named_modules())
    numbers = {name: number for number, name in enumerate(values)}
    reached: list[str] = []
    for part in parts:
        with torch.inference_mode(False), torch.no_grad():
            for name in part.tensors:
                _shuffle(values[name], FIRST_SEED + seed * 1_000_003 + numbers[name])
        reached += [name.rpartition(".")[0] for name in part.tensors]
        norms = [modules[path] for path in dict.fromkeys(reached) if path in modules]
        estimate_statistics(net, [x.clone(memory_format=torch.preserve_format)], norms)
        yield worker


def _shuffle(value: Tensor, seed: int) -> None:
    """Shuffle the values of a tensor in place."""
    if value.is_meta or value.is_quantized or value.layout is not torch.strided:
        return
    order = torch.randperm(value.numel(), generator=torch.Generator().manual_seed(seed)).to(value.device)
    value.copy_(value.flatten()[order].view(value.shape))


def _place(path: str, begun: dict[str, int]) -> int:
    """When a module began; one that is never called counts with the module around it."""
    while path and path not in begun:
        path = path.rpartition(".")[0]
    return begun.get(path, -1)
