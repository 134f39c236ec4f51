"""Training scenes, drawn once and kept: pixels, labels and areas of a whole series as plain arrays.

The series that networks learn from and the one they are judged on have seeds of their own, far from the small ones people type:
`Images.scenes(200, seed=0)` shows no network of ours anything that it learnt from.
"""

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.images.scenes import scene

LEARN = 2_000_003  # seed of the scenes that networks learn from
JUDGE = 1_000_003  # seed of the scenes that they are judged on
_CHUNK = 500


@dataclass(frozen=True)
class Series:
    """The first scenes of one seed at 64 px: pixels uint8 (image, row, col, rgb), labels (image), object shares (image)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


def series(count: int, seed: int, *, cache: Path | None = None, workers: int = 1) -> Series:
    """The first `count` default scenes of `seed`; read from `cache` (a folder) if they are there, else drawn and kept there."""
    kept = None if cache is None else cache / f"scenes-{seed}-{count}.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return Series(file["pixels"], file["labels"], file["areas"])
    jobs = [(start, min(start + _CHUNK, count), seed) for start in range(0, count, _CHUNK)]
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_drawn, jobs))
    else:
        parts = [_drawn(job) for job in jobs]
    pixels, labels, areas = (np.concatenate([part[axis] for part in parts]) for axis in range(3))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".npz", delete=False) as file:
            np.savez(file, pixels=pixels, labels=labels, areas=areas)
        os.replace(file.name, kept)
    return Series(pixels, labels, areas)


def _drawn(job: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    start, stop, seed = job
    scenes = [scene(index, seed=seed) for index in range(start, stop)]
    areas = np.array([one.facts["area"] for one in scenes])
    return np.stack([one.pixels for one in scenes]), np.array([one.label for one in scenes], dtype=np.int64), areas
