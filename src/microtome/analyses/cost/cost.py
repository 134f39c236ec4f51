"""Parameters, multiply-adds, latency on this machine, and memory.

Parameters and multiply-adds are exact. Latency is the median of several runs after warm-up, measured here and now; it says nothing
about other machines. When several networks are analyzed in one run they are timed in turn, one round after the other, so that other
load on the machine hits all of them alike; `compare` then reads the ratios by round. Live memory is the most that the tensors of one
forward pass hold at once, weights not counted.

Source: operations counted by torch's FlopCounterMode, halved to multiply-adds, with fused attention, recurrent and bilinear layers,
which it misses on the CPU; interval of the median: Conover 1999, sec. 3.2.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Analysis, Measurement, option
from microtome.batch_size import image_bytes
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.turn_timing import times_in_turn
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.graph.counts import uncounted_operations
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.paired_ratios import rounds_needed
from microtome.panels import Bars, Panel, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Workload

BATCH_WORK = 2e11  # multiply-adds of the timed batch, at most, but for one image of a larger network
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
    rank = 3
    effort = "quick"
    revision = 6  # 6: smaller batches of large networks
    in_turn = True

    batch: int = option(8, "images in the timed batch, at most: fewer of large networks", low=1, high=1024, quick=4)
    repeats: int = option(9, "timed runs, at least; their median is reported", low=3, high=1000, quick=5, full=15)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        batch = self._timed_batch(specimen)
        return Workload(forward=(batch if batch == 1 else 1 + batch) * (self.repeats + 2) + 4.0, seconds=0.3)

    def _timed_batch(self, specimen: Specimen) -> int:
        """How many images the timed batch has: `batch`, or as many as keep its multiply-adds below `BATCH_WORK`; at least one."""
        return max(1, min(self.batch, int(BATCH_WORK // max(1, specimen.multiply_adds))))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        return self.measure_in_turn([specimen], images, pace)[0]

    def measure_in_turn(self, specimens: Sequence[Specimen], images: Images | None, pace: Pace) -> list[Measurement]:
        batch = min(self._timed_batch(specimen) for specimen in specimens)  # one for all, so that they can be compared
        counts = sorted({1, batch})
        inputs = [[specimen.noise(count) for count in counts] for specimen in specimens]
        rounds = self.repeats if len(specimens) == 1 else max(self.repeats, rounds_needed(len(specimens)))
        times = times_in_turn(specimens, inputs, rounds) / np.array(counts)[:, None]
        times = times[:, [0, -1]]  # a batch of one image is timed once
        return [
            self._measurement(specimen, x[0], runs, batch) for specimen, x, runs in zip(specimens, inputs, times, strict=True)
        ]

    def _measurement(self, specimen: Specimen, image: torch.Tensor, runs: np.ndarray[Any, Any], batch: int) -> Measurement:
        """All costs of one network, with its times (measure, round) in ms per image."""
        stored = sum(t.numel() * t.element_size() for t in (*specimen.net.parameters(), *specimen.net.buffers()))
        values = [
            sum(p.numel() for p in specimen.net.parameters()),
            stored / 1e6,
            specimen.multiply_adds / 1e6,
            *(float(np.median(row)) for row in runs),
            image_bytes(specimen, gradients=False) / 1e6,
        ]
        stages = _parameters_by_stage(specimen)
        measures, kinds = [f"{name} ({unit})" for name, unit in MEASURES.items()], ["one image", "in a batch"]
        arrays = {
            "cost": array(values, ("measure",), "see measure", {"measure": measures}, "cost"),
            "runs": array(runs, ("measure", "rank"), "ms per image", {"measure": kinds}, "latency by round"),
            "parameters": array(list(stages.values()), ("stage",), "parameters", {"stage": list(stages)}, "parameters"),
        }
        uncounted = uncounted_operations(specimen.net, image)
        return Measurement(arrays, {"batch": batch, "threads": torch.get_num_threads(), "uncounted": uncounted})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        parameters, _, operations, _, _, live = (float(value) for value in finding["cost"].values)
        single, batched = (median_interval(runs) for runs in finding["runs"].values)
        batch = finding.facts["batch"]
        return [
            KeyNumber(name="parameters", value=parameters, better="lower"),
            KeyNumber(name="multiply-adds", value=1e6 * operations, unit="per image", better="lower"),
            KeyNumber(
                name="latency of one image", value=single.value, low=single.low, high=single.high, has_interval=True, unit="ms",
                better="lower",
            ),
            KeyNumber(
                name="latency per image in a batch", value=batched.value, low=batched.low, high=batched.high, has_interval=True,
                unit="ms", better="lower", at=f"batch {batch}",
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
        facts = finding.facts
        turn = f"; timed in turn with {plural(facts['in_turn'] - 1, 'other network')}" if facts.get("in_turn", 0) > 1 else ""
        uncounted = f"Not counted in the multiply-adds: {', '.join(facts['uncounted'])}."
        return [
            f"Latency holds for this machine with {plural(facts['threads'], 'thread')} in float32; other load on it during the "
            f"measurement is included{turn}.",
            *([uncounted] if facts["uncounted"] else []),
            "Attention counts all pairs of tokens, masked or not.",
        ]


def _parameters_by_stage(specimen: Specimen) -> dict[str, int]:
    """Parameters under each top-level module, in order; a single wrapper is opened."""
    module = specimen.net
    while len(children := [c for c in module.named_children() if any(True for _ in c[1].parameters())]) == 1:
        module = children[0][1]
    if not children:
        return {specimen.name: sum(p.numel() for p in specimen.net.parameters())}
    return {name: sum(p.numel() for p in child.parameters()) for name, child in children}
