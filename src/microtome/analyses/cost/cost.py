"""Parameters, multiply-adds, latency on this machine, and memory.

Parameters and multiply-adds are exact. Latency is the median of several runs after warm-up, of one image and per image in the batch
that was fastest when several were tried; measured here and now, it says nothing about other machines. When several networks are
analyzed in one run they are timed in turn, one round after the other, so that other load on the machine hits all of them alike; `compare`
then reads the ratios by round. Live memory is the most that the tensors of one forward pass hold at once, weights not counted. The
memory peak is measured: weights, one image, and the most that torch's allocator gives out during its pass, scratch space of kernels
included. `compile` and `bf16` time the same network compiled and in bfloat16, in the same rounds. Energy is not measured.

Source: operations counted by torch's FlopCounterMode, halved to multiply-adds, with fused attention, recurrent and bilinear layers,
which it misses on the CPU; interval of the median: Conover 1999, sec. 3.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch

from microtome.analyses.cost.memory import allocation_peak
from microtome.analyses.cost.variants import HALF, Variant, compiled_variant, emulates_half, half_variant
from microtome.analysis import Analysis, Measurement, option
from microtome.batch_size import image_bytes
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.turn_timing import WARM_UPS, Run, batch_sizes, fastest_size, time_calls, times_by_batch
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.graph.counts import uncounted_operations
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.paired_ratios import rounds_needed
from microtome.panels import Bars, Curve, Panel, Table
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Workload

Values = np.ndarray[Any, Any]
BATCH_WORK = 2e11  # multiply-adds of the timed batch, at most, but for one image of a larger network
MEASURES = {
    "parameters": "1",
    "weights": "MB",
    "multiply-adds": "M per image",
    "time": "ms per image",
    "time of a batch": "ms per image",
    "live memory": "MB per image",
    "memory peak": "MB",
}
PLAIN = "float32"
KINDS = ("one image", "in a batch")


@final
class Cost(Analysis):
    """Parameters, multiply-adds, latency, memory."""

    needs = "weights"
    question = "choose"
    reproducible = False  # times differ from run to run
    title = "Cost"
    rank = 3
    effort = "quick"
    revision = 7  # 7: the fastest batch, measured memory peak
    in_turn = True

    batch: int = option(8, "images in the largest batch tried: fewer of large networks", low=1, high=1024, quick=4)
    repeats: int = option(9, "timed runs, at least; their median is reported", low=3, high=1000, quick=6, full=15)
    compile: bool = option(False, "time the network compiled by torch as well")
    bf16: bool = option(False, "time the network in bfloat16 as well")

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        sizes = batch_sizes(self._largest_batch(specimen))
        ways = 1 + self.compile + self.bf16
        timed = (1 + sizes[-1] if sizes[-1] > 1 else 1) * (self.repeats + WARM_UPS)
        return Workload(forward=ways * timed + 4.0 * sum(sizes) + 5.0, seconds=0.8 + 30.0 * self.compile)

    def _largest_batch(self, specimen: Specimen) -> int:
        """How many images are tried at most: `batch`, or as many as keep the multiply-adds below `BATCH_WORK`; at least one."""
        return max(1, min(self.batch, int(BATCH_WORK // max(1, specimen.multiply_adds))))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        return self.measure_in_turn([specimen], images, pace)[0]

    def measure_in_turn(self, specimens: Sequence[Specimen], images: Images | None, pace: Pace) -> list[Measurement]:
        sizes = batch_sizes(min(self._largest_batch(specimen) for specimen in specimens))  # the same for all: a fair comparison
        searched = [times_by_batch(specimen, sizes) for specimen in specimens]
        batches = [fastest_size(sizes, times) for times in searched]
        inputs = [
            [specimen.noise(count) for count in sorted({1, batch})] for specimen, batch in zip(specimens, batches, strict=True)
        ]
        variants = [self._variants(specimen, x) for specimen, x in zip(specimens, inputs, strict=True)]
        calls = [[(run, x) for run in _runs(specimen, own) for x in xs]
                 for specimen, own, xs in zip(specimens, variants, inputs, strict=True)]  # fmt: skip
        rounds = self.repeats if len(specimens) == 1 else max(self.repeats, rounds_needed(len(specimens)))
        times = time_calls(calls, rounds)
        return [
            self._measurement(
                specimen, x[0], _per_image(times[place], x, own), own, dict(zip(sizes, searched[place], strict=True))
            )
            for place, (specimen, x, own) in enumerate(zip(specimens, inputs, variants, strict=True))
        ]

    def _variants(self, specimen: Specimen, inputs: list[torch.Tensor]) -> list[Variant]:
        """The other ways of running the network that were asked for."""
        compiled = [compiled_variant(specimen, inputs)] if self.compile else []
        return compiled + ([half_variant(specimen, inputs)] if self.bf16 else [])

    def _measurement(
        self,
        specimen: Specimen,
        image: torch.Tensor,
        runs: Mapping[str, Values],
        variants: Sequence[Variant],
        by_batch: Mapping[int, float],
    ) -> Measurement:
        """All costs of one network, with its times (measure, round) in ms per image for each way of running it."""
        stored = sum(t.numel() * t.element_size() for t in (*specimen.net.parameters(), *specimen.net.buffers()))
        taken, recorder = allocation_peak(specimen, image)
        values = [
            sum(p.numel() for p in specimen.net.parameters()),
            stored / 1e6,
            specimen.multiply_adds / 1e6,
            *(float(np.median(row)) for row in runs[PLAIN]),
            image_bytes(specimen, gradients=False) / 1e6,
            (stored + image.numel() * image.element_size() + taken) / 1e6,
        ]
        stages = _parameters_by_stage(specimen)
        measures = {"measure": [f"{name} ({unit})" for name, unit in MEASURES.items()]}
        arrays = {
            "cost": array(values, ("measure",), "see measure", measures, "cost"),
            "runs": array(runs[PLAIN], ("measure", "rank"), "ms per image", {"measure": list(KINDS)}, "latency by round"),
            "by_batch": array(
                list(by_batch.values()), ("size",), "ms per image", {"size": list(by_batch)}, "time by batch size"
            ),
            "parameters": array(list(stages.values()), ("stage",), "parameters", {"stage": list(stages)}, "parameters"),
        }
        if len(runs) > 1:
            arrays |= _variant_arrays(runs)
        facts = {
            "batch": fastest_size(list(by_batch), np.array(list(by_batch.values()))),
            "batches": list(by_batch),
            "warm_ups": WARM_UPS,
            "threads": torch.get_num_threads(),
            "memory_by": recorder,
            "slow_bf16": HALF in runs and emulates_half(image.device.type),
            "uncounted": uncounted_operations(specimen.net, image),
            "unmeasured": {variant.name: variant.reason for variant in variants if variant.run is None},
        }
        return Measurement(arrays, facts)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        parameters, _, operations, _, _, live, peak = (float(value) for value in finding["cost"].values)
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
            KeyNumber(name="memory peak", value=peak, unit="MB", better="lower", missing="not reported by this device"),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        parameters, operations, latency = finding.key_numbers[:3]
        time = format_value(latency.value, "ms")
        return f"{parameters.text} parameters, {format_value(operations.value)} multiply-adds, {time} for one image on this machine."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [Table(title="Costs", columns=("cost",), rows="measure")]
        if "ways" in finding:
            note = "Medians over the same rounds, ms per image, with the order statistics that enclose them in 95%."
            panels.append(Table(title="Latency by way of running", columns=("ways",), rows="method", note=note))
        if finding["by_batch"].sizes["size"] > 1:
            note = "One of few runs for each size; the largest within a tenth of the fastest is then timed in every round."
            panels.append(Curve(title="Time per image by batch size", y=("by_batch",), x="size", log="x", note=note))
        return [*panels, Bars(title="Parameters by stage", y=("parameters",), x="stage")]

    def caveats(self, finding: Finding) -> Sequence[str]:
        facts = finding.facts
        turn = f"; timed in turn with {plural(facts['in_turn'] - 1, 'other network')}" if facts.get("in_turn", 0) > 1 else ""
        uncounted = f"Not counted in the multiply-adds: {', '.join(facts['uncounted'])}."
        rounds = finding["runs"].sizes["rank"]
        lines = [
            f"Latency holds for this machine with {plural(facts['threads'], 'thread')} in float32; other load on it during the "
            f"measurement is included{turn}.",
            f"Median of {plural(rounds, 'run')} after a warm-up of {facts['warm_ups']}; its interval assumes no distribution, and that "
            f"runs do not depend on each other. Batches tried: {', '.join(map(str, facts['batches']))}.",
        ]
        if facts["memory_by"]:
            lines.append(
                f"Memory peak: recorded by {facts['memory_by']}, exact to the byte for what torch hands out; the Python process and its "
                "libraries come on top."
            )
        if facts["slow_bf16"]:
            lines.append("This CPU has no instructions for bf16, so it is computed by way of float32 and may be slower.")
        return [*lines, *([uncounted] if facts["uncounted"] else []), "Attention counts all pairs of tokens, masked or not."]


def _runs(specimen: Specimen, variants: Sequence[Variant]) -> list[Run]:
    """How the network is run: as it is, then in each other way that works."""
    return [specimen.run, *(variant.run for variant in variants if variant.run is not None)]


def _per_image(times: Values, inputs: Sequence[torch.Tensor], variants: Sequence[Variant]) -> dict[str, Values]:
    """Milliseconds per image (measure, round) of each way of running, from those of its calls (call, round)."""
    names = [PLAIN, *(variant.name for variant in variants if variant.run is not None)]
    counts = np.array([len(x) for x in inputs])[:, None]
    each = len(inputs)
    own = {name: times[place * each : (place + 1) * each] / counts for place, name in enumerate(names)}
    return {name: values[[0, -1]] for name, values in own.items()}  # a batch of one image is timed once


def _variant_arrays(runs: Mapping[str, Values]) -> dict[str, Any]:
    """Median latencies of every way of running (method, measure), each with the ends of its interval."""
    rows = [[end for row in values for end in median_interval(row)] for values in runs.values()]
    coords = {"method": list(runs), "measure": [f"{kind}{end}" for kind in KINDS for end in ("", ", low", ", high")]}
    return {"ways": array(rows, ("method", "measure"), "ms per image", coords, "latency")}


def _parameters_by_stage(specimen: Specimen) -> dict[str, int]:
    """Parameters under each top-level module, in order; a single wrapper is opened."""
    module = specimen.net
    while len(children := [c for c in module.named_children() if any(True for _ in c[1].parameters())]) == 1:
        module = children[0][1]
    if not children:
        return {specimen.name: sum(p.numel() for p in specimen.net.parameters())}
    return {name: sum(p.numel() for p in child.parameters()) for name, child in children}
