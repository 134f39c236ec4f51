"""What a network costs to keep and to run: parameters, operations, memory, and time on this machine.

Parameters and operations are exact; time is measured here, now, with nothing else said about other machines. Live memory is the
most that tensors of one forward pass hold at once, weights not counted, followed tensor by tensor.

Source: operations counted by torch's own FlopCounterMode, halved to multiply-adds, with the two products of fused attention, which it
misses on the CPU; time: the fastest of several repeats after warm-up, since whatever else a machine does only ever adds time.
"""

import time
import weakref
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from microtome.analysis import Analysis, Arrays, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.graph.counts import multiply_adds
from microtome.panels import Bars, Panel, Table
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.tracing import noise

MEASURES = {
    "parameters": "1",
    "weights": "MB",
    "multiply-adds": "M per image",
    "time": "ms per image",
    "time of a batch": "ms per image",
    "live memory": "MB per image",
}


@final
class Cost(Analysis):
    """Parameters, multiply-adds, latency, memory."""

    needs = "weights"
    question = "choose"
    reproducible = False  # times differ from run to run
    title = "Size, time, memory"
    revision = 2  # 2: fused attention is counted

    batch: int = option(16, "images in the batch that is timed", low=1, high=1024)
    repeats: int = option(7, "timed runs; the fastest is told", low=3, high=1000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        one, many = (_noise(specimen, count) for count in (1, self.batch))
        weights = sum(p.numel() for p in specimen.net.parameters())
        stored = sum(t.numel() * t.element_size() for t in (*specimen.net.parameters(), *specimen.net.buffers()))
        alone, together = self._times(specimen, one), self._times(specimen, many) / self.batch
        told = [
            weights,
            stored / 1e6,
            multiply_adds(specimen.net, one) / 1e6,
            alone.min(),
            together.min(),
            _live(specimen, one) / 1e6,
        ]
        stages = _by_stage(specimen)
        return {
            "cost": array(
                told, ("measure",), "see measure", {"measure": [f"{name} ({unit})" for name, unit in MEASURES.items()]}
            ),
            "runs": array(
                np.stack([alone, together]), ("measure", "rank"), "ms per image", {"measure": ["alone", "in a batch"]}
            ),
            "parameters": array(list(stages.values()), ("stage",), "parameters", {"stage": list(stages)}, "parameters"),
            "timed_batch": array([self.batch], ("measure",), "images"),
            "threads": array([torch.get_num_threads()], ("measure",), "threads"),
        }

    def _times(self, specimen: Specimen, x: torch.Tensor) -> np.ndarray[Any, Any]:
        """Milliseconds of each timed forward pass, after two that warm up."""
        taken: list[float] = []
        for _ in range(self.repeats + 2):
            _wait(x)
            began = time.perf_counter()
            specimen.run(x)
            _wait(x)
            taken.append(1e3 * (time.perf_counter() - began))
        return np.array(taken[2:])

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Table(title="Costs", columns=("cost",), rows="measure"),
            Bars(title="Where the parameters are", y=("parameters",), x="stage"),
        ]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        parameters, stored, operations, alone, together, live = found["cost"].values
        heaviest = int(np.argmax(found["parameters"].values))
        share = 100 * found["parameters"].values[heaviest] / max(parameters, 1)
        return (
            f"{parameters / 1e6:.2f} M parameters ({stored:.1f} MB), {operations:,.0f} M multiply-adds, {alone:.1f} ms for one image and "
            f"{together:.1f} ms each in a batch of {int(found['timed_batch'].values[0])}, {live:.1f} MB live; "
            f"{found['parameters'].stage.values[heaviest]} holds {share:.0f} % of the parameters."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        return [
            f"Times hold for this machine, {int(found['threads'].values[0])} threads, in float32, while it did whatever else it did.",
            "Pooling, normalisation, activation, softmax, gates and recurrent layers are not in the count of operations; "
            "attention counts all pairs of tokens, masked or not.",
        ]


def _noise(specimen: Specimen, count: int) -> torch.Tensor:
    """Random images of the specimen's size, seeded: time does not depend on what is in them."""
    x = noise(specimen.net, specimen.recipe, count)
    wide = any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in specimen.net.parameters())
    return x.contiguous(memory_format=torch.channels_last) if wide else x


def _wait(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    elif x.device.type == "mps":
        torch.mps.synchronize()


def _live(specimen: Specimen, x: torch.Tensor) -> float:
    """The most bytes that the tensors made in one forward pass hold at once."""
    follower = _Follower()
    with torch.inference_mode(False), torch.no_grad(), follower:
        specimen.net(x)
    return float(follower.most)


class _Follower(TorchDispatchMode):
    """Counts the bytes of storages made while it is on, from their making to the moment nobody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor.untyped_storage(), given)
        return made

    def _follow(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known or place in given or not size:
            return
        self._known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        if place in self._known:
            self._known.discard(place)
            self.now -= size


def _by_stage(specimen: Specimen) -> dict[str, int]:
    """Parameters under each top-level module, in order; a single wrapper is opened."""
    module = specimen.net
    while len(children := [c for c in module.named_children() if any(True for _ in c[1].parameters())]) == 1:
        module = children[0][1]
    if not children:
        return {specimen.name: sum(p.numel() for p in specimen.net.parameters())}
    return {name: sum(p.numel() for p in child.parameters()) for name, child in children}
