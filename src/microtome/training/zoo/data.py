"""Training scenes, drawn once and kept: pixels, labels and areas of a whole series as plain arrays.

The series that networks learn from and the one they are judged on have seeds of their own, far from the small ones people type:
`Images.scenes(200, seed=0)` shows no network of ours anything that it learnt from.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.atomic_write import atomic_write
from microtome.images.scenes import scene

TRAINING_SEED = 2_000_003  # seed of the scenes that networks learn from
TEST_SEED = 1_000_003  # seed of the scenes that they are judged on
_CHUNK = 500


@dataclass(frozen=True)
class SceneSeries:
    """The first scenes of one seed at 64 px: pixels uint8 (image, row, col, rgb), labels (image), object fractions (image).

    Where pixels have classes of their own, `targets` uint8 (image, row, col): 0 for background, label + 1 on the object.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    targets: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "SceneSeries":
        """The first `count` of them, or all where there are fewer."""
        targets = None if self.targets is None else self.targets[:count]
        return SceneSeries(self.pixels[:count], self.labels[:count], self.areas[:count], targets)


def scene_series(count: int, seed: int, *, masks: bool = False, cache: Path | None = None, workers: int = 1) -> SceneSeries:
    """The first `count` default scenes of `seed`, with targets if `masks` are wanted.

    Read from `cache` (a folder) if they are there, else drawn and kept there.
    """
    kept = None if cache is None else cache / f"scenes-{seed}-{count}{'-masks' if masks else ''}.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return SceneSeries(**file)
    jobs = [(start, min(start + _CHUNK, count), seed, masks) for start in range(0, count, _CHUNK)]
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_draw_chunk, jobs))
    else:
        parts = [_draw_chunk(job) for job in jobs]
    series = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if kept is not None:
        with atomic_write(kept) as file:
            np.savez(file, allow_pickle=False, **series)
    return SceneSeries(**series)


def _draw_chunk(job: tuple[int, int, int, bool]) -> dict[str, Any]:
    start, stop, seed, masks = job
    scenes = [scene(index, seed=seed) for index in range(start, stop)]
    columns = {
        "pixels": np.stack([scene.pixels for scene in scenes]),
        "labels": np.array([scene.label for scene in scenes], dtype=np.int64),
        "areas": np.array([scene.facts["area"] for scene in scenes]),
    }
    return columns | (
        {"targets": np.stack([(scene.label + 1) * scene.mask.astype(np.uint8) for scene in scenes])} if masks else {}
    )
