"""The processor that this process runs on: its name, and the cores that it may use."""

import os
import platform
from pathlib import Path

CPU_FACTS = Path("/proc/cpuinfo")


def processor_name() -> str:
    """The processor's model, or its architecture where the system does not say more."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def core_count() -> int:
    """The cores that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
