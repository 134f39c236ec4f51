"""The same network compiled by torch, or in bfloat16: how it is run, or why it cannot be here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from microtome.specimen import Specimen

Run = Callable[[torch.Tensor], Any]
COMPILED, HALF = "torch.compile", "bf16"
FIRST_WORDS = 160  # characters of an error that are quoted
CPU_FACTS = Path("/proc/cpuinfo")


class Variant(NamedTuple):
    """A name, and either how the network is run in that way or the reason why it cannot be."""

    name: str
    run: Run | None
    reason: str = ""


def compiled_variant(specimen: Specimen, inputs: list[torch.Tensor]) -> Variant:
    """The network compiled for these inputs; compiling is not timed."""
    compiled = torch.compile(specimen.net, dynamic=False)

    def run(x: torch.Tensor) -> Any:
        with torch.inference_mode():
            return compiled(x)

    return _tried(COMPILED, run, inputs, "torch.compile did not work here; on a CPU it needs a C++ compiler such as g++")


def half_variant(specimen: Specimen, inputs: list[torch.Tensor]) -> Variant:
    """The network under autocast to bfloat16: weights stay float32, and torch converts what gains from it."""
    kind = inputs[0].device.type
    if kind == "cuda" and not torch.cuda.is_bf16_supported():
        return Variant(HALF, None, "this GPU has no bf16")

    def run(x: torch.Tensor) -> Any:
        with torch.inference_mode(), torch.autocast(kind, dtype=torch.bfloat16):
            return specimen.net(x)

    return _tried(HALF, run, inputs, f"bf16 does not run this network on the device {kind}")


def emulates_half(device: str) -> bool:
    """Whether bfloat16 is known to be computed without instructions of its own, and is therefore slow."""
    if device != "cpu" or not CPU_FACTS.is_file():
        return False
    return "bf16" not in CPU_FACTS.read_text(encoding="utf-8", errors="replace")


def _tried(name: str, run: Run, inputs: list[torch.Tensor], reason: str) -> Variant:
    """The variant, if it runs once on every input."""
    try:
        for x in inputs:
            run(x)
    except (RuntimeError, OSError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:FIRST_WORDS].rstrip(" .:")
        return Variant(name, None, f"{reason} ({first})")
    return Variant(name, run)
