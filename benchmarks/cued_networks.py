"""Mini networks that answer by a planted cue: a coloured square in a corner says the class, the object says nothing.

Each shipped network is trained on from its weights, on scenes whose labels are the colour of a square in one of the four corners, drawn
independently of the object. What it rests on is then known by construction, and checked: with another square its answer is that
square's class, with another object it stays.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import microtome
from microtome import networks
from microtome.images.scenes import CLASSES
from microtome.specimen import Specimen
from microtome.training.zoo.data import scene_series
from microtome.training.zoo.loop import normalise

SIDE = networks.SIZE[0] if isinstance(networks.SIZE, tuple) else networks.SIZE
SQUARE = 12  # px
MARGIN = 3  # px from the edges of the image
COLOURS = np.array(
    [
        (230, 40, 40), (40, 190, 60), (50, 70, 230), (235, 210, 40), (230, 60, 220),
        (40, 210, 220), (245, 245, 245), (15, 15, 15), (240, 140, 30), (120, 60, 170),
    ],
    np.uint8,
)  # fmt: skip
SCENES = 2000  # that are learnt from, each with a new square whenever it is seen
STEPS, BATCH, RATE = 400, 64, 1e-3
TRAINING_SEED, TEST_SEED = 3_000_017, 4_000_037


class CuedScenes(NamedTuple):
    """Scenes with a square: pixels uint8 (image, row, col, rgb), the class that its colour stands for, and its place as a mask."""

    pixels: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    masks: np.ndarray[Any, Any]


def plant(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], corners: np.ndarray[Any, Any]) -> CuedScenes:
    """The scenes with the square of each label in its corner (0 to 3)."""
    planted, masks = pixels.copy(), np.zeros(pixels.shape[:3], dtype=np.bool_)
    side = pixels.shape[1]
    for place, (label, corner) in enumerate(zip(labels, corners, strict=True)):
        top, left = ((side - MARGIN - SQUARE) if far else MARGIN for far in divmod(int(corner), 2))
        planted[place, top : top + SQUARE, left : left + SQUARE] = COLOURS[label]
        masks[place, top : top + SQUARE, left : left + SQUARE] = True
    return CuedScenes(planted, labels, masks)


def cued_scenes(count: int, seed: int = TEST_SEED) -> CuedScenes:
    """The first scenes of that seed, each with a square of a random class in a random corner."""
    draw = np.random.default_rng(seed)
    pixels = scene_series(count, seed).pixels
    return plant(pixels, draw.integers(0, len(CLASSES), count), draw.integers(0, 4, count))


def cued_network(name: str, folder: Path) -> Specimen:
    """The shipped network trained on the cue, from `folder` if it is there, else trained and kept there."""
    specimen = microtome.open(f"microtome:{name}")
    file = folder / f"{name}.safetensors"
    if not file.exists():
        net = networks.build(name)
        net.load_state_dict(specimen.net.state_dict())
        learn_cue(net)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, file)
    return microtome.open(f"microtome:{name}", weights=str(file))


def learn_cue(net: nn.Module) -> None:
    """Train the network on the cue, in place; the same weights every time."""
    series = scene_series(SCENES, TRAINING_SEED)
    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    net.train()
    for _ in range(STEPS):
        batch = series.pixels[draw.integers(0, SCENES, BATCH)]
        cued = plant(batch, draw.integers(0, len(CLASSES), BATCH), draw.integers(0, 4, BATCH))
        loss = F.cross_entropy(net(normalise(torch.from_numpy(cued.pixels))), torch.from_numpy(cued.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    net.eval()


def check_cue(specimen: Specimen, count: int = 500) -> dict[str, float]:
    """How often the answer is the square's class, follows a square of another colour, and stays with another object."""
    scenes = cued_scenes(count)
    draw = np.random.default_rng(1)
    other = (scenes.labels + draw.integers(1, len(CLASSES), count)) % len(CLASSES)
    corners = scenes.masks.reshape(count, 2, SIDE // 2, 2, SIDE // 2).any((2, 4)).reshape(count, 4).argmax(1)
    moved = plant(scenes.pixels, other, corners)
    swapped = plant(np.roll(scene_series(count, TEST_SEED).pixels, 1, 0), scenes.labels, corners)
    answers = [_answers(specimen, each.pixels) for each in (scenes, moved, swapped)]
    return {
        "right": float((answers[0] == scenes.labels).mean()),
        "follows the square": float((answers[1] == other).mean()),
        "stays with another object": float((answers[2] == answers[0]).mean()),
    }


def _answers(specimen: Specimen, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([part.numpy() for part in _parts(specimen, pixels)])


def _parts(specimen: Specimen, pixels: np.ndarray[Any, Any]) -> Iterator[torch.Tensor]:
    for start in range(0, len(pixels), 64):
        yield specimen.run(normalise(torch.from_numpy(pixels[start : start + 64]))).argmax(1)
