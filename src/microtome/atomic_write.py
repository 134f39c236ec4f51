"""Files and folders that are there whole or not at all: written beside their place, flushed to the disk, then moved into it.

A write that fails or is killed leaves what was there before. A killed one also leaves a file or folder whose name begins with
`.writing-`; the next write of the same name removes it once it is an hour old, and `sweep_leftovers` removes all below a folder.
"""

import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from microtome.errors import WriteError

SCRATCH = ".writing-"  # what is being written
ASIDE = ".old-"  # holds a folder that is being replaced
LEFTOVER_AGE_S = 3600.0  # a scratch file untouched for so long has no writer any more
REPLACE_ATTEMPTS = 8  # Windows refuses to replace a file while another program has it open
FIRST_DELAY_S = 0.02  # before the second attempt; doubled each time, 2.5 s in all
REMEDY = "Free some space, or name another place."


@contextmanager
def atomic_write(path: str | os.PathLike[str], remedy: str = REMEDY) -> Generator[BinaryIO]:
    """A binary file to write; when the block ends without an exception it has become `path`, whose folder is made if missing.

    A file that was there keeps its permissions, a new one gets those of any new file, and a link still points where it pointed. What is
    no ordinary file, such as /dev/stdout, is written directly. `remedy` ends the message where it cannot be written.

    Raises:
        WriteError: the disk is full, the folder is read-only, or `path` is a folder.
    """
    with _one_sentence(path, remedy):
        if _is_device(Path(path)):  # opening a folder says that it is one
            with Path(path).open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_old_leftovers(target)
        scratch = _scratch_path(target)
        try:
            with scratch.open("xb") as file:
                yield file
            _flush_to_disk(scratch)
            if target.exists():
                scratch.chmod(stat.S_IMODE(target.stat().st_mode))
            _replace(scratch, target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write plain JSON values as a text file, whole or not at all.

    Raises:
        WriteError: as `atomic_write`.
        ValueError: a number is NaN or infinite.
    """
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _is_device(path: Path) -> bool:
    """Whether a path is no ordinary file, or names an open one, as /dev/stdout does where the output goes into a file."""
    return path.exists() and (not path.is_file() or path.absolute().parts[1:2] in (("dev",), ("proc",)))


@contextmanager
def atomic_folder(folder: str | os.PathLike[str], remedy: str = REMEDY) -> Generator[Path]:
    """An empty folder to fill; when the block ends without an exception it has become `folder`, and an older one is gone.

    Raises:
        WriteError: the disk is full, or the folder above is read-only.
    """
    folder = Path(folder)
    with _one_sentence(folder, remedy):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = _scratch_path(folder)
        scratch.mkdir()
        try:
            yield scratch
            for file in sorted(scratch.rglob("*")):
                if file.is_file():
                    _flush_to_disk(file)
            _replace_folder(scratch, folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def sweep_beside(folder: Path) -> None:
    """Remove what a killed write of `folder` left beside it; an older one that it had put aside comes back."""
    for aside in folder.parent.glob(f"{ASIDE}*"):
        if (aside / folder.name).is_dir():
            _put_back(aside)
    for scratch in folder.parent.glob(f"{SCRATCH}*"):
        if scratch.name.startswith(_scratch_prefix(folder)) and scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)


def sweep_leftovers(root: Path) -> None:
    """Remove what killed writes left below `root`; a folder that was being replaced goes back where its successor never came."""
    for aside in root.rglob(f"{ASIDE}*"):
        _put_back(aside)
    for scratch in root.rglob(f"{SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True) if scratch.is_dir() else scratch.unlink(missing_ok=True)


@contextmanager
def _one_sentence(path: str | os.PathLike[str], remedy: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"{os.fspath(path)} cannot be written ({error.strerror or error}). {remedy}") from error


def _put_back(aside: Path) -> None:
    """What was put aside goes back where its successor never came; the place aside is gone."""
    for older in aside.iterdir() if aside.is_dir() else ():
        if not (aside.parent / older.name).exists():
            os.rename(older, aside.parent / older.name)
    shutil.rmtree(aside, ignore_errors=True)


def _scratch_path(target: Path) -> Path:
    return target.with_name(f"{_scratch_prefix(target)}{secrets.token_hex(6)}")


def _scratch_prefix(target: Path) -> str:
    return f"{SCRATCH}{target.name[:100]}-"  # file systems allow 255 bytes


def _remove_old_leftovers(target: Path) -> None:
    for file in target.parent.glob(f"{SCRATCH}*"):
        if file.name.startswith(_scratch_prefix(target)) and file.is_file():
            if time.time() - file.stat().st_mtime > LEFTOVER_AGE_S:
                file.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Without this, a crash of the machine may leave the new name with an empty file behind it."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _replace(scratch: Path, target: Path) -> None:
    """Move the file over the target; on Windows again while another program has the target open."""
    delay = FIRST_DELAY_S
    for attempt in range(REPLACE_ATTEMPTS):
        try:
            os.replace(scratch, target)
            return
        except PermissionError:
            if not _on_windows() or attempt == REPLACE_ATTEMPTS - 1:
                raise
        time.sleep(delay)
        delay *= 2


def _on_windows() -> bool:
    return os.name == "nt"


def _replace_folder(scratch: Path, folder: Path) -> None:
    """Put `scratch` where `folder` is; an older folder steps aside first, comes back if that fails, and is removed last."""
    if not folder.exists():
        os.rename(scratch, folder)
        return
    aside = folder.with_name(f"{ASIDE}{secrets.token_hex(6)}")
    aside.mkdir()
    os.rename(folder, aside / folder.name)
    try:
        os.rename(scratch, folder)
    except BaseException:
        os.rename(aside / folder.name, folder)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
