"""A series of checkpoints of one training: which files they are, in which order, and the network with the weights of each."""

import glob
import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from microtome.errors import CheckpointError
from microtome.opening.checkpoints import fit_checkpoint, read_checkpoint
from microtome.specimen.copying import copy_network
from microtome.specimen.specimen import Specimen

WEIGHT_SUFFIXES = frozenset((".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar"))
DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its file, and a name that no other of its series has."""

    name: str
    path: Path


def list_checkpoints(what: str) -> tuple[Checkpoint, ...]:
    """The checkpoints that a folder or a glob names, ordered as people count: epoch-2 before epoch-10.

    Of a folder, those weight files are taken whose names differ in nothing but numbers. Raises CheckpointError where there are
    fewer than two, or where a folder holds several such rows of files.
    """
    place = Path(what).expanduser()
    if place.is_dir():
        paths = _numbered_files(place)
    elif place.is_file():
        raise CheckpointError(f"'{what}' is one file, and one checkpoint has no evolution; name the folder: {place.parent}.")
    else:
        paths = [Path(path) for path in glob.glob(str(place), recursive=True) if Path(path).is_file()]
    if len(paths) < 2:
        raise CheckpointError(
            f"'{what}' names {len(paths)} checkpoints and an evolution needs two; name a folder whose weight files are numbered "
            "(epoch-001.safetensors, epoch-002.safetensors), or a glob in quotes."
        )
    paths.sort(key=lambda path: _natural_key(str(path)))
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):  # runs/1/model.pth, runs/2/model.pth
        shared = Path(*_common_folders([path.absolute().parts for path in paths]))
        names = [path.absolute().relative_to(shared).as_posix() for path in paths]
    return tuple(Checkpoint(name, path) for name, path in zip(names, paths, strict=True))


def series_digest(moments: tuple[Checkpoint, ...]) -> str:
    """SHA-256 hex digest over the files of a series, in their order."""
    total = hashlib.sha256()
    for moment in moments:
        state = moment.path.stat()
        total.update(f"{moment.name}:{_file_digest(moment.path, state.st_size, state.st_mtime_ns)}\n".encode())
    return total.hexdigest()


def load_checkpoint(specimen: Specimen, moment: Checkpoint) -> Specimen:
    """The specimen with the weights of that checkpoint, all of them. Raises CheckpointError where the file does not fit."""
    match = fit_checkpoint(read_checkpoint(moment.path), specimen.net)
    if match.missing or match.unexpected or match.reshaped:
        raise CheckpointError(match.complaint(str(moment.path), specimen.name))
    net = copy_network(specimen.net)
    net.load_state_dict(match.state)
    made = replace(
        specimen,
        net=net.eval(),
        name=f"{specimen.name} at {moment.name}",
        weights=str(moment.path),
        trained=None,
        opened_as=None,
    )
    made.__dict__["anatomy"] = specimen.anatomy  # the same structure: no second trace
    return made


@lru_cache(maxsize=1024)
def _file_digest(path: Path, size: int, changed: int) -> str:
    """The digest of a file; `size` and `changed` are there to notice that it is another one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbered_files(folder: Path) -> list[Path]:
    """The weight files of a folder whose names differ in numbers alone."""
    rows: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in WEIGHT_SUFFIXES and path.is_file():
            rows.setdefault(DIGITS.sub("#", path.name), []).append(path)
    long = {name: row for name, row in rows.items() if len(row) > 1}
    if len(long) > 1:
        raise CheckpointError(
            f"'{folder}' holds {len(long)} rows of numbered files ({', '.join(sorted(long)[:3])}); "
            f"name one by a glob in quotes: '{folder}/{sorted(long)[0].replace('#', '*')}'."
        )
    return next(iter(long.values()), [])


def _natural_key(text: str) -> list[tuple[int, str]]:
    """A key that orders numbers in names by their size."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in DIGITS.split(text)]


def _common_folders(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all paths begin with."""
    same = 0
    while len({path[same] for path in parts}) == 1:
        same += 1
    return parts[0][:same]
