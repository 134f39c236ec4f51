"""Which files of a folder are images, in an order that is the same everywhere, and which folder they are classed by.

Hidden files, `Thumbs.db` and files that are no images by their suffix are passed over in silence; images of formats that
are not read here, broken links and folders that may not be entered are counted as skipped. Links to files are followed; links
to folders too, unless what they lead to is read anyway or holds the folder itself (which would go round for ever).
"""

import glob
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from microtome.errors import ImagesError, did_you_mean
from microtome.images.decoding import SUFFIXES
from microtome.images.reasons import UNREADABLE

IMAGE_FOLDERS = frozenset(["image", "images", "img", "imgs", "jpegimages", "pictures", "photos"])
MASK_FOLDERS = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "groundtruth",
        "ground_truth",
        "gt",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "segmentationobject",
        "labelmaps",
        "trimaps",
    ]
)
MASK_SUFFIXES = ("_mask", "-mask")
PLAIN_MASK_FOLDERS = ("_mask", "-mask", "_label", "_gt", "_seg", "_L", "_segmentation")
# Folders and files that operating systems, file servers and tools leave among images; hidden ones (.git) are known by their dot.
SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "$recycle.bin", "recycler"),
        *("system volume information", "lost+found", "network trash folder", "temporary items", "__pycache__", "_gsdata_"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "trainval"])


@dataclass(frozen=True)
class SkippedFile:
    """A file that was passed over, by its path below the folder, and why in one line."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The images of a place: `names` are paths below `root`, sorted; `base` is the part below which class folders begin."""

    root: Path
    kind: str  # "folder", "file" or "glob"
    names: tuple[str, ...]
    base: str = ""
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def places(self) -> tuple[Path, ...]:
        """Folders where tables of labels may lie, nearest to the images first."""
        inner = self.root / self.base
        places_below = [inner]
        while inner != self.root:
            inner = inner.parent
            places_below.append(inner)
        if self.root.resolve().name.lower() in IMAGE_FOLDERS:
            places_below.append(self.root.resolve().parent)
        return tuple(dict.fromkeys(places_below))

    @property
    def around(self) -> tuple[Path, ...]:
        """Folders where masks and boxes may lie: those of `places`, and the one that holds the root."""
        return tuple(dict.fromkeys((*self.places, *((self.root.resolve().parent,) if self.kind == "folder" else ()))))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that hold images themselves."""
        return tuple(self.root / inner for inner in dict.fromkeys(str(PurePosixPath(name).parent) for name in self.names))


def name_key(name: str) -> tuple[str, str]:
    """The key that sorts paths the same on every machine: composed Unicode, code point by code point."""
    return unicodedata.normalize("NFC", name), name


def is_system_path(name: str) -> bool:
    """Whether a path below a folder leads through something hidden or left by the system."""
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in PurePosixPath(name).parts)


def number_key(names: Iterable[str]) -> dict[str, int] | None:
    """Name -> number, where every name is a whole number and no two are the same one; else None."""
    result = {name: int(name) for name in names if re.fullmatch(r"\d{1,9}", name, re.ASCII)}
    return result if result and len(result) == len(set(names)) == len(set(result.values())) else None


def is_image(name: str) -> bool:
    """Whether a file's suffix is one of an image that is read here."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def list_images(path: str | os.PathLike[str], *, labels: str = "auto", masks: str = "auto") -> Listing:
    """The images at a path: a folder, one file, or a glob.

    Raises:
        ImagesError: nothing is there, or nothing that is an image.
    """
    text = os.fspath(path)
    if not text:
        raise ImagesError("The path is empty; give a folder, an image or a glob, '.' for the folder you are in.")
    if "://" in text:
        raise ImagesError(f"'{text}' is a web address: download the images first and give the folder they are in.")
    place = Path(text).expanduser()
    if place.is_dir():
        return _list_folder(place, text, labels=labels, masks=masks)
    if place.exists():
        return _list_file(place, text)
    if glob.has_magic(text):
        return _list_glob(str(place), text)
    raise ImagesError(f"There is nothing at '{text}'; give a folder, an image or a glob.{_nearest_path(place)}")


def _list_file(place: Path, text: str) -> Listing:
    if not place.is_file():
        raise ImagesError(f"'{text}' is neither a file nor a folder; give a folder, an image or a glob.")
    if not is_image(place.name):
        packed = place.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".xz")
        reason = UNREADABLE.get(place.suffix.lower(), "give a folder of images, or a JPEG, PNG, TIFF, WebP, GIF or BMP file")
        if packed:
            reason = "unpack it and give the folder"
        raise ImagesError(f"'{text}' is not an image that can be read: {reason}.")
    return Listing(place.parent, "file", (place.name,))


def _list_glob(pattern: str, text: str) -> Listing:
    paths = [path for path in glob.glob(pattern, recursive=True) if is_image(path) and Path(path).is_file()]
    fixed = pattern[: next(at for at, letter in enumerate(pattern) if letter in "*?[")]
    root = Path(os.path.dirname(fixed) or ".")
    names = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    kept = _without_masks(name for name in names if not is_system_path(name.removeprefix("../")))
    if not kept:
        raise ImagesError(f"The glob '{text}' matches no image; try '{(root / '**' / '*.jpg').as_posix()}'.")
    return Listing(root, "glob", tuple(sorted(kept, key=name_key)))


def _list_folder(root: Path, text: str, *, labels: str, masks: str) -> Listing:
    names, skipped = _walk_folder(root)
    kept = _without_masks(names, chosen=_mask_folder(root, masks))
    if not kept:
        raise ImagesError(_no_images_text(text, names, skipped))
    base = _base_folder(kept)
    kept = [name for name in kept if name.startswith(base)]
    tops = top_folders(kept, base)
    if labels == "auto" and len(tops) > 1 and all(top.lower() in SPLITS for top in tops):
        raise ImagesError(
            f"'{text}' holds splits ({', '.join(tops)}), not classes; give one of them, such as '{root / base / tops[0]}', "
            "or labels='none' to read them all."
        )
    return Listing(
        root, "folder", tuple(sorted(kept, key=name_key)), base, tuple(sorted(skipped, key=lambda file: name_key(file.path)))
    )


def _walk_folder(root: Path) -> tuple[list[str], list[SkippedFile]]:
    """Paths of all images below `root`, and what was skipped on the way."""
    names: list[str] = []
    skipped: list[SkippedFile] = []
    followed = [root.resolve()]
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        try:
            entries = sorted(os.scandir(root / inner), key=lambda entry: name_key(entry.name), reverse=True)
        except OSError as error:
            if not inner:
                raise ImagesError(f"The folder '{root}' may not be read ({error.strerror}).") from error
            skipped.append(SkippedFile(inner, f"folder not read: {error.strerror}"))
            continue
        for entry in entries:
            name = f"{inner}/{entry.name}" if inner else entry.name
            if is_system_path(entry.name):
                continue
            if not entry.is_dir():
                _sort_entry(entry, name, names, skipped)
            elif not entry.is_symlink() or _leads_outside(Path(entry.path).resolve(), followed):
                waiting.append(name)
            else:
                skipped.append(SkippedFile(name, "a link to a folder that is read already or holds this one"))
    return names, skipped


def _sort_entry(entry: os.DirEntry[str], name: str, names: list[str], skipped: list[SkippedFile]) -> None:
    suffix = PurePosixPath(entry.name).suffix.lower()
    if suffix in UNREADABLE:
        skipped.append(SkippedFile(name, UNREADABLE[suffix]))
    elif suffix in SUFFIXES:
        try:
            regular = entry.is_file()
        except OSError as error:
            skipped.append(SkippedFile(name, f"not reachable: {error.strerror}"))
            return
        if regular:
            names.append(name)
        else:
            skipped.append(SkippedFile(name, "a broken link" if entry.is_symlink() else "not a regular file"))


def _leads_outside(target: Path, followed: list[Path]) -> bool:
    """Whether a linked folder is new: not inside, nor around, anything that is walked already; it is then remembered."""
    if any(target.is_relative_to(known) or known.is_relative_to(target) for known in followed):
        return False
    followed.append(target)
    return True


def _mask_folder(root: Path, masks: str) -> str:
    """The path below `root` of the folder chosen for masks, or an empty text."""
    if masks in ("auto", "none"):
        return ""
    place = Path(masks.rsplit(":", 1)[0] if not Path(masks).exists() else masks).expanduser()
    for candidate in (place, root / place):
        if candidate.is_dir() and candidate.resolve().is_relative_to(root.resolve()) and candidate.resolve() != root.resolve():
            return candidate.resolve().relative_to(root.resolve()).as_posix()
    return ""


def _without_masks(names: Iterable[str], chosen: str = "") -> list[str]:
    """The names that are images, not the masks of other images."""
    names = [name for name in names if not (chosen and name.startswith(chosen + "/"))]
    stems = {str(PurePosixPath(name).with_suffix("")) for name in names}
    pictures = [
        name
        for name in names
        if not any(
            (stem := str(PurePosixPath(name).with_suffix(""))).endswith(ending) and stem[: -len(ending)] in stems
            for ending in MASK_SUFFIXES
        )
    ]
    apart: dict[str, list[str]] = {}
    for name in pictures:
        parts = name.split("/")[:-1]
        named = [depth for depth, part in enumerate(parts) if part.lower() in MASK_FOLDERS]
        if named:
            apart.setdefault("/".join(parts[: named[0] + 1]), []).append(name)
    held = {name for group in apart.values() for name in group}
    outside = {PurePosixPath(name).stem for name in pictures if name not in held}
    for group in apart.values():
        if not any(image_stems(PurePosixPath(name).stem) & outside for name in group):
            held.difference_update(group)  # a class that happens to be called "mask"
    return [name for name in pictures if name not in held]


def image_stems(stem: str) -> set[str]:
    """The stems of images that a mask file of this stem may belong to."""
    return {stem} | {stem[: -len(ending)] for ending in PLAIN_MASK_FOLDERS if stem.endswith(ending)}


def _base_folder(names: list[str]) -> str:
    """The part of the paths below which the class folders, or the images themselves, lie: "" or "images/"."""
    base = ""
    while True:
        inner = [name[len(base) :] for name in names if name.startswith(base)]
        if any("/" not in name for name in inner):
            return base
        tops = sorted({name.split("/", 1)[0] for name in inner})
        named = [top for top in tops if top.lower() in IMAGE_FOLDERS]
        if len(tops) == 1:
            base += tops[0] + "/"
        elif len(named) == 1:
            base += named[0] + "/"
        else:
            return base


def top_folders(names: Iterable[str], base: str) -> list[str]:
    """The folders right below `base` that hold images, sorted; by number where all are whole numbers (2 before 10)."""
    inner = (name[len(base) :] for name in names)
    result = {name.split("/", 1)[0] for name in inner if "/" in name}
    numbers = number_key(result)
    return sorted(result, key=numbers.__getitem__) if numbers else sorted(result, key=name_key)


def _no_images_text(text: str, names: list[str], skipped: list[SkippedFile]) -> str:
    if names:
        return f"'{text}' holds only masks ({names[0]}), no images; give the folder that holds both."
    if skipped:
        first = skipped[0]
        return f"'{text}' holds no image that can be read; the first of {len(skipped)} skipped is {first.path}: {first.reason}."
    inside = sorted(entry.name for entry in os.scandir(text) if not entry.name.startswith("."))[:3]
    what = f"only others, such as {', '.join(inside)}" if inside else "it is empty"
    return f"'{text}' holds no images ({what}); give a folder with JPEG, PNG, TIFF, WebP, GIF or BMP files."


def _nearest_path(place: Path) -> str:
    """Where a path stops existing, and what is there that is spelt most like it."""
    wanted, parent = place.name, place.absolute()
    while not parent.exists():
        wanted, parent = parent.name, parent.parent
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except OSError:
        return ""
    hint = did_you_mean(wanted, names) if names else ""
    return hint if hint.startswith(" Did") else f" '{parent}' exists, but has no '{wanted}'."
