"""Parameters, multiply-adds, latency on this machine, and memory.

Parameters and multiply-adds are exact. Latency is the median of several runs after warm-up, measured here and now; it says nothing
about other machines. Live memory is the most that the tensors of one forward pass hold at once, weights not counted.

Source: operations counted by torch's FlopCounterMode, halved to multiply-adds, with the two products of fused attention, which it
misses on the CPU; interval of the median: Conover 1999, sec. 3.2.
"""

import time
import weakref
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from microtome.analysis import Analysis, Measurement, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.numerics.statistics.medians import median_interval
from microtome.panels import Bars, Panel, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.tracing import noise_images

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
    title = "Cost"
    revision = 3  # 3: fused attention is counted

    batch: int = option(16, "images in the timed batch", low=1, high=1024)
    repeats: int = option(7, "timed runs; their median is reported", low=3, high=1000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        one, many = (_noise_images(specimen, count) for count in (1, self.batch))
        weights = sum(p.numel() for p in specimen.net.parameters())
        stored = sum(t.numel() * t.element_size() for t in (*specimen.net.parameters(), *specimen.net.buffers()))
        single, batched = self._times(specimen, one), self._times(specimen, many) / self.batch
        values = [
            weights,
            stored / 1e6,
            count_multiply_adds(specimen.net, one) / 1e6,
            float(np.median(single)),
            float(np.median(batched)),
            _peak_live_bytes(specimen, one) / 1e6,
        ]
        stages = _parameters_by_stage(specimen)
        measures, runs = [f"{name} ({unit})" for name, unit in MEASURES.items()], ["one image", "in a batch"]
        arrays = {
            "cost": array(values, ("measure",), "see measure", {"measure": measures}, "cost"),
            "runs": array(
                np.stack([single, batched]), ("measure", "rank"), "ms per image", {"measure": runs}, "latency by run"
            ),
            "parameters": array(list(stages.values()), ("stage",), "parameters", {"stage": list(stages)}, "parameters"),
        }
        return Measurement(arrays, {"batch": self.batch, "threads": torch.get_num_threads()})

    def _times(self, specimen: Specimen, x: torch.Tensor) -> np.ndarray[Any, Any]:
        """Milliseconds of each timed forward pass, after two that warm up."""
        taken: list[float] = []
        for _ in range(self.repeats + 2):
            _synchronise(x)
            began = time.perf_counter()
            specimen.run(x)
            _synchronise(x)
            taken.append(1e3 * (time.perf_counter() - began))
        return np.array(taken[2:])

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        parameters, _, operations, _, _, live = (float(value) for value in finding["cost"].values)
        single, batched = (median_interval(runs) for runs in finding["runs"].values)
        batch = finding.facts["batch"]
        return [
            KeyNumber(name="parameters", value=parameters, better="lower"),
            KeyNumber(name="multiply-adds", value=1e6 * operations, unit="per image", better="lower"),
            KeyNumber(
                name="latency, batch 1", value=single.value, low=single.low, high=single.high, has_interval=True, unit="ms", better="lower",
            ),
            KeyNumber(
                name=f"latency per image, batch {batch}", value=batched.value, low=batched.low, high=batched.high, has_interval=True,
                unit="ms", better="lower",
            ),
            KeyNumber(name="live memory", value=live, unit="MB per image", better="lower"),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        parameters, operations, latency = finding.key_numbers[:3]
        time = format_value(latency.value, "ms")
        return f"{parameters.text} parameters, {format_value(operations.value)} multiply-adds, {time} for one image on this machine."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Table(title="Costs", columns=("cost",), rows="measure"),
            Bars(title="Parameters by stage", y=("parameters",), x="stage"),
        ]

    def caveats(self, finding: Finding) -> Sequence[str]:
        threads = plural(finding.facts["threads"], "thread")
        return [
            f"Latency holds for this machine with {threads} in float32; other load on it during the measurement is included.",
            "Pooling, normalisation, activation, softmax, gates and recurrent layers are not counted in the multiply-adds.",
            "Attention counts all pairs of tokens, masked or not.",
        ]


def _noise_images(specimen: Specimen, count: int) -> torch.Tensor:
    """Random images of the specimen's size, seeded: time does not depend on what is in them."""
    x = noise_images(specimen.net, specimen.recipe, count)
    wide = any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in specimen.net.parameters())
    return x.contiguous(memory_format=torch.channels_last) if wide else x


def _synchronise(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    elif x.device.type == "mps":
        torch.mps.synchronize()


def _peak_live_bytes(specimen: Specimen, x: torch.Tensor) -> float:
    """The most bytes that the tensors made in one forward pass hold at once."""
    follower = _MemoryTracer()
    with torch.inference_mode(False), torch.no_grad(), follower:
        specimen.net(x)
    return float(follower.most)


class _MemoryTracer(TorchDispatchMode):
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


def _parameters_by_stage(specimen: Specimen) -> dict[str, int]:
    """Parameters under each top-level module, in order; a single wrapper is opened."""
    module = specimen.net
    while len(children := [c for c in module.named_children() if any(True for _ in c[1].parameters())]) == 1:
        module = children[0][1]
    if not children:
        return {specimen.name: sum(p.numel() for p in specimen.net.parameters())}
    return {name: sum(p.numel() for p in child.parameters()) for name, child in children}
