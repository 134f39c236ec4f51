"""The measured peak of the memory that one forward pass takes from torch's allocator."""

import os
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from microtome.specimen import Specimen

PROFILED, COUNTED = "torch's profiler", "the counters of torch's CUDA allocator"


def allocation_peak(specimen: Specimen, x: torch.Tensor) -> tuple[float, str]:
    """The most bytes that a forward pass of `x` holds at once, beside weights and input, and what measured it.

    On the CPU every allocation and release is recorded, scratch space of kernels included. Not a number, and an empty text, on devices
    whose allocator reports nothing.
    """
    if x.device.type == "cuda":
        return _on_cuda(specimen, x), COUNTED
    if x.device.type == "cpu":
        return _on_cpu(specimen, x), PROFILED
    return float("nan"), ""


def peak_of_changes(changes: list[tuple[int, int]]) -> int:
    """The largest running sum of changes in bytes, given as (time, bytes) in any order; at least 0."""
    held = most = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        held += change
        most = max(most, held)
    return most


def _on_cuda(specimen: Specimen, x: torch.Tensor) -> float:
    torch.cuda.synchronize(x.device)
    before = torch.cuda.memory_allocated(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    specimen.run(x)
    torch.cuda.synchronize(x.device)
    return float(torch.cuda.max_memory_allocated(x.device) - before)


def _on_cpu(specimen: Specimen, x: torch.Tensor) -> float:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its two lines about starting and stopping say nothing to a user
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorder:
        output = specimen.run(x)
    del output
    inner: Any = recorder.profiler
    events = inner.kineto_results.events()
    return float(peak_of_changes([(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]))
