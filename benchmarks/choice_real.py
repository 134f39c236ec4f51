"""Real tasks of the benchmark of choice, from the photographs beside the repository; skipped with the reason where they are absent."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.choice_tasks import Split, Task

Pixels = np.ndarray[Any, Any]
DATA = Path(os.environ.get("MICROTOME_DATA", machine.ROOT.parent / "shared" / "data"))
GROUPS = {  # classes of tiny-ImageNet by WordNet identifier, without the leading n
    "carnivore": "02085620 02094433 02099601 02099712 02106662 02113799 02123045 02123394 02124075 02125311 02129165 02132136",
    "hoofed animal": "02395406 02403003 02410509 02415577 02423022 02437312",
    "insect": "02165456 02190166 02206856 02226429 02231487 02233338 02236044 02268443 02279972 02281406",
    "sea animal": "01910747 01917289 01950731 01983481 01984695 02074367 02321529",
    "fruit or vegetable": "07715103 07720875 07734744 07747607 07749582 07753592 07768694 12267677",
    "vehicle": "02814533 03100240 03670208 03796401 03977966 04146614 04285008 04487081 04465501 03444034",
    "clothing": "02669723 02730930 02837789 02963159 03404251 03617480 03763968 03770439 03980874 04371430 04532106",
    "large structure": "02793495 02814860 03160309 03837869 04311004 04366367 04486054 04532670 04562935",
}
STREET = {"sky": 0, "building": 1, "road": 3, "tree": 5}  # label numbers of CamVid
VESSELS = {"few vessels": (0.0, 0.03), "some vessels": (0.07, 0.12), "many vessels": (0.17, 1.0)}  # fraction of the patch
STREET_SIDE, RETINA_SIDE = 48, 64  # px of a patch
PURE = 0.7  # fraction of a street patch that has its class


def real_tasks(training: int = 120, test: int = 300) -> tuple[list[Task], str]:
    """The real tasks and an empty reason, or no task and why; at most so many training and test images each."""
    if not (DATA / "images" / "cifar10_test").is_dir():
        return [], f"no real images at {DATA} (set MICROTOME_DATA)"
    mini = "none for the mini networks"
    builders: tuple[tuple[str, str, tuple[str, ...], str, Callable[[], tuple[Split, Split]]], ...] = (
        ("cifar10", "CIFAR-10, its ten classes", tuple(sorted(path.name for path in _cifar_folders())),
         f"all of it for the CIFAR networks, trained on these classes (other images); {mini}", _cifar),
        ("tiny_imagenet", f"tiny-ImageNet, {sum(len(text.split()) for text in GROUPS.values())} classes in eight groups", tuple(GROUPS),
         f"all of it for the ImageNet networks, trained on these classes; {mini}", _tiny_imagenet),
        ("camvid", "patches of street scenes, four classes", tuple(STREET), "none known", _street_patches),
        ("retina", "patches of retinal photographs by the fraction of vessels", tuple(VESSELS), "none known", _retina_patches),
    )  # fmt: skip
    return [_real(*parts, training, test) for parts in builders], ""


def _real(
    name: str,
    title: str,
    classes: tuple[str, ...],
    overlap: str,
    splits: Callable[[], tuple[Split, Split]],
    count: int,
    judged: int,
) -> Task:
    def training(draw: int) -> Split:
        return balanced(splits()[0], count, draw)

    return Task(name, title, classes, overlap, True, training, lambda: balanced(splits()[1], judged, 0))


def balanced(pool: Split, count: int, draw: int) -> Split:
    """Equally many images of each class from a pool, at most `count` in all, drawn by the seed `draw`."""
    each = min(count // len(np.unique(pool.labels)), int(np.bincount(pool.labels).min()))
    random = np.random.default_rng(draw)
    places = [random.permutation(np.flatnonzero(pool.labels == label))[:each] for label in np.unique(pool.labels)]
    chosen = np.stack(places, axis=1).ravel()
    return Split(pool.pixels[chosen], pool.labels[chosen])


def _read(path: Path, mode: str = "RGB") -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


def _cifar_folders() -> list[Path]:
    return [path for path in sorted((DATA / "images" / "cifar10_test").iterdir()) if path.is_dir()]


def _cifar() -> tuple[Split, Split]:
    """The first and the second half of the images of each class."""
    files = [(path, label) for label, folder in enumerate(_cifar_folders()) for path in sorted(folder.iterdir())]
    return _halves([_read(path) for path, _ in files], [label for _, label in files])


def _tiny_imagenet() -> tuple[Split, Split]:
    """The first and the second half of each group's images; every class lies in both."""
    folder = DATA / "images" / "tiny_imagenet_val2000"
    groups = {f"n{number}": place for place, text in enumerate(GROUPS.values()) for number in text.split()}
    lines = [line.split("\t") for line in (folder / "annotations.tsv").read_text(encoding="utf-8").splitlines()]
    files = [(folder / words[0], groups[words[1]], words[1]) for words in lines if words[1] in groups]
    order = _alternating([number for _, _, number in files])
    return _halves([_read(files[place][0]) for place in order], [files[place][1] for place in order])


def _alternating(names: list[str]) -> list[int]:
    """The places of names, the first of every name before the second of any."""
    turn: dict[str, int] = {}
    keys = list[tuple[int, int]]()
    for place, name in enumerate(names):
        turn[name] = turn.get(name, -1) + 1
        keys.append((turn[name], place))
    return [place for _, place in sorted(keys)]


def _halves(images: list[Pixels], labels: list[int]) -> tuple[Split, Split]:
    """The first half of each class, and the second."""
    known = np.array(labels)
    rank = np.zeros(len(known), dtype=int)
    for label in np.unique(known):
        own = np.flatnonzero(known == label)
        rank[own] = np.arange(len(own)) * 2 // len(own)
    stacked = np.stack(images)
    return Split(stacked[rank == 0], known[rank == 0]), Split(stacked[rank == 1], known[rank == 1])


def _street_patches() -> tuple[Split, Split]:
    """Patches of one class from the first frames, and from the last; three frames between them are left out."""
    names = sorted(path.name for path in (DATA / "images" / "camvid_val" / "image").iterdir())
    parts = [[_street(name) for name in some] for some in (names[:9], names[12:])]
    return _joined(parts[0]), _joined(parts[1])


def _street(name: str) -> Split:
    folder = DATA / "images" / "camvid_val"
    image, classes = _read(folder / "image" / name), _read(folder / "label" / name, "")

    def label(window: tuple[slice, slice]) -> int:
        sizes = [float((classes[window] == number).mean()) for number in STREET.values()]
        return int(np.argmax(sizes)) if max(sizes) >= PURE else -1

    return _patches(image, label, STREET_SIDE, STREET_SIDE // 2)


def _retina_patches() -> tuple[Split, Split]:
    """Patches of the training photographs, and of the test photographs."""
    parts = [
        [_retina(path) for path in sorted((DATA / "images" / "drive" / part / "images").iterdir())]
        for part in ("training", "test")
    ]
    return _joined(parts[0]), _joined(parts[1])


def _retina(path: Path) -> Split:
    number, folder = path.name[:2], path.parent.parent
    vessels = _read(folder / "1st_manual" / f"{number}_manual1.gif", "") > 0
    inside = _read(folder / "mask" / f"{path.stem}_mask.gif", "") > 0

    def label(window: tuple[slice, slice]) -> int:
        fraction = float(vessels[window].mean())
        fits = [place for place, (low, high) in enumerate(VESSELS.values()) if low <= fraction < high]
        return fits[0] if fits and inside[window].all() else -1

    return _patches(_read(path), label, RETINA_SIDE, RETINA_SIDE // 2)


def _patches(image: Pixels, label: Callable[[tuple[slice, slice]], int], side: int, step: int) -> Split:
    """The patches of an image that have a label."""
    windows = [
        (slice(row, row + side), slice(col, col + side))
        for row in range(0, image.shape[0] - side + 1, step)
        for col in range(0, image.shape[1] - side + 1, step)
    ]
    known = [(window, number) for window in windows if (number := label(window)) >= 0]
    pixels = [image[window] for window, _ in known]
    return Split(np.stack(pixels), np.array([number for _, number in known]))


def _joined(parts: list[Split]) -> Split:
    return Split(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))
