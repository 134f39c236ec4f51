"""Where a benchmark ran: date, processor, versions, commit."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from microtome.hardware import core_count, processor_name
from microtome.prose import plural

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "timm", "numpy", "scipy", "captum", "torchcam", "grad-cam", "torch_cka")


def described(device: str) -> dict[str, Any]:
    """Facts of this machine and this run, as plain JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else processor_name(),
        "cores": core_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
    }


def sentence(facts: dict[str, Any]) -> str:
    """The same in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date'][:10]}, commit {facts['commit']}; {facts['device']}, {facts['cores']} cores, {facts['memory_gb']} GB, "
        f"{plural(facts['threads'], 'thread')}, load {facts['load']} at the start; Python {facts['python']}, {versions}."
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    try:
        short = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{short} with changes" if changed else short


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
