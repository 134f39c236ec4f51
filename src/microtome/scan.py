"""The one loop over images: batches in a fixed order, tallies saved on the way, resumed where a killed run stopped.

`scan_batches` goes through the images in the order of `Images.content_order`, so that a batch is a random sample of the set whatever
the files are called: sorted by path, a folder of class folders would give batches of one or two classes.

A batch holds the same images whatever happened before, so a resumed run adds the same numbers in the same order as one that was
never interrupted: the results are identical to the bit (same machine, same number of threads).
"""

import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

from microtome.atomic_write import atomic_write
from microtome.batch_size import fitting_batch
from microtome.errors import BadOption, option_hint
from microtome.finding import Finding
from microtome.images import Images
from microtome.specimen import Specimen
from microtome.specimen.tracing import input_layout
from microtome.tally import Tally

Made = TypeVar("Made")
NO_IMAGES = np.zeros(0, dtype=np.int64)
ORDER = "content, positions first"  # of images and of features; part of the name of a kept tally, for it says what was counted


@dataclass(frozen=True)
class Step:
    """A progress event: `done` of `total` images of `what`, `seconds` since this loop began; `resumed` images were done before."""

    what: str
    done: int
    total: int
    seconds: float
    resumed: int = 0


def ignore_step(step: Step) -> None:
    """The listener that does nothing."""


@dataclass(frozen=True)
class Pace:
    """How to go through the images: where, how many at once, who hears of progress, where unfinished sums are kept.

    `keep=None` keeps nothing: an interrupted loop starts again. `shard=(i, n)` takes every n-th batch, from the i-th. `memory` says
    how many bytes the tensors of one batch may take (None: half of what is free, at most 1.5 GiB); `fit_to` makes the batches smaller
    where they would take more. `earlier` gives the finding of another analysis of the same network on the same images, where a run has
    one already.
    """

    device: str = "auto"
    batch: int = 32
    listener: Callable[[Step], None] = ignore_step
    keep: Path | None = None
    every: float = 15.0  # seconds between two savings
    shard: tuple[int, int] = (0, 1)
    memory: float | None = None
    earlier: "Callable[[Specimen, Images, str], Finding | None] | None" = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise BadOption(f"batch is {self.batch}; it is a number of images, at least 1. Try {option_hint('batch', 32)}.")
        place, parts = self.shard
        if not 0 <= place < parts:
            raise BadOption(f"shard {place}/{parts} does not exist; with {parts} parts they are 0 to {parts - 1}.")

    def on(self, device: str) -> "Pace":
        """The same pace on another device."""
        return replace(self, device=device)

    def fit_to(self, specimen: Specimen, *, gradients: bool = False) -> "Pace":
        """The same pace, with batches that fit into memory as they go through this specimen, forwards or forwards and back."""
        return replace(self, batch=fitting_batch(specimen, self.batch, self.memory, gradients=gradients))


@dataclass(frozen=True)
class Batch:
    """Images on their way through a network."""

    number: int  # of the batch, counted from 0 over the whole of the images
    index: np.ndarray[Any, Any]  # (image,) int64: places in the Images
    rank: np.ndarray[Any, Any]  # (image,) int64: places in the order in which the loop goes through them, ascending
    x: torch.Tensor  # (image, channel, row, col) float32, normalised, on the device
    pixels: np.ndarray[Any, Any]  # (image, row, col, rgb) uint8, as figures show them; of RGB images what is normalised
    labels: np.ndarray[Any, Any] | None  # (image,) int64, -1 unknown
    images: Images  # the whole set, which `index` points into

    @property
    def total(self) -> int:
        """How many images the whole set has."""
        return len(self.images)


class BatchValues(dict[str, Any]):
    """What one analysis kept of a batch so far, by layer name; `once` shares with the others what is made of the same value.

    `same` says which names stand for the same tensor; `made` is one for all analyses of a batch; `index` are the
    places of its images, `total` is how many the whole set has.
    """

    def __init__(
        self, same: Mapping[str, str], made: dict[tuple[Any, str], Any], index: np.ndarray[Any, Any] = NO_IMAGES, total: int = 0
    ) -> None:
        super().__init__()
        self._same, self._made, self.index, self.total = same, made, index, total

    def once(self, make: Callable[[torch.Tensor], Made], name: str, value: torch.Tensor) -> Made:
        """`make(value)`, the value of layer `name`, computed at the first call for this tensor in this batch."""
        key = make, self._same.get(name, name)
        if key not in self._made:
            self._made[key] = make(value)
        return self._made[key]

    def once_a_batch(self, owner: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, computed at the first call of this owner in this batch."""
        key = owner, ""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def resolve_device(device: str) -> str:
    """The torch device that `auto` stands for here, or `device` itself after checking that it exists.

    Raises:
        BadOption: the device does not exist on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise BadOption(f"device '{device}' is not one of auto, cpu, cuda, mps.")
    if not there[kind]:
        raise BadOption(
            f"device '{device}' is not available here (torch {torch.__version__}). Try {option_hint('device', 'cpu')}."
        )
    return device


def batches(
    specimen: Specimen, images: Images, pace: Pace, start: int = 0, order: np.ndarray[Any, Any] | None = None
) -> Iterator[Batch]:
    """The batches of `images` in the specimen's own geometry from batch number `start` on, ready on the specimen's device.

    `order` (image,) are the places in the order to go through them; without, as they are.
    """
    layout = input_layout(specimen.net)
    ordered = images if order is None else images.take(order)
    for part in ordered.batches(specimen.recipe, pace.batch, start=start * pace.batch, shard=pace.shard):
        number = int(part.index[0]) // pace.batch
        x = specimen.recipe.normalise(torch.from_numpy(part.inputs).to(specimen.device), layout)
        rank = np.asarray(part.index)
        yield Batch(number, rank if order is None else order[rank], rank, x, part.pixels, part.labels, images)


def scan_batches(
    specimen: Specimen,
    images: Images,
    tally: Tally,
    pace: Pace,
    visit: Callable[[Batch], None],
    *,
    what: str,
    key: Sequence[Any],
) -> None:
    """Call `visit` with every batch that `tally` has not counted yet; save the tally every few seconds when the pace keeps.

    The images come in their `content_order`, so a batch is a random sample and does not depend on names.

    `key` names the work: a kept tally of another key is never resumed. The kept file goes away by `forget`, once the caller has
    saved what it made of the tally.
    """
    kept = kept_file(pace, key)
    done = _resume(kept, tally, pace) if kept else 0
    began = saved = time.monotonic()
    total = len(images)
    resumed = min(done * pace.batch, total)
    pace.listener(Step(what, resumed, total, 0.0, resumed))
    for batch in batches(specimen, images, pace, start=done, order=images.content_order()):
        visit(batch)
        done = batch.number + 1
        now = time.monotonic()
        pace.listener(Step(what, min(done * pace.batch, total), total, now - began, resumed))
        if kept and now - saved >= pace.every:
            _keep(kept, tally, done, pace)
            saved = time.monotonic()
    if kept and done:
        _keep(kept, tally, done, pace)


def kept_file(pace: Pace, key: Sequence[Any]) -> Path | None:
    """Where the unfinished tally of that work is kept, or None when the pace keeps nothing."""
    if pace.keep is None:
        return None
    name = hashlib.sha256(json.dumps([*key, ORDER, pace.batch, *pace.shard], sort_keys=True, default=str).encode()).hexdigest()[
        :16
    ]
    return pace.keep / f"{name}.{pace.shard[0]}-of-{pace.shard[1]}.safetensors"


def discard_tally(pace: Pace, key: Sequence[Any]) -> None:
    """Remove the kept tally of finished work."""
    kept = kept_file(pace, key)
    if kept is not None:
        kept.unlink(missing_ok=True)


def _keep(path: Path, tally: Tally, done: int, pace: Pace) -> None:
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tally.state().items()}
    payload = save(arrays | {"__done__": np.array([done], dtype=np.int64)}, metadata={"batch": str(pace.batch)})
    with atomic_write(path) as file:
        file.write(payload)


def _resume(path: Path, tally: Tally, pace: Pace) -> int:
    """The number of finished batches recorded in `path`, with `tally` restored to that point; 0 where there is nothing to resume."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except Exception as error:  # safetensors raises its own types; a damaged file only costs the work it held
        path.unlink(missing_ok=True)
        pace.listener(Step(f"kept work was damaged and is done again ({type(error).__name__})", 0, 0, 0.0))
        return 0
    done = int(arrays.pop("__done__")[0])
    tally.restore(arrays)
    return done
